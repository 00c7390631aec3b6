//! Message sets of magic 0 and 1, converted to batches v2 when a producer of old sends them.

use std::borrow::Cow;

use broker_protocol::record::batch::BatchHeader;
use broker_protocol::record::compression::DECOMPRESSED_SIZE_MAX;
use broker_protocol::record::convert::{ConvertError, up};
use broker_protocol::record::wrapper::LegacyError;
use broker_storage::log::AppendBatch;

use super::{Flaw, InvalidRecords, Rules, Validated, check};

/// Converts and validates what a Produce request before version 3 carries.
pub(super) fn validate<'a>(
    bytes: &'a [u8],
    rules: &Rules<'_>,
) -> Result<Validated<'a>, InvalidRecords> {
    if bytes.is_empty() {
        return Err(Flaw::Empty.into());
    }
    let converted = up(bytes, DECOMPRESSED_SIZE_MAX).map_err(|error| refuse(&error, rules))?;
    let mut batches = Vec::with_capacity(converted.len());
    let mut records_count = 0;
    for bytes in converted {
        let corrupt = InvalidRecords::Corrupt { position: 0 };
        let header = BatchHeader::parse(&bytes).map_err(|_| corrupt)?;
        records_count += header.records_count.max(0) as u64;
        let batch = match check(&header, &bytes, 0, rules)? {
            Some(recompressed) => recompressed,
            None => AppendBatch { header, bytes: Cow::Owned(bytes) },
        };
        batches.push(batch);
    }
    Ok(Validated { batches, records_count, conversions_count: records_count })
}

fn refuse(error: &ConvertError, rules: &Rules<'_>) -> InvalidRecords {
    match error {
        ConvertError::Entry(_) | ConvertError::Crc { .. } => {
            InvalidRecords::Corrupt { position: 0 }
        }
        ConvertError::Codec(codec) => InvalidRecords::UnsupportedCompression {
            codec: i16::from(codec.0),
            version: rules.version,
        },
        ConvertError::Empty => Flaw::Empty.into(),
        ConvertError::LogAppendTime { index } => {
            InvalidRecords::Timestamp { records: vec![*index] }
        }
        ConvertError::MixedMagic { index } | ConvertError::Legacy(LegacyError::Inner { index }) => {
            Flaw::Record(*index).into()
        }
        ConvertError::Zstd
        | ConvertError::TooLarge { .. }
        | ConvertError::Records(_)
        | ConvertError::Legacy(_)
        | ConvertError::Compress(_) => InvalidRecords::Undecodable,
    }
}
