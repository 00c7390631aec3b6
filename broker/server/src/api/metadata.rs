//! Metadata: brokers, topics and leaders, and the automatic creation of topics.

use std::borrow::Cow;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;

use super::RequestContext;
use crate::context::Context;
use crate::metadata::{Metadata, Partition, Topic, is_internal};

/// "Authorized operations" where they were not asked for.
const NOT_ASKED: i32 = i32::MIN;

/// From this version on topics can be asked for by id. Versions 10 and 11 have the field and refuse
/// the whole request if it is used. Source: Kafka 3.9 `KafkaApis.handleTopicMetadataRequest`.
const TOPIC_IDS_FROM: i16 = 12;

/// From this version on a leader that does not have the client's listener is told from one that is
/// not there.
const LISTENER_NOT_FOUND_FROM: i16 = 6;

/// Returns the names that the request wants and that do not exist, if they may be created now.
///
/// Empty in the usual case, which needs no waiting, and where the request will be refused.
pub(crate) fn missing_topics(
    context: &Context,
    request: &MetadataRequest<'_>,
    metadata: &Metadata,
    api_version: i16,
) -> Vec<String> {
    if asks_in_vain(request, api_version) {
        return Vec::new();
    }
    if !(request.allow_auto_topic_creation && context.config.load().auto_create_topics_enable) {
        return Vec::new();
    }
    if metadata.controller.is_none() {
        // Nothing was told yet of what exists.
        return Vec::new();
    }
    let asked = request.topics.iter().flatten();
    asked
        .filter_map(|topic| topic.name.as_deref())
        .filter(|name| metadata.topic(name).is_none())
        .map(ToOwned::to_owned)
        .collect()
}

/// Returns whether topics are asked for by id in a version that does not serve it.
fn asks_in_vain(request: &MetadataRequest<'_>, api_version: i16) -> bool {
    let has_id =
        |asked: &MetadataRequestTopic<'_>| asked.name.is_none() || !asked.topic_id.is_zero();
    api_version < TOPIC_IDS_FROM && request.topics.iter().flatten().any(has_id)
}

/// Answers from one snapshot.
pub(crate) fn metadata(
    context: &Context,
    request: &MetadataRequest<'_>,
    metadata: &Metadata,
    rc: &RequestContext<'_>,
) -> MetadataResponse<'static> {
    let listener = &rc.peer.listener;
    let brokers = metadata.brokers.iter().filter_map(|(id, broker)| {
        let endpoint = metadata.endpoint(*id, listener)?;
        Some(MetadataResponseBroker {
            node_id: id.0,
            host: Cow::Owned(endpoint.host.to_string()),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_ref().map(|rack| Cow::Owned(rack.to_string())),
        })
    });
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(Cow::Owned(context.cluster_id.to_string())),
        controller_id: metadata.controller.map_or(-1, |id| id.0),
        topics: topics(request, metadata, rc),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            ALL_CLUSTER_OPERATIONS
        } else {
            NOT_ASKED
        },
        ..Default::default()
    }
}

/// Every operation on a cluster, as bits (create, alter, describe, cluster action, the three on
/// configurations and idempotent write): without an authorizer everything is allowed.
pub(crate) const ALL_CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Every operation on a topic, as bits: read, write, create, delete, alter, describe and the two
/// on configurations.
pub(crate) const ALL_TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

fn topics(
    request: &MetadataRequest<'_>,
    metadata: &Metadata,
    rc: &RequestContext<'_>,
) -> Vec<MetadataResponseTopic<'static>> {
    let operations =
        if request.include_topic_authorized_operations { ALL_TOPIC_OPERATIONS } else { NOT_ASKED };
    let answer = |topic: &Topic| known(topic, metadata, operations, rc);
    match &request.topics {
        Some(asked) if asks_in_vain(request, rc.api_version) => {
            asked.iter().map(|asked| unknown(asked, ErrorCode::InvalidRequest, rc)).collect()
        }
        // In version 0 an empty list asks for all; from version 1 null does.
        Some(asked) if !(asked.is_empty() && rc.api_version == 0) => asked
            .iter()
            .map(|asked| match find(asked, metadata) {
                Ok(topic) => answer(topic),
                Err(error) => unknown(asked, error, rc),
            })
            .collect(),
        _ => metadata.topics.values().map(|topic| answer(topic)).collect(),
    }
}

/// Finds a topic by name, or by id from [`TOPIC_IDS_FROM`] on.
fn find<'m>(
    asked: &MetadataRequestTopic<'_>,
    metadata: &'m Metadata,
) -> Result<&'m Topic, ErrorCode> {
    if let Some(name) = asked.name.as_deref() {
        if !crate::controller::topic_name::is_valid(name) {
            return Err(ErrorCode::InvalidTopicException);
        }
        let topic = metadata.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !asked.topic_id.is_zero() && asked.topic_id != topic.id {
            return Err(ErrorCode::InconsistentTopicId);
        }
        return Ok(topic);
    }
    let topic = metadata.topic_by_id(asked.topic_id);
    Ok(topic.ok_or(ErrorCode::UnknownTopicId)?)
}

