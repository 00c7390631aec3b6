//! Letters as requests of the wire, and answers as events. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::leader_and_isr::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrResponse,
    LeaderAndIsrTopicState,
};
use broker_protocol::message::stop_replica::{
    StopReplicaPartitionState, StopReplicaRequest, StopReplicaResponse, StopReplicaTopicState,
};
use broker_protocol::message::update_metadata::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState,
    UpdateMetadataRequest, UpdateMetadataTopicState,
};
use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;

use crate::controller::outbox::{Brokers, Stop};
use crate::controller::state::effect::View;
use crate::controller::state::event::{Answer, Outcome};

/// The leader of a partition that is going (`LeaderAndIsr.LeaderDuringDelete`).
const LEADER_DURING_DELETE: i32 = -2;

/// `AbstractControlRequest.Type`: all topics, or all replicas of the broker; what it has besides is put
/// aside. Kafka's brokers heed the type from KRaft controllers only.
const WHOLE: i8 = 2;

/// Not all topics that there may be.
const PART: i8 = 1;

/// Who writes, to which life of the broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    /// The controller.
    pub(super) controller: BrokerId,
    /// Its epoch.
    pub(super) controller_epoch: i32,
    /// The epoch of the broker that is written to.
    pub(super) broker_epoch: i64,
}

/// Says a LeaderAndIsr, with the endpoints of the leaders that it names.
pub(super) fn lead(
    envelope: Envelope,
    is_all: bool,
    partitions: &[(Arc<View>, bool)],
    brokers: &Brokers,
    listener: &str,
) -> LeaderAndIsrRequest<'static> {
    let topics = by_topic(partitions).map(|of_topic| LeaderAndIsrTopicState {
        topic_name: of_topic[0].0.partition.topic.to_string().into(),
        topic_id: of_topic[0].0.topic_id,
        partition_states: of_topic.iter().map(|(view, is_new)| state(view, *is_new)).collect(),
    });
    let mut leaders: Vec<_> = partitions.iter().filter_map(|(view, _)| view.leader).collect();
    leaders.sort_unstable();
    leaders.dedup();
    let leaders = leaders.into_iter().filter_map(|id| {
        let endpoint = brokers.get(&id)?.endpoints.iter().find(|e| *e.listener == *listener)?;
        Some(LeaderAndIsrLiveLeader {
            broker_id: id.0,
            host_name: endpoint.host.to_string().into(),
            port: i32::from(endpoint.port),
        })
    });
    LeaderAndIsrRequest {
        controller_id: envelope.controller.0,
        controller_epoch: envelope.controller_epoch,
        broker_epoch: envelope.broker_epoch,
        request_type: if is_all { WHOLE } else { 0 },
        topic_states: topics.collect(),
        live_leaders: leaders.collect(),
        ..Default::default()
    }
}

fn state(view: &View, is_new: bool) -> LeaderAndIsrPartitionState {
    LeaderAndIsrPartitionState {
        partition_index: view.partition.partition,
        controller_epoch: view.controller_epoch,
        leader: view.leader.map_or(-1, |id| id.0),
        leader_epoch: view.leader_epoch.0,
        isr: numbers(&view.isr),
        partition_epoch: view.partition_epoch,
        replicas: numbers(&view.assignment.replicas),
        adding_replicas: numbers(&view.assignment.adding),
        removing_replicas: numbers(&view.assignment.removing),
        is_new,
        leader_recovery_state: i8::from(view.recovering),
    }
}

/// Says an UpdateMetadata.
pub(super) fn announce(
    envelope: Envelope,
    is_all: bool,
    partitions: &[(Arc<View>, bool)],
    brokers: &Brokers,
) -> UpdateMetadataRequest<'static> {
    let topics = by_topic(partitions).map(|of_topic| UpdateMetadataTopicState {
        topic_name: of_topic[0].0.partition.topic.to_string().into(),
        topic_id: of_topic[0].0.topic_id,
        partition_states: of_topic.iter().map(|(view, forget)| known(view, *forget)).collect(),
    });
    let live = brokers.iter().map(|(id, broker)| UpdateMetadataBroker {
        id: id.0,
        endpoints: broker
            .endpoints
            .iter()
            .map(|endpoint| UpdateMetadataEndpoint {
                port: i32::from(endpoint.port),
                host: endpoint.host.to_string().into(),
                listener: endpoint.listener.to_string().into(),
                security_protocol: endpoint.security_protocol,
            })
            .collect(),
        rack: broker.rack.as_ref().map(|rack| rack.to_string().into()),
        ..Default::default()
    });
    UpdateMetadataRequest {
        controller_id: envelope.controller.0,
        controller_epoch: envelope.controller_epoch,
        broker_epoch: envelope.broker_epoch,
        topic_states: topics.collect(),
        live_brokers: live.collect(),
        request_type: if is_all { WHOLE } else { PART },
        ..Default::default()
    }
}

