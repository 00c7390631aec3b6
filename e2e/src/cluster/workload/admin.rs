//! What an administrator asks of the controller, a request each.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use broker_protocol::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignableTopic,
};
use broker_protocol::message::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use broker_protocol::message::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use broker_protocol::message::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use broker_protocol::message::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use broker_protocol::message::elect_leaders::ElectLeadersRequest;
use broker_protocol::message::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;

use crate::cluster::view::{ANSWER, CONNECT};
use crate::wire::{Connection, PRODUCE_VERSION};

const TIMEOUT_MS: i32 = 8_000;
const RESOURCE_TOPIC: i8 = 2;

/// Makes a topic whose partitions have these replicas.
pub fn create(connection: &mut Connection, name: &str, replicas: &[Vec<i32>]) -> Result<()> {
    let assignment = |(index, brokers): (i32, &Vec<i32>)| CreatableReplicaAssignment {
        partition_index: index,
        broker_ids: brokers.clone(),
    };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: (0..).zip(replicas).map(assignment).collect(),
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
    let answer = connection.call(&request, 5)?;
    let response: CreateTopicsResponse<'_> = answer.read(5)?;
    let made = response.topics.first().context("no topic in the answer")?;
    ensure!(made.error_code == 0, "create {name}: {made:?}");
    Ok(())
}

/// Gives a topic more partitions; returns the error code.
pub fn grow(connection: &mut Connection, name: &str, count: i32) -> Result<i16> {
    let topic = CreatePartitionsTopic { name: name.into(), count, assignments: None };
    let request = CreatePartitionsRequest {
        topics: vec![topic],
        timeout_ms: TIMEOUT_MS,
        validate_only: false,
    };
    let answer = connection.call(&request, 1)?;
    let response: CreatePartitionsResponse<'_> = answer.read(1)?;
    Ok(response.results.first().context("no topic in the answer")?.error_code)
}

/// Sets a setting of a topic; returns the error code.
pub fn alter(connection: &mut Connection, name: &str, key: &str, value: &str) -> Result<i16> {
    let config =
        AlterableConfig { name: key.into(), config_operation: 0, value: Some(value.into()) };
    let resource = AlterConfigsResource {
        resource_type: RESOURCE_TOPIC,
        resource_name: name.into(),
        configs: vec![config],
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = connection.call(&request, 0)?;
    let response: IncrementalAlterConfigsResponse<'_> = answer.read(0)?;
    Ok(response.responses.first().context("no topic in the answer")?.error_code)
}

/// The value of a setting of a topic; empty if it has none.
pub fn setting(connection: &mut Connection, topic: &str, key: &str) -> Result<String> {
    let resource = DescribeConfigsResource {
        resource_type: RESOURCE_TOPIC,
        resource_name: topic.into(),
        configuration_keys: Some(vec![key.into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = connection.call(&request, 1)?;
    let response: DescribeConfigsResponse<'_> = answer.read(1)?;
    let result = response.results.first().context("no topic in the answer")?;
    ensure!(result.error_code == 0, "describe {topic}: error {}", result.error_code);
    let config = result.configs.first().with_context(|| format!("no {key} in the answer"))?;
    Ok(config.value.as_deref().unwrap_or_default().to_owned())
}

/// Asks for other replicas of a partition.
pub fn reassign(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    replicas: Vec<i32>,
) -> Result<()> {
    let wanted = ReassignablePartition { partition_index: partition, replicas: Some(replicas) };
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: TIMEOUT_MS,
        topics: vec![ReassignableTopic { name: topic.into(), partitions: vec![wanted] }],
        ..Default::default()
    };
    let answer = connection.call(&request, 0)?;
    let response: AlterPartitionReassignmentsResponse<'_> = answer.read(0)?;
    ensure!(response.error_code == 0, "reassign: error {}", response.error_code);
    let topic = response.responses.first().and_then(|topic| topic.partitions.first());
    let code = topic.context("no partition in the answer")?.error_code;
    ensure!(code == 0, "reassign: error {code} of the partition");
    Ok(())
}

/// Asks every partition's first replica to lead it.
pub fn elect_preferred(connection: &mut Connection) -> Result<()> {
    let request =
        ElectLeadersRequest { election_type: 0, topic_partitions: None, timeout_ms: TIMEOUT_MS };
    connection.call(&request, 1).map(drop)
}

/// Deletes a topic; returns the error code.
pub fn delete(connection: &mut Connection, name: &str) -> Result<i16> {
    let request = DeleteTopicsRequest {
        topic_names: vec![name.into()],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answer = connection.call(&request, 4)?;
    let response: DeleteTopicsResponse<'_> = answer.read(4)?;
    Ok(response.responses.first().context("no topic in the answer")?.error_code)
}

/// Writes one record to a partition of the broker at `leader`; returns the error code and its offset.
pub fn write(
    leader: SocketAddr,
    (topic, partition): (&str, i32),
    value: &str,
) -> Result<(i16, i64)> {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    builder.push(TimestampMs(1), None, Some(value.as_bytes()));
    let bytes = builder.finish()?;
    let mut connection = Connection::open_within(leader, CONNECT, 3 * ANSWER)?;
    let answer = connection.produce(topic, partition, &bytes, PRODUCE_VERSION)?;
    Ok((answer.error_code, answer.base_offset))
}

/// Reads all values of a partition of the broker at `leader`.
pub fn read(leader: SocketAddr, (topic, partition): (&str, i32)) -> Result<Vec<(i64, String)>> {
    let mut connection = Connection::open_within(leader, CONNECT, ANSWER)?;
    let seen = connection.read_partition(topic, partition, 0)?;
    let value = |bytes: Option<&Vec<u8>>| {
        String::from_utf8_lossy(bytes.map_or(&[][..], Vec::as_slice)).into_owned()
    };
    Ok(seen.iter().map(|record| (record.offset, value(record.value.as_ref()))).collect())
}