fn unknown(
    asked: &MetadataRequestTopic<'_>,
    error: ErrorCode,
    rc: &RequestContext<'_>,
) -> MetadataResponseTopic<'static> {
    let name = asked.name.as_deref();
    // A version that knows no topic by id cannot say that it has no name.
    let told = name.or((rc.api_version < TOPIC_IDS_FROM).then_some(""));
    MetadataResponseTopic {
        error_code: error.code(),
        name: told.map(|name| Cow::Owned(name.to_owned())),
        topic_id: if name.is_some() { Uuid::ZERO } else { asked.topic_id },
        is_internal: name.is_some_and(is_internal),
        topic_authorized_operations: NOT_ASKED,
        ..Default::default()
    }
}

fn known(
    topic: &Topic,
    metadata: &Metadata,
    operations: i32,
    rc: &RequestContext<'_>,
) -> MetadataResponseTopic<'static> {
    let partitions = topic.partitions.iter().enumerate();
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(Cow::Owned(topic.name.to_string())),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.map(|(n, p)| partition(n as i32, p, metadata, rc)).collect(),
        topic_authorized_operations: operations,
    }
}

fn partition(
    index: i32,
    partition: &Partition,
    metadata: &Metadata,
    rc: &RequestContext<'_>,
) -> MetadataResponsePartition {
    let reachable = |id: &BrokerId| metadata.endpoint(*id, &rc.peer.listener).is_some();
    let names_listeners = rc.api_version >= LISTENER_NOT_FOUND_FROM;
    // The first clients look every replica up among the brokers, and fail if it is not there.
    let told = |ids: &[BrokerId]| -> Vec<i32> {
        let told = ids.iter().filter(|id| rc.api_version > 0 || reachable(id));
        told.map(|id| id.0).collect()
    };
    let (replica_nodes, isr_nodes) = (told(&partition.replicas), told(&partition.isr));
    let is_whole =
        replica_nodes.len() == partition.replicas.len() && isr_nodes.len() == partition.isr.len();
    let (error, leader) = match partition.leader {
        Some(leader) if reachable(&leader) && is_whole => (ErrorCode::None, leader),
        Some(leader) if reachable(&leader) => (ErrorCode::ReplicaNotAvailable, leader),
        Some(leader) if metadata.brokers.contains_key(&leader) && names_listeners => {
            (ErrorCode::ListenerNotFound, BrokerId(-1))
        }
        Some(_) | None => (ErrorCode::LeaderNotAvailable, BrokerId(-1)),
    };
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: index,
        leader_id: leader.0,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes,
        isr_nodes,
        offline_replicas: partition.offline.iter().map(|id| id.0).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use broker_protocol::quantity::LeaderEpoch;

    use super::super::Peer;
    use super::*;
    use crate::metadata::{Broker, Endpoint};

    const NONE: ErrorCode = ErrorCode::None;
    const NO_LEADER: ErrorCode = ErrorCode::LeaderNotAvailable;

    /// Brokers 1 and 2 can be reached, 3 lives and cannot, 4 does not live. A row is the version, the
    /// leader, the replicas, and what is told: the error, the leader and the replicas.
    ///
    /// Source: Kafka 3.9 `ZkMetadataCache.getPartitionMetadata`.
    #[test]
    fn the_first_clients_are_told_of_no_replica_that_they_cannot_look_up() {
        let cases: [(i16, i32, &[i32], ErrorCode, i32, &[i32]); 9] = [
            (0, 1, &[1, 2], NONE, 1, &[1, 2]),
            (0, 1, &[1, 4], ErrorCode::ReplicaNotAvailable, 1, &[1]),
            (0, 4, &[1, 4], NO_LEADER, -1, &[1]),
            (0, 3, &[3, 1], NO_LEADER, -1, &[1]),
            (1, 1, &[1, 4], NONE, 1, &[1, 4]),
            (1, 4, &[1, 4], NO_LEADER, -1, &[1, 4]),
            (5, 3, &[3], NO_LEADER, -1, &[3]),
            (6, 3, &[3], ErrorCode::ListenerNotFound, -1, &[3]),
            (6, 4, &[4], NO_LEADER, -1, &[4]),
        ];
        let mut metadata = Metadata::default();
        for (id, listener) in [(1, "IN"), (2, "IN"), (3, "OUT")] {
            let endpoint = Endpoint { listener: listener.into(), host: "h".into(), port: 1 };
            let broker = Broker { rack: None, endpoints: vec![endpoint] };
            metadata.brokers.insert(BrokerId(id), broker);
        }
        let peer = Peer { host: IpAddr::V4(Ipv4Addr::LOCALHOST), listener: "IN".into() };
        for (api_version, leader, replicas, error, told_leader, told) in cases {
            let rc = RequestContext { api_version, correlation_id: 1, client_id: "", peer: &peer };
            let replicas: Vec<_> = replicas.iter().copied().map(BrokerId).collect();
            let known = Partition {
                leader: Some(BrokerId(leader)),
                leader_epoch: LeaderEpoch(0),
                isr: replicas.clone(),
                replicas,
                offline: Vec::new(),
            };
            let answer = partition(0, &known, &metadata, &rc);
            let context = format!("version {api_version}, leader {leader}");
            assert_eq!(
                (answer.error_code, answer.leader_id),
                (error.code(), told_leader),
                "{context}"
            );
            assert_eq!(
                (&answer.replica_nodes[..], &answer.isr_nodes[..]),
                (told, told),
                "{context}"
            );
        }
    }
}
