//! What a producer sends, made fit for the log, or refused. Pure: no log, no clock.
//!
//! A batch v2 is stored as it came: its header and its checksum are looked at, and the frames of its
//! records if they are not compressed (a length and three numbers each, no copy). It is decompressed
//! only where the topic asks for it: another `compression.type`, keys for compaction, limits on
//! timestamps. Message sets of the old formats are converted.
//!
//! Source: Kafka 3.9 `LogValidator` and `ProduceRequest.validateRecords`. We differ in one point:
//! records inside a compressed batch are not looked at without need, as Kafka does.

use std::borrow::Cow;

use broker_config::topic::{CompressionType, TopicConfig};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{Batch, BatchHeader, HEADER_SIZE, MAGIC_POSITION};
use broker_protocol::record::compression::Compression;
use broker_storage::log::AppendBatch;

mod legacy;
mod recompress;
mod records;

/// The first version of Produce whose records must be one batch v2.
const BATCH_V2_FROM: i16 = 3;

/// The first version of Produce that may carry zstd.
const ZSTD_FROM: i16 = 7;

/// What the topic and the request ask of the records.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The topic's configuration.
    pub config: &'a TopicConfig,
    /// The version of the Produce request.
    pub version: i16,
    /// The wall time of the append.
    pub now: TimestampMs,
}

/// Batches that may be appended.
#[derive(Debug)]
pub struct Validated<'a> {
    /// In the order to append them.
    pub batches: Vec<AppendBatch<'a>>,
    /// How many records they have.
    pub records_count: u64,
    /// How many of them were converted from an old format.
    pub conversions_count: u64,
}

/// Why records are refused. Nothing of them is appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecords {
    /// A batch is cut short, its length is wrong, or its checksum does not fit.
    #[error("batch at byte {position} is damaged")]
    Corrupt {
        /// Where the batch begins in the request's records.
        position: usize,
    },
    /// A compressed batch does not decompress, or to more than is reasonable.
    #[error("records do not decompress")]
    Undecodable,
    /// The codec is not known, or not in this version.
    #[error("compression codec {codec} cannot be used in Produce version {version}")]
    UnsupportedCompression {
        /// The codec's number.
        codec: i16,
        /// The version of the request.
        version: i16,
    },
    /// A batch is larger than the topic allows.
    #[error("batch of {size} bytes, max.message.bytes is {max_message_bytes}")]
    TooLarge {
        /// The batch's size in bytes.
        size: usize,
        /// The limit.
        max_message_bytes: i32,
    },
    /// A record's time is out of the limits, or the client claims to know the append time.
    #[error("timestamps are out of the topic's limits, or of a type that only the broker sets")]
    Timestamp {
        /// The first of them in the batch; empty if the batch as a whole.
        records: Vec<i32>,
    },
    /// A compacted topic needs keys.
    #[error("compacted topics take records with keys only")]
    NoKey {
        /// The first of them in the batch.
        records: Vec<i32>,
    },
    /// The batch belongs to a transaction, and there is no transaction coordinator that could know it.
    #[error("transactions are not served: the producer has none open")]
    Transactional,
    /// Something else does not hold together.
    #[error("{0}")]
    Invalid(Flaw),
}

/// What does not hold together in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// There is nothing in the request.
    #[error("no records")]
    Empty,
    /// The batch goes on after what came.
    #[error("the batch is cut short")]
    CutShort,
    /// The request's version takes batches v2 only.
    #[error("this version of Produce takes record batches of magic 2 only")]
    Magic,
    /// The request's version takes one batch a partition.
    #[error("this version of Produce takes exactly one batch")]
    SeveralBatches,
    /// The client set an offset.
    #[error("the base offset of a new batch is 0")]
    BaseOffset,
    /// The number of records is not positive, or not the last offset delta plus one.
    #[error("the count of records does not fit the offsets")]
    RecordsCount,
    /// Only brokers write control batches.
    #[error("control batches are written by brokers only")]
    Control,
    /// An idempotent producer must number its batches.
    #[error("a producer id without a sequence or an epoch")]
    Sequence,
    /// A record's length, offset or key does not fit the batch.
    #[error("record {0} does not fit its batch")]
    Record(i32),
}

impl InvalidRecords {
    /// Returns the indexes, in their batch, of the records that are to blame, if it is them.
    pub fn record_indexes(&self) -> &[i32] {
        match self {
            Self::Timestamp { records } | Self::NoKey { records } => records,
            Self::Invalid(Flaw::Record(index)) => std::slice::from_ref(index),
            Self::Corrupt { .. }
            | Self::Undecodable
            | Self::UnsupportedCompression { .. }
            | Self::TooLarge { .. }
            | Self::Transactional
            | Self::Invalid(_) => &[],
        }
    }
}

impl From<Flaw> for InvalidRecords {
    fn from(flaw: Flaw) -> Self {
        Self::Invalid(flaw)
    }
}

