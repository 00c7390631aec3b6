//! A topic over the wire, whatever cluster it is in: made, written and read.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use broker_protocol::message::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use broker_protocol::primitive::Records;
use broker_protocol::record::batch::Batch;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::entries::{Entry, entries};

use super::client::Client;

/// The last versions with topic names.
const PRODUCE: i16 = 9;
const FETCH: i16 = 11;
const CREATE: i16 = 5;

/// As long as any answer may take.
const TIMEOUT_MS: i32 = 20_000;

/// Returns settings of a topic.
pub(crate) fn configs(settings: &[(&str, &str)]) -> Vec<CreatableTopicConfig<'static>> {
    let config = |(key, value): &(&str, &str)| CreatableTopicConfig {
        name: (*key).to_owned().into(),
        value: Some((*value).to_owned().into()),
    };
    settings.iter().map(config).collect()
}

/// Makes a topic.
pub(crate) fn make(client: &mut Client, topic: CreatableTopic<'_>) {
    let (code, words) = try_to_make(client, topic);
    assert_eq!(code, ErrorCode::None, "{words}");
}

/// Asks for a topic; returns the code, and what is said beside it.
pub(crate) fn try_to_make(client: &mut Client, topic: CreatableTopic<'_>) -> (ErrorCode, String) {
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
    let answer = client.call(&request, CREATE);
    let response: CreateTopicsResponse<'_> = answer.read(CREATE);
    let made = &response.topics[0];
    let words = made.error_message.as_deref().unwrap_or_default().to_owned();
    (ErrorCode::from_code(made.error_code).unwrap(), words)
}

/// Appends a batch with `acks`; returns the code, and the first offset.
pub(crate) fn append(
    client: &mut Client,
    topic: &str,
    partition: i32,
    acks: i16,
    batch: BatchBuilder,
) -> (ErrorCode, i64) {
    let batch = batch.finish().unwrap();
    let records = Some(Records::Bytes(batch.as_slice().into()));
    let partition_data = vec![PartitionProduceData { index: partition, records }];
    let topic_data =
        vec![TopicProduceData { name: topic.into(), partition_data, ..Default::default() }];
    let request = ProduceRequest { acks, timeout_ms: TIMEOUT_MS, topic_data, ..Default::default() };
    let answer = client.call(&request, PRODUCE);
    let response: ProduceResponse<'_> = answer.read(PRODUCE);
    let answer = &response.responses[0].partition_responses[0];
    (ErrorCode::from_code(answer.error_code).unwrap(), answer.base_offset)
}

/// Shows all batches that consumers see, in order; fails with the code with which the broker refuses.
pub(crate) fn each_batch(
    client: &mut Client,
    topic: &str,
    partition: i32,
    mut see: impl FnMut(&Batch<'_>),
) -> Result<(), ErrorCode> {
    let mut next = 0;
    loop {
        let wanted = FetchPartition {
            partition,
            fetch_offset: next,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topics = vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![wanted],
            ..Default::default()
        }];
        let request =
            FetchRequest { max_bytes: 1 << 20, session_epoch: -1, topics, ..Default::default() };
        let answer = client.call(&request, FETCH);
        let response: FetchResponse<'_> = answer.read(FETCH);
        let data = &response.responses[0].partitions[0];
        let code = ErrorCode::from_code(data.error_code).unwrap();
        if code != ErrorCode::None {
            return Err(code);
        }
        let bytes = data.records.as_ref().map_or(&[][..], Records::as_bytes);
        let before = next;
        for entry in entries(bytes) {
            let Ok(Entry::Batch(batch)) = entry else { continue };
            see(&batch);
            next = batch.header.last_offset().0 + 1;
        }
        if next == before {
            return Ok(());
        }
    }
}
