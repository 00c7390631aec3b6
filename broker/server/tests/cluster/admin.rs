//! What an administrator asks of the cluster.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignableTopic,
};
use broker_protocol::message::create_topics::{CreatableReplicaAssignment, CreatableTopic};
use broker_protocol::message::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::nodes::Cluster;
use super::records::{configs, make};
use super::topic::await_in_sync;

/// The type of a resource that is a topic, and of one that is a broker.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Makes a topic whose partitions have these replicas, and waits until they are in sync.
pub(crate) fn create_on(
    cluster: &Cluster,
    name: &str,
    replicas: &[&[i32]],
    settings: &[(&str, &str)],
) {
    let assignments = (0..).zip(replicas).map(|(partition_index, replicas)| {
        CreatableReplicaAssignment { partition_index, broker_ids: replicas.to_vec() }
    });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignments.collect(),
        configs: configs(settings),
    };
    make(&mut cluster.client(cluster.controller()), topic);
    for (partition, replicas) in (0..).zip(replicas) {
        await_in_sync(cluster, name, partition, replicas.len());
    }
}

/// Sets a key of one broker.
pub(crate) fn set_of_broker(cluster: &Cluster, broker: i32, key: &str, value: &str) {
    set(cluster, broker, (BROKER, &broker.to_string()), key, value);
}

/// Sets a key of a topic.
pub(crate) fn set_of_topic(cluster: &Cluster, topic: &str, key: &str, value: &str) {
    set(cluster, 1, (TOPIC, topic), key, value);
}

fn set(cluster: &Cluster, at: i32, (kind, name): (i8, &str), key: &str, value: &str) {
    let configs = vec![AlterableConfig {
        name: key.to_owned().into(),
        value: Some(value.to_owned().into()),
        ..Default::default()
    }];
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned().into(),
        configs,
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = cluster.client(at).call(&request, 1);
    let response: IncrementalAlterConfigsResponse<'_> = answer.read(1);
    assert_eq!(response.responses[0].error_code, 0, "{response:?}");
}

/// Begins to give a partition other replicas.
pub(crate) fn reassign(cluster: &Cluster, topic: &str, partition: i32, replicas: &[i32]) {
    assert_eq!(try_to_reassign(cluster, topic, partition, replicas), ErrorCode::None);
}

/// Asks for other replicas of a partition; returns the code.
pub(crate) fn try_to_reassign(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    replicas: &[i32],
) -> ErrorCode {
    let one =
        ReassignablePartition { partition_index: partition, replicas: Some(replicas.to_vec()) };
    let topic = ReassignableTopic { name: topic.to_owned().into(), partitions: vec![one] };
    let request = AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
    let answer = cluster.client(cluster.controller()).call(&request, 0);
    let response: AlterPartitionReassignmentsResponse<'_> = answer.read(0);
    ErrorCode::from_code(response.responses[0].partitions[0].error_code).unwrap()
}
