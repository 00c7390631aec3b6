//! Writes batches of magic 2.

use super::batch::{Attributes, BatchHeader, HEADER_SIZE, LOG_OVERHEAD, crc};
use super::compression::{CompressError, Compression, compress};
use super::varint;
use crate::quantity::{LeaderEpoch, Offset, TimestampMs};

/// A batch in the making. Its header may be changed until [`finish`](Self::finish), which sets the
/// length and the checksum.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    /// The header; times, counts and deltas follow the records.
    pub header: BatchHeader,
    compression: Compression,
    records: Vec<u8>,
    scratch: Vec<u8>,
}

impl BatchBuilder {
    /// Begins a batch without records, of no producer and no leader.
    pub fn new(base_offset: Offset, compression: Compression) -> Self {
        let header = BatchHeader {
            base_offset,
            batch_length: 0,
            partition_leader_epoch: LeaderEpoch(-1),
            crc: 0,
            attributes: Attributes::default().with_compression(compression),
            last_offset_delta: -1,
            base_timestamp: TimestampMs(-1),
            max_timestamp: TimestampMs(-1),
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records_count: 0,
        };
        Self { header, compression, records: Vec::new(), scratch: Vec::new() }
    }

    /// Appends a record at the offset after the last.
    pub fn push(&mut self, timestamp: TimestampMs, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_with_headers(timestamp, key, value, &[]);
    }

    /// Appends a record with headers at the offset after the last.
    pub fn push_with_headers(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        let header = &mut self.header;
        if header.records_count == 0 {
            header.base_timestamp = timestamp;
            header.max_timestamp = timestamp;
        }
        header.records_count += 1;
        header.last_offset_delta += 1;
        header.max_timestamp = header.max_timestamp.max(timestamp);
        let record = &mut self.scratch;
        record.clear();
        record.push(0);
        varint::write(record, timestamp.0.wrapping_sub(header.base_timestamp.0));
        varint::write(record, i64::from(header.last_offset_delta));
        varint::write_bytes(record, key);
        varint::write_bytes(record, value);
        varint::write(record, headers.len() as i64);
        for (name, content) in headers {
            varint::write_bytes(record, Some(name));
            varint::write_bytes(record, *content);
        }
        varint::write(&mut self.records, record.len() as i64);
        self.records.extend_from_slice(record);
    }

    /// Returns the number of records.
    pub fn records_count(&self) -> i32 {
        self.header.records_count
    }

    /// Returns the size that the batch has uncompressed.
    pub fn uncompressed_size(&self) -> usize {
        HEADER_SIZE + self.records.len()
    }

    /// Returns the whole batch.
    ///
    /// # Errors
    /// When the codec's library fails.
    pub fn finish(mut self) -> Result<Vec<u8>, CompressError> {
        let mut bytes = vec![0; HEADER_SIZE];
        if self.compression == Compression::None {
            bytes.append(&mut self.records);
        } else {
            bytes.append(&mut compress(self.compression, &self.records)?);
        }
        self.header.attributes = self.header.attributes.with_compression(self.compression);
        self.header.batch_length = (bytes.len() - LOG_OVERHEAD) as i32;
        self.header.crc = 0;
        if let Some(head) = bytes.first_chunk_mut() {
            self.header.write(head);
        }
        let crc = crc(&bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::{Entry, entries};
    use super::*;

    #[test]
    fn what_is_built_is_read_back_with_every_codec() {
        for codec in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let mut builder = BatchBuilder::new(Offset(40), codec);
            builder.push(TimestampMs(1000), Some(b"key"), None);
            let headers: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1")), (b"b", None)];
            builder.push_with_headers(TimestampMs(900), None, Some(b"value"), &headers);
            let bytes = builder.finish().unwrap();
            let Some(Ok(Entry::Batch(batch))) = entries(&bytes).next() else { panic!("no batch") };
            assert!(batch.check_crc());
            assert_eq!(batch.header.max_timestamp, TimestampMs(1000));
            let records = batch.records(1000).unwrap();
            let read: Vec<_> = records.iter().map(Result::unwrap).collect();
            assert_eq!((read[0].offset, read[0].key), (Offset(40), Some(&b"key"[..])));
            assert_eq!((read[1].offset, read[1].timestamp), (Offset(41), TimestampMs(900)));
            assert_eq!((read[1].key, read[1].value), (None, Some(&b"value"[..])));
            assert!(read[1].headers.clone().eq(headers));
            assert_eq!(read.len(), 2);
        }
    }

    #[test]
    fn damaged_batches_never_panic() {
        let mut builder = BatchBuilder::new(Offset(0), Compression::None);
        for i in 0..20 {
            builder.push_with_headers(TimestampMs(i), Some(b"k"), Some(b"v"), &[(b"h", None)]);
        }
        let bytes = builder.finish().unwrap();
        for position in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[position] ^= flip;
                for entry in entries(&damaged) {
                    if let Ok(Entry::Batch(batch)) = entry
                        && let Ok(records) = batch.records(10_000)
                    {
                        let _ = records.iter().filter_map(Result::ok).count();
                    }
                }
            }
        }
    }
}
