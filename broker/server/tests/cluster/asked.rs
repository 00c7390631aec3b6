//! What a broker asks of its controller over the wire, in every version: as one that is registered, of what it
//! leads, in its own epoch.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::allocate_producer_ids::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse,
};
use broker_protocol::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, BrokerState, PartitionData, TopicData,
};
use broker_protocol::message::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse,
};
use broker_protocol::message::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::partition_state::PartitionState;
use broker_zookeeper::path;

use super::nodes::Cluster;
use super::topic::{await_in_sync, create};

const KNOWS_EPOCHS: i16 = 3;

/// Returns a topic's id.
fn id_of(cluster: &Cluster, topic: &'static str) -> Uuid {
    let asked = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let answer = cluster.client(cluster.controller()).call(&request, 12);
    let response: MetadataResponse<'_> = answer.read(12);
    response.topics[0].topic_id
}

/// Proposes `isr` for `t-0` as its leader, knowing the newest state; a member has the epoch of its registration,
/// or one before that. Returns the code, and what the answer says is the ISR and the version of the node.
fn propose(
    cluster: &Cluster,
    version: i16,
    isr: &[i32],
    are_of_this_life: bool,
) -> (ErrorCode, Vec<i32>, i32) {
    let (data, stat) = cluster.get(&path::partition_state("t", 0));
    let state = PartitionState::decode("t", &data).unwrap();
    let epoch = |id| cluster.epoch(id) - i64::from(!are_of_this_life);
    let members = isr.iter().map(|id| BrokerState { broker_id: *id, broker_epoch: epoch(*id) });
    let partition = PartitionData {
        leader_epoch: state.leader_epoch,
        new_isr: isr.to_vec(),
        new_isr_with_epochs: members.collect(),
        partition_epoch: stat.version,
        ..Default::default()
    };
    let topic = TopicData {
        topic_name: "t".into(),
        topic_id: id_of(cluster, "t"),
        partitions: vec![partition],
    };
    let request = AlterPartitionRequest {
        broker_id: state.leader,
        broker_epoch: cluster.epoch(state.leader),
        topics: vec![topic],
    };
    let answer = cluster.client(cluster.controller()).call(&request, version);
    let response: AlterPartitionResponse<'_> = answer.read(version);
    assert_eq!(response.error_code, 0, "{version}: {response:?}");
    let one = &response.topics[0].partitions[0];
    (ErrorCode::from_code(one.error_code).unwrap(), one.isr.clone(), one.partition_epoch)
}

#[test]
fn a_leader_changes_its_isr_in_every_version() {
    let cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 1, &[]);
    let leader = await_in_sync(&cluster, "t", 0, 3);
    for (version, has_all) in [(0, false), (1, true), (2, false), (3, true)] {
        let isr = if has_all { vec![1, 2, 3] } else { vec![leader] };
        if version >= KNOWS_EPOCHS {
            let of_a_past_life = propose(&cluster, version, &isr, false).0;
            assert_eq!(of_a_past_life, ErrorCode::IneligibleReplica);
        }
        let (code, written, partition_epoch) = propose(&cluster, version, &isr, true);
        assert_eq!((code, &written), (ErrorCode::None, &isr), "{version}");
        let (data, stat) = cluster.get(&path::partition_state("t", 0));
        assert_eq!(stat.version, partition_epoch, "{version}");
        assert_eq!(PartitionState::decode("t", &data).unwrap().isr, isr, "{version}");
    }
}

#[test]
fn a_broker_is_given_blocks_of_producer_ids_one_after_the_other() {
    let cluster = Cluster::start(2, &[]);
    let controller = cluster.controller();
    let block = |broker_id| {
        let request =
            AllocateProducerIdsRequest { broker_id, broker_epoch: cluster.epoch(broker_id) };
        let answer = cluster.client(controller).call(&request, 0);
        let response: AllocateProducerIdsResponse = answer.read(0);
        assert_eq!(response.error_code, 0);
        (response.producer_id_start, i64::from(response.producer_id_len))
    };
    let (first, count) = block(1);
    assert!(count > 0);
    assert_eq!(block(2), (first + count, count));
}

/// Version 0 names no epoch, nor does 1: whoever asks is believed.
#[test]
fn a_broker_hands_over_what_it_leads_in_every_version() {
    for version in 0..=3 {
        let cluster = Cluster::start(3, &["auto.leader.rebalance.enable=false"]);
        create(&cluster, "t", 3, &[]);
        let broker_id = cluster.controller() % 3 + 1;
        let led = |partition| {
            let (data, _) = cluster.get(&path::partition_state("t", partition));
            PartitionState::decode("t", &data).unwrap().leader == broker_id
        };
        assert!((0..3).any(led), "{version}");
        let ask = |broker_epoch| {
            let request = ControlledShutdownRequest { broker_id, broker_epoch };
            let answer = cluster.client(cluster.controller()).call(&request, version);
            let response: ControlledShutdownResponse<'_> = answer.read(version);
            assert!(response.remaining_partitions.is_empty(), "{version}: {response:?}");
            ErrorCode::from_code(response.error_code).unwrap()
        };
        let epoch = cluster.epoch(broker_id);
        if version >= 2 {
            assert_eq!(ask(epoch - 1), ErrorCode::StaleBrokerEpoch, "{version}");
            assert!((0..3).any(led), "{version}");
        }
        assert_eq!(ask(epoch), ErrorCode::None, "{version}");
        assert!(!(0..3).any(led), "{version}");
    }
}
