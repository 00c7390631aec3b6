//! What to ask in a controller's name, and in another broker's.
//!
//! The broker under test is its own controller, of the first epoch; orders of an epoch before that
//! are refused as a whole and for each partition.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::allocate_producer_ids::AllocateProducerIdsRequest;
use broker_protocol::message::alter_partition::{AlterPartitionRequest, TopicData};
use broker_protocol::message::controlled_shutdown::ControlledShutdownRequest;
use broker_protocol::message::leader_and_isr::{
    LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrTopicState,
};
use broker_protocol::message::stop_replica::{
    StopReplicaPartitionState, StopReplicaRequest, StopReplicaTopicState,
};
use broker_protocol::message::update_metadata::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataRequest,
};

use super::{Cases, MISSING, OK, TOPIC, World};

const STALE: ErrorCode = ErrorCode::StaleControllerEpoch;

/// The epoch of the only controller there ever was.
const CONTROLLER_EPOCH: i32 = 1;

/// No broker of the cluster.
const NO_BROKER: i32 = 99;

pub(crate) fn leader_and_isr(
    world: &mut World,
    version: i16,
) -> Cases<LeaderAndIsrRequest<'static>> {
    let state = LeaderAndIsrPartitionState {
        isr: vec![0],
        replicas: vec![0],
        controller_epoch: CONTROLLER_EPOCH,
        ..Default::default()
    };
    let topic = LeaderAndIsrTopicState {
        topic_name: TOPIC.into(),
        topic_id: world.id,
        partition_states: vec![state],
    };
    let ordered = |controller_epoch, leader_epoch| {
        let mut topic = topic.clone();
        topic.partition_states[0].leader_epoch = leader_epoch;
        let request = LeaderAndIsrRequest {
            controller_epoch,
            topic_states: vec![topic],
            ..Default::default()
        };
        request.for_version(version)
    };
    let next = 1 + i32::from(version);
    vec![
        (ordered(CONTROLLER_EPOCH - 1, next), vec![STALE, STALE]),
        // The partition is led in that epoch already.
        (ordered(CONTROLLER_EPOCH, next - 1), vec![OK, STALE]),
        (ordered(CONTROLLER_EPOCH, next), vec![OK, OK]),
    ]
}

pub(crate) fn stop_replica(_: &mut World, version: i16) -> Cases<StopReplicaRequest<'static>> {
    let ordered = |controller_epoch, name: &'static str| {
        let topic = StopReplicaTopicState {
            topic_name: name.into(),
            partition_states: vec![StopReplicaPartitionState::default()],
        };
        let request = StopReplicaRequest {
            controller_epoch,
            topic_states: vec![topic],
            ..Default::default()
        };
        let [kept, _] = request.for_version(version);
        kept
    };
    // What is not there is stopped already.
    vec![
        (ordered(CONTROLLER_EPOCH - 1, TOPIC), vec![STALE, STALE]),
        (ordered(CONTROLLER_EPOCH, MISSING), vec![OK, OK]),
    ]
}

pub(crate) fn update_metadata(
    world: &mut World,
    version: i16,
) -> Cases<UpdateMetadataRequest<'static>> {
    let endpoint = UpdateMetadataEndpoint {
        host: world.address.ip().to_string().into(),
        port: i32::from(world.address.port()),
        listener: "PLAINTEXT".into(),
        security_protocol: 0,
    };
    let broker = UpdateMetadataBroker { endpoints: vec![endpoint], ..Default::default() };
    let ordered = |controller_epoch| {
        let request = UpdateMetadataRequest {
            controller_epoch,
            live_brokers: vec![broker.clone()],
            ..Default::default()
        };
        request.for_version(version)
    };
    vec![
        (ordered(CONTROLLER_EPOCH - 1), vec![STALE]),
        // Nothing but what is known.
        (ordered(CONTROLLER_EPOCH), vec![OK]),
    ]
}

pub(crate) fn controlled_shutdown(_: &mut World, _: i16) -> Cases<ControlledShutdownRequest> {
    let request = ControlledShutdownRequest { broker_id: NO_BROKER, ..Default::default() };
    vec![(request, vec![ErrorCode::BrokerNotAvailable])]
}

pub(crate) fn alter_partition(world: &mut World, _: i16) -> Cases<AlterPartitionRequest<'static>> {
    let topic = TopicData { topic_name: TOPIC.into(), topic_id: world.id, ..Default::default() };
    // The epoch of the broker's registration must be right: it is not told here.
    let request = AlterPartitionRequest { topics: vec![topic], ..Default::default() };
    vec![(request, vec![ErrorCode::StaleBrokerEpoch])]
}

pub(crate) fn allocate_producer_ids(_: &mut World, _: i16) -> Cases<AllocateProducerIdsRequest> {
    let of = |broker_id| AllocateProducerIdsRequest { broker_id, ..Default::default() };
    vec![
        (of(0), vec![ErrorCode::StaleBrokerEpoch]),
        (of(NO_BROKER), vec![ErrorCode::BrokerIdNotRegistered]),
    ]
}
