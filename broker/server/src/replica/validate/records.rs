//! The records of a batch v2, as far as the broker looks at them: their form, offsets, keys, times.

use broker_protocol::quantity::TimestampMs;
use broker_protocol::record::batch::{Batch, BatchHeader};
use broker_protocol::record::compression::{Compression, DECOMPRESSED_SIZE_MAX};
use broker_protocol::record::iteration::{Records, RecordsError};

use super::{Flaw, InvalidRecords, Rules};

/// The fewest bytes of a record: its size, attributes, two deltas, no key, no value, no headers.
const RECORD_SIZE_MIN: usize = 7;

/// The most records that an answer names: a batch can hold millions, each of which would cost the answer
/// some bytes. Kafka 3.9 names all.
const NAMED_MAX: usize = 100;

/// What is asked of each record.
struct Wanted {
    key: bool,
    times: Option<(i64, i64)>,
}

/// Checks the records themselves: always if they lie open, else only if the topic asks something.
pub(super) fn check(
    header: &BatchHeader,
    codec: Compression,
    bytes: &[u8],
    rules: &Rules<'_>,
) -> Result<(), InvalidRecords> {
    let wanted = Wanted { key: rules.config.cleanup_policy.compact, times: times(rules) };
    if header.records_count as usize > DECOMPRESSED_SIZE_MAX / RECORD_SIZE_MIN {
        return Err(Flaw::RecordsCount.into());
    }
    if codec != Compression::None && !wanted.key && wanted.times.is_none() {
        return Ok(());
    }
    let batch = Batch { header: *header, bytes };
    walk(header, &batch.records(DECOMPRESSED_SIZE_MAX).map_err(|e| invalid(&e))?, &wanted)
}

fn invalid(error: &RecordsError) -> InvalidRecords {
    match error {
        RecordsError::Codec(_) | RecordsError::Decompress(_) => InvalidRecords::Undecodable,
        RecordsError::Record(index) => Flaw::Record(*index).into(),
        RecordsError::Trailing(count) => Flaw::Record(count - 1).into(),
    }
}

/// Returns the first and last timestamp that the topic takes, if it limits them.
fn times(rules: &Rules<'_>) -> Option<(i64, i64)> {
    let config = rules.config;
    let before = config.message_timestamp_before_max_ms;
    let after = config.message_timestamp_after_max_ms;
    if config.message_timestamp_type == broker_config::topic::TimestampType::LogAppendTime
        || (before == i64::MAX && after == i64::MAX)
    {
        return None;
    }
    Some((rules.now.0.saturating_sub(before), rules.now.0.saturating_add(after)))
}

fn walk(
    header: &BatchHeader,
    records: &Records<'_>,
    wanted: &Wanted,
) -> Result<(), InvalidRecords> {
    let (mut without_key, mut out_of_time) = (Vec::new(), Vec::new());
    for (index, record) in (0..).zip(records) {
        let record = record.map_err(|error| invalid(&error))?;
        if record.offset.0 - header.base_offset.0 != i64::from(index) {
            return Err(Flaw::Record(index).into());
        }
        if wanted.key && record.key.is_none() && without_key.len() < NAMED_MAX {
            without_key.push(index);
        }
        if let Some((first, last)) = wanted.times
            && record.timestamp != NO_TIMESTAMP
            && !(first..=last).contains(&record.timestamp.0)
            && out_of_time.len() < NAMED_MAX
        {
            out_of_time.push(index);
        }
    }
    if !without_key.is_empty() {
        return Err(InvalidRecords::NoKey { records: without_key });
    }
    if !out_of_time.is_empty() {
        return Err(InvalidRecords::Timestamp { records: out_of_time });
    }
    Ok(())
}

/// What a record has that carries no time.
const NO_TIMESTAMP: TimestampMs = TimestampMs(-1);
