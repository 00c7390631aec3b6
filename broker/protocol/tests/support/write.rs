//! The five records in our own hand.

use broker_protocol::quantity::Offset;
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::legacy::{MessageFields, write_message, write_wrapper};

use super::five_records::{APPEND_TIME, five_records};

/// Writes them with our writers.
pub(crate) fn written(magic: i8, codec: Compression, append_time: bool, base: i64) -> Vec<u8> {
    let records = five_records(magic, codec);
    if magic == 2 {
        let mut builder = BatchBuilder::new(Offset(base), codec);
        for record in &records {
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                record.headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.push_with_headers(record.timestamp, key, value, &headers);
        }
        if append_time {
            builder.header.max_timestamp = APPEND_TIME;
            builder.header.attributes = builder.header.attributes.with_log_append_time(true);
        }
        return builder.finish().expect("a codec");
    }
    let messages: Vec<MessageFields<'_>> = (base..)
        .zip(&records)
        .map(|(offset, record)| MessageFields {
            offset: Offset(offset),
            timestamp: if append_time { APPEND_TIME } else { record.timestamp },
            log_append_time: append_time,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        })
        .collect();
    let mut bytes = Vec::new();
    if codec == Compression::None {
        for message in &messages {
            write_message(&mut bytes, magic, message);
        }
    } else {
        write_wrapper(&mut bytes, magic, codec, &messages).expect("a codec");
    }
    bytes
}
