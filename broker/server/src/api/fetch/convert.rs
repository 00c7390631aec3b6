//! Records for clients of old: in the format that their version reads, from memory.
//!
//! Source: Kafka 3.9 `KafkaApis.maybeConvertFetchedData`.

use broker_config::topic::CompressionType;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::Offset;
use broker_protocol::record::compression::DECOMPRESSED_SIZE_MAX;
use broker_protocol::record::convert::{ConvertError, DownLimits, down};
use broker_storage::log::Slice;

use super::WHOLE_BATCHES_FROM;
use crate::replica::partition::Partition;

/// The first version that reads batches v2.
pub(super) const BATCH_V2_FROM: i16 = 4;
/// The first version that reads message sets of magic 1.
const MAGIC_1_FROM: i16 = 2;
/// The first version that reads zstd.
const ZSTD_FROM: i16 = 10;

/// How records are sent.
pub(super) enum Form {
    /// From the file, byte for byte.
    AsStored,
    /// From memory.
    Converted(Vec<u8>),
}

/// Decides how a client of `version` gets `slice`, which was read from `first_offset` on, and converts
/// it if it must, to about `max_bytes`.
///
/// # Errors
/// The code for the partition, if the records have no form that the client reads.
pub(super) fn for_version(
    version: i16,
    partition: &Partition,
    slice: &Slice,
    first_offset: Offset,
    max_bytes: u32,
) -> Result<Form, ErrorCode> {
    let config = partition.config();
    if version < ZSTD_FROM && config.compression_type == CompressionType::Zstd {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    if version >= BATCH_V2_FROM {
        return Ok(Form::AsStored);
    }
    if !config.message_downconversion_enable {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let stored = slice.bytes().map_err(|error| {
        tracing::error!(partition = %partition.name(), %error, "records cannot be read to convert");
        ErrorCode::KafkaStorageError
    })?;
    let limits = DownLimits {
        magic: i8::from(version >= MAGIC_1_FROM),
        first_offset,
        size_max: max_bytes as usize,
        decompressed_size_max: DECOMPRESSED_SIZE_MAX,
    };
    let mut converted = down(&stored, &limits).map_err(|error| {
        if matches!(error, ConvertError::Zstd) {
            return ErrorCode::UnsupportedCompressionType;
        }
        tracing::warn!(partition = %partition.name(), %error, "records cannot be converted");
        ErrorCode::CorruptMessage
    })?;
    if version < WHOLE_BATCHES_FROM {
        // A message cut short tells these clients that their buffer is too small for it.
        converted.truncate(max_bytes as usize);
    }
    partition.counters().fetch_message_conversions.add(1);
    Ok(Form::Converted(converted))
}