fn known(view: &View, forget: bool) -> UpdateMetadataPartitionState {
    let leader = view.leader.map_or(-1, |id| id.0);
    UpdateMetadataPartitionState {
        partition_index: view.partition.partition,
        controller_epoch: view.controller_epoch,
        leader: if forget { LEADER_DURING_DELETE } else { leader },
        leader_epoch: view.leader_epoch.0,
        isr: numbers(&view.isr),
        zk_version: view.partition_epoch,
        replicas: numbers(&view.assignment.replicas),
        offline_replicas: numbers(&view.offline),
    }
}

/// Says a StopReplica.
pub(super) fn stop(envelope: Envelope, stops: &[Stop]) -> StopReplicaRequest<'static> {
    let topics = stops.chunk_by(|a, b| a.partition.topic == b.partition.topic);
    let topics = topics.map(|of_topic| StopReplicaTopicState {
        topic_name: of_topic[0].partition.topic.to_string().into(),
        partition_states: of_topic
            .iter()
            .map(|stop| StopReplicaPartitionState {
                partition_index: stop.partition.partition,
                leader_epoch: stop.leader_epoch.0,
                delete_partition: stop.delete,
            })
            .collect(),
    });
    StopReplicaRequest {
        controller_id: envelope.controller.0,
        controller_epoch: envelope.controller_epoch,
        broker_epoch: envelope.broker_epoch,
        topic_states: topics.collect(),
        ..Default::default()
    }
}

/// Reads what became of the partitions of a LeaderAndIsr. One that the answer does not name shares
/// the code of the whole.
pub(super) fn led(partitions: &[(Arc<View>, bool)], response: &LeaderAndIsrResponse<'_>) -> Answer {
    let mut by_id: BTreeMap<(Uuid, i32), ErrorCode> = BTreeMap::new();
    for topic in &response.topics {
        for one in &topic.partition_errors {
            by_id.insert((topic.topic_id, one.partition_index), code(one.error_code));
        }
    }
    let mut by_name: BTreeMap<(&str, i32), ErrorCode> = BTreeMap::new();
    for one in &response.partition_errors {
        by_name.insert((&one.topic_name, one.partition_index), code(one.error_code));
    }
    let whole = code(response.error_code);
    let outcomes = partitions.iter().map(|(view, _)| {
        let (topic, number) = (&*view.partition.topic, view.partition.partition);
        let found = by_id.get(&(view.topic_id, number)).or_else(|| by_name.get(&(topic, number)));
        Outcome {
            partition: view.partition.clone(),
            topic_id: view.topic_id,
            error: found.copied().unwrap_or(whole),
        }
    });
    Answer::Led(outcomes.collect())
}

/// Reads what became of stopped replicas: of those to be deleted, and of the others.
pub(super) fn stopped(stops: &[Stop], response: &StopReplicaResponse<'_>) -> Vec<Answer> {
    let mut codes: BTreeMap<(&str, i32), ErrorCode> = BTreeMap::new();
    for one in &response.partition_errors {
        codes.insert((&one.topic_name, one.partition_index), code(one.error_code));
    }
    let whole = code(response.error_code);
    let answer = |delete: bool| {
        let of_kind = stops.iter().filter(|stop| stop.delete == delete);
        let outcomes: Vec<_> = of_kind
            .map(|stop| Outcome {
                partition: stop.partition.clone(),
                topic_id: stop.topic_id,
                error: codes
                    .get(&(&*stop.partition.topic, stop.partition.partition))
                    .copied()
                    .unwrap_or(whole),
            })
            .collect();
        (!outcomes.is_empty()).then_some(Answer::Stopped { outcomes, delete })
    };
    [false, true].into_iter().filter_map(answer).collect()
}

fn by_topic(partitions: &[(Arc<View>, bool)]) -> impl Iterator<Item = &[(Arc<View>, bool)]> {
    partitions.chunk_by(|(a, _), (b, _)| {
        a.topic_id == b.topic_id && a.partition.topic == b.partition.topic
    })
}

fn numbers(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)
}
