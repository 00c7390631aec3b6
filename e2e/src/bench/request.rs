//! Requests built before the clock runs, and the answers to them.
//!
//! Versions are fixed: those that both brokers serve with compact fields and topic names.

use std::borrow::Cow;

use anyhow::{Result, bail};
use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::message::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchTopic};
use broker_protocol::message::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use broker_protocol::primitive::{Reader, Records, Writer};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;

/// The version of Produce.
pub const PRODUCE: i16 = 9;
/// The version of Fetch.
pub const FETCH: i16 = 12;

/// Writes a whole frame of `request` in `version`.
pub fn frame<'a, M: Message<'a>>(request: &M, version: i16) -> Result<Vec<u8>> {
    let mut writer = Writer::new();
    writer.frame(|writer| {
        let header = RequestHeader {
            api_key: M::API_KEY.code(),
            api_version: version,
            correlation_id: 1,
            client_id: Some("bench".into()),
        };
        header.encode(writer)?;
        request.encode(writer, version)
    })?;
    Ok(writer.as_slice().to_vec())
}

/// Reads a response of `version` from a frame without its length.
pub fn answer<'a, M: Message<'a>>(body: &'a [u8], version: i16) -> Result<M> {
    let mut reader = Reader::with_budget(body, 1 << 22);
    ResponseHeader::decode(&mut reader, M::API_KEY, version)?;
    Ok(M::decode(&mut reader, version)?)
}

/// A batch of `record_size` byte values, filled up to `batch_size` bytes; at least one record.
pub fn batch(record_size: usize, batch_size: usize) -> Result<(Vec<u8>, i64)> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    let mut value = vec![0_u8; record_size];
    let mut seed = 1_u32;
    loop {
        for byte in &mut value {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (seed >> 24) as u8;
        }
        builder.push(TimestampMs(now as i64), None, Some(&value));
        if builder.uncompressed_size() + record_size + 16 > batch_size {
            break;
        }
    }
    let records = i64::from(builder.records_count());
    Ok((builder.finish()?, records))
}

/// A Produce request of one batch with `acks=all`.
pub fn produce(topic: &str, partition: i32, batch: &[u8], acks: i16) -> Result<Vec<u8>> {
    let data = PartitionProduceData {
        index: partition,
        records: Some(Records::Bytes(Cow::Borrowed(batch))),
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![data],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    frame(&request, PRODUCE)
}

/// The error code in the answer to a Produce request of one partition.
pub fn produced(body: &[u8]) -> Result<i16> {
    let response: ProduceResponse<'_> = answer(body, PRODUCE)?;
    let first = response.responses.first().and_then(|topic| topic.partition_responses.first());
    let Some(partition) = first else { bail!("an answer without a partition") };
    Ok(partition.error_code)
}

/// A Fetch request for one partition, as a consumer with default settings sends it.
pub fn fetch(topic: &str, partition: i32, offset: i64) -> Result<Vec<u8>> {
    fetch_within(500, topic, partition, offset)
}

/// A Fetch request that is answered at once, with records or without.
pub fn fetch_now(topic: &str, partition: i32, offset: i64) -> Result<Vec<u8>> {
    fetch_within(0, topic, partition, offset)
}

fn fetch_within(max_wait_ms: i32, topic: &str, partition: i32, offset: i64) -> Result<Vec<u8>> {
    let position = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic =
        FetchTopic { topic: topic.into(), partitions: vec![position], ..FetchTopic::default() };
    let request = FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    frame(&request, FETCH)
}

/// A CreateTopics request (version 5) with topic settings.
pub fn create(
    topic: &str,
    partitions: i32,
    replication_factor: i16,
    configs: &[(&str, &str)],
) -> Result<Vec<u8>> {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    });
    let topic = CreatableTopic {
        name: topic.into(),
        num_partitions: partitions,
        replication_factor,
        configs: configs.collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 60_000,
        ..CreateTopicsRequest::default()
    };
    frame(&request, 5)
}
