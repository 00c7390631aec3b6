//! `AlterPartition`: a leader asks the controller for another set of replicas in sync (KIP-497).

use std::borrow::Cow;

use crate::message::table::message;
use crate::uuid::Uuid;

message! {
    AlterPartition;
    /// The sets that the leader proposes.
    pub struct AlterPartitionRequest<'a> {
        broker_id: i32, 0..;
        broker_epoch: i64 = -1, 0..;
        topics: Vec<TopicData<'a>>, 0..;
    }

    /// An element of [`AlterPartitionRequest::topics`].
    pub struct TopicData<'a> {
        topic_name: Cow<'a, str>, 0..=1;
        topic_id: Uuid, 2..;
        partitions: Vec<PartitionData>, 0..;
    }

    /// An element of [`TopicData::partitions`].
    pub struct PartitionData {
        partition_index: i32, 0..;
        leader_epoch: i32, 0..;
        new_isr: Vec<i32>, 0..=2;
        new_isr_with_epochs: Vec<BrokerState>, 3..;
        /// 1: recovering from an unclean election.
        leader_recovery_state: i8, 1..;
        /// What the proposal replaces; in ZooKeeper the version of the partition's node.
        partition_epoch: i32, 0..;
    }

    /// An element of [`PartitionData::new_isr_with_epochs`].
    pub struct BrokerState {
        broker_id: i32, 3..;
        /// -1: not to be checked.
        broker_epoch: i64 = -1, 3..;
    }
}

message! {
    AlterPartition;
    /// What became of them.
    pub struct AlterPartitionResponse<'a> {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        topics: Vec<AlteredTopic<'a>>, 0..;
    }

    /// An element of [`AlterPartitionResponse::topics`]; Kafka's `TopicData`.
    pub struct AlteredTopic<'a> {
        topic_name: Cow<'a, str>, 0..=1;
        topic_id: Uuid, 2..;
        partitions: Vec<AlteredPartition>, 0..;
    }

    /// An element of [`AlteredTopic::partitions`]; Kafka's `PartitionData`.
    pub struct AlteredPartition {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        leader_id: i32, 0..;
        leader_epoch: i32, 0..;
        isr: Vec<i32>, 0..;
        /// 1: recovering from an unclean election.
        leader_recovery_state: i8, 1..;
        partition_epoch: i32, 0..;
    }
}