/// Validates the records of one partition of a Produce request.
///
/// # Errors
/// The first reason found against them.
pub fn validate<'a>(bytes: &'a [u8], rules: &Rules<'_>) -> Result<Validated<'a>, InvalidRecords> {
    if rules.version < BATCH_V2_FROM {
        return legacy::validate(bytes, rules);
    }
    let header = header(bytes, 0)?;
    match bytes.len() - header.size_in_bytes() {
        0 => {}
        // What follows is a whole batch, or the pieces of one.
        _ => return Err(Flaw::SeveralBatches.into()),
    }
    let batch = check(&header, bytes, 0, rules)?
        .unwrap_or(AppendBatch { header, bytes: Cow::Borrowed(bytes) });
    let records_count = batch.header.records_count as u64;
    Ok(Validated { batches: vec![batch], records_count, conversions_count: 0 })
}

/// Reads the header of the batch v2 that `bytes` begin with; the batch is whole.
fn header(bytes: &[u8], position: usize) -> Result<BatchHeader, InvalidRecords> {
    let corrupt = InvalidRecords::Corrupt { position };
    match bytes.get(MAGIC_POSITION) {
        None if bytes.is_empty() => return Err(Flaw::Empty.into()),
        None => return Err(Flaw::CutShort.into()),
        Some(2) => {}
        Some(0 | 1) => return Err(Flaw::Magic.into()),
        Some(_) => return Err(corrupt),
    }
    if bytes.len() < HEADER_SIZE {
        return Err(Flaw::CutShort.into());
    }
    let header = BatchHeader::parse(bytes).map_err(|_| corrupt)?;
    if header.size_in_bytes() > bytes.len() {
        return Err(Flaw::CutShort.into());
    }
    Ok(header)
}

/// Checks one whole batch v2; returns another in its place if the topic asks for one.
fn check(
    header: &BatchHeader,
    bytes: &[u8],
    position: usize,
    rules: &Rules<'_>,
) -> Result<Option<AppendBatch<'static>>, InvalidRecords> {
    let config = rules.config;
    check_size(bytes.len(), config)?;
    if !(Batch { header: *header, bytes }).check_crc() {
        return Err(InvalidRecords::Corrupt { position });
    }
    check_header(header)?;
    let codec = header.attributes.compression().map_err(|_| {
        let codec = header.attributes.0 & 7;
        InvalidRecords::UnsupportedCompression { codec, version: rules.version }
    })?;
    if codec == Compression::Zstd && rules.version < ZSTD_FROM {
        let codec = codec as i16;
        return Err(InvalidRecords::UnsupportedCompression { codec, version: rules.version });
    }
    records::check(header, codec, bytes, rules)?;
    let Some(target) = target_codec(config.compression_type).filter(|it| *it != codec) else {
        return Ok(None);
    };
    let level = level(config, target);
    let recompressed = recompress::recompress(header, bytes, codec, target, level)?;
    check_size(recompressed.bytes.len(), config)?;
    Ok(Some(recompressed))
}

fn check_size(size: usize, config: &TopicConfig) -> Result<(), InvalidRecords> {
    let max_message_bytes = config.max_message_bytes;
    if size as i64 > i64::from(max_message_bytes) {
        return Err(InvalidRecords::TooLarge { size, max_message_bytes });
    }
    Ok(())
}

fn check_header(header: &BatchHeader) -> Result<(), InvalidRecords> {
    if header.base_offset != Offset(0) {
        return Err(Flaw::BaseOffset.into());
    }
    if header.attributes.is_control() {
        return Err(Flaw::Control.into());
    }
    if header.attributes.is_log_append_time() {
        return Err(InvalidRecords::Timestamp { records: Vec::new() });
    }
    if header.attributes.is_transactional() {
        return Err(InvalidRecords::Transactional);
    }
    if header.records_count <= 0 || header.last_offset_delta != header.records_count - 1 {
        return Err(Flaw::RecordsCount.into());
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(Flaw::Sequence.into());
    }
    Ok(())
}

/// Returns the codec that the topic forces, if any.
fn target_codec(compression_type: CompressionType) -> Option<Compression> {
    match compression_type {
        CompressionType::Producer => None,
        CompressionType::Uncompressed => Some(Compression::None),
        CompressionType::Gzip => Some(Compression::Gzip),
        CompressionType::Snappy => Some(Compression::Snappy),
        CompressionType::Lz4 => Some(Compression::Lz4),
        CompressionType::Zstd => Some(Compression::Zstd),
    }
}

/// Returns the level that the topic asks of a codec, if the codec has levels.
fn level(config: &TopicConfig, codec: Compression) -> Option<i32> {
    match codec {
        // -1 is the library's own choice.
        Compression::Gzip => Some(config.compression_gzip_level).filter(|level| *level > 0),
        Compression::Zstd => Some(config.compression_zstd_level),
        Compression::None | Compression::Snappy | Compression::Lz4 => None,
    }
}

#[cfg(test)]
mod tests;
