//! The records of a batch of magic 2, one after the other, without a copy of each.
//!
//! A record is: size (varint), attributes (1 byte), timestamp delta, offset delta, key, value, and
//! headers. Source: Kafka 3.9 `DefaultRecord`.

use std::borrow::Cow;

use super::batch::{Batch, BatchHeader, HEADER_SIZE};
use super::compression::{Compression, DecompressError, UnknownCodec, decompress};
use super::varint;
use crate::quantity::{Offset, TimestampMs};

/// Why the records of a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The attributes name no codec.
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
    /// The records do not decompress.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record ends outside the batch, or its parts end outside of it.
    #[error("record {0} does not fit its batch")]
    Record(i32),
    /// Bytes follow the last record.
    #[error("bytes follow the last of {0} records")]
    Trailing(i32),
}

/// A record, as it lies in its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was created, or appended if its batch says so.
    pub timestamp: TimestampMs,
    /// What it is partitioned and compacted by.
    pub key: Option<&'a [u8]>,
    /// What it says; `None` deletes the key.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The headers of a record, encoded; iterates over keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    count: i32,
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.count <= 0 {
            return None;
        }
        self.count -= 1;
        let key = varint::read_bytes(&mut self.bytes)??;
        Some((key, varint::read_bytes(&mut self.bytes)?))
    }
}

impl Headers<'_> {
    /// Whether they are as many as they say, and nothing follows.
    fn are_whole(mut self) -> bool {
        while self.count > 0 {
            if self.next().is_none() {
                return false;
            }
        }
        self.count == 0 && self.bytes.is_empty()
    }
}

/// The records of one batch, decompressed if they were compressed.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    header: BatchHeader,
    payload: Cow<'a, [u8]>,
}

impl<'a> Batch<'a> {
    /// Opens the records; compressed ones are decompressed to at most `limit` bytes.
    ///
    /// # Errors
    /// When the codec is unknown, its bytes are damaged or hold more than `limit`.
    pub fn records(&self, limit: usize) -> Result<Records<'a>, RecordsError> {
        let payload = self.bytes.get(HEADER_SIZE..).unwrap_or_default();
        let codec = self.header.attributes.compression()?;
        let payload = if codec == Compression::None {
            Cow::Borrowed(payload)
        } else {
            Cow::Owned(decompress(codec, payload, limit)?)
        };
        Ok(Records { header: self.header, payload })
    }
}

impl Records<'_> {
    /// Iterates over the records; ends after the first error.
    pub fn iter(&self) -> Iter<'_> {
        Iter { header: self.header, rest: &self.payload, index: 0 }
    }
}

impl<'a> IntoIterator for &'a Records<'_> {
    type Item = Result<Record<'a>, RecordsError>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterates over [`Records`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    index: i32,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let count = self.header.records_count;
        if self.index >= count {
            let trailing = !std::mem::take(&mut self.rest).is_empty();
            return trailing.then_some(Err(RecordsError::Trailing(count)));
        }
        let record = record(&self.header, &mut self.rest).ok_or(RecordsError::Record(self.index));
        self.index += 1;
        if record.is_err() {
            (self.index, self.rest) = (count, &[]);
        }
        Some(record)
    }
}

fn record<'a>(header: &BatchHeader, rest: &mut &'a [u8]) -> Option<Record<'a>> {
    let size = usize::try_from(varint::read_i32(rest)?).ok()?;
    let mut bytes = varint::take(rest, size)?;
    varint::take(&mut bytes, 1)?;
    let timestamp_delta = varint::read_i64(&mut bytes)?;
    let offset_delta = varint::read_i32(&mut bytes)?;
    let key = varint::read_bytes(&mut bytes)?;
    let value = varint::read_bytes(&mut bytes)?;
    let count = varint::read_i32(&mut bytes)?;
    let headers = Headers { count, bytes };
    if !headers.clone().are_whole() {
        return None;
    }
    let timestamp = if header.attributes.is_log_append_time() {
        header.max_timestamp
    } else {
        TimestampMs(header.base_timestamp.0.wrapping_add(timestamp_delta))
    };
    let offset = Offset(header.base_offset.0.saturating_add(i64::from(offset_delta)));
    Some(Record { offset, timestamp, key, value, headers })
}
