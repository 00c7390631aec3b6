//! A topic of one partition: made, written, read and changed over the wire.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_topics::CreatableTopic;
use broker_protocol::message::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_server::clock::{Clock, SystemClock};

use super::client::Client;
use super::records::{append, configs, each_batch, make};

/// The last versions with topic names.
const LIST_OFFSETS: i16 = 5;
const ALTER: i16 = 1;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Makes a topic with settings of its own.
pub(crate) fn create(client: &mut Client, name: &str, settings: &[(&str, &str)]) {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs(settings),
        ..Default::default()
    };
    make(client, topic);
}

/// One record of now, in a batch of its own.
pub(crate) fn one_record(key: Option<&[u8]>, size: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    builder.push(now(), key, Some(&vec![b'x'; size]));
    builder
}

/// The time.
pub(crate) fn now() -> TimestampMs {
    SystemClock.wall()
}

/// Appends a batch with `acks=all` and returns the answer's code.
pub(crate) fn produce(client: &mut Client, topic: &str, batch: BatchBuilder) -> ErrorCode {
    append(client, topic, 0, -1, batch).0
}

/// The first offset there is.
pub(crate) fn start_offset(client: &mut Client, topic: &str) -> i64 {
    let partitions = vec![ListOffsetsPartition { timestamp: -2, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let answer = client.call(&request, LIST_OFFSETS);
    let response: ListOffsetsResponse<'_> = answer.read(LIST_OFFSETS);
    let partition = &response.topics[0].partitions[0];
    assert_eq!(partition.error_code, 0, "{response:?}");
    partition.offset
}

/// The last offsets of all batches that there are.
pub(crate) fn batches(client: &mut Client, topic: &str) -> Vec<i64> {
    let mut found = Vec::new();
    each_batch(client, topic, 0, |batch| found.push(batch.header.last_offset().0)).unwrap();
    found
}

/// Sets a topic's setting.
pub(crate) fn alter_topic(client: &mut Client, topic: &str, key: &str, value: &str) {
    alter(client, TOPIC, topic, key, value);
}

/// Sets a setting of all brokers.
pub(crate) fn alter_brokers(client: &mut Client, key: &str, value: &str) {
    alter(client, BROKER, "", key, value);
}

/// Sets a setting of one broker.
pub(crate) fn alter_broker(client: &mut Client, id: i32, key: &str, value: &str) {
    alter(client, BROKER, &id.to_string(), key, value);
}

fn alter(client: &mut Client, resource_type: i8, name: &str, key: &str, value: &str) {
    let setting =
        AlterableConfig { name: key.into(), config_operation: 0, value: Some(value.into()) };
    let resource =
        AlterConfigsResource { resource_type, resource_name: name.into(), configs: vec![setting] };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = client.call(&request, ALTER);
    let response: IncrementalAlterConfigsResponse<'_> = answer.read(ALTER);
    assert_eq!(response.responses[0].error_code, 0, "{response:?}");
}
