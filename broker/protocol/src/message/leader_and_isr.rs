//! `LeaderAndIsr`: the controller tells a broker which partitions it leads, and whom it follows.
//!
//! Versions 0 and 1 name the topic in each partition, later ones group partitions by topic. Kafka
//! has one struct for both; here the state of a partition has no topic, as ten thousand of them
//! in one frame must be worth the memory they take.

use std::borrow::Cow;

use crate::message::table::message;
use crate::uuid::Uuid;

message! {
    LeaderAndIsr;
    /// Partitions whose state changed, or all of the broker's.
    pub struct LeaderAndIsrRequest<'a> {
        controller_id: i32, 0..;
        /// Of a cluster that moves to KRaft (KIP-866).
        is_kraft_controller: bool, 7..;
        controller_epoch: i32, 0..;
        /// -1: not known.
        broker_epoch: i64 = -1, 2..;
        /// Kafka's `Type`. 0: not known; 1: what changed; 2: all partitions of the broker.
        request_type: i8, 5..;
        ungrouped_partition_states: Vec<LeaderAndIsrUngroupedPartitionState<'a>>, 0..=1;
        topic_states: Vec<LeaderAndIsrTopicState<'a>>, 2..;
        live_leaders: Vec<LeaderAndIsrLiveLeader<'a>>, 0..;
    }

    /// An element of [`LeaderAndIsrRequest::ungrouped_partition_states`].
    pub struct LeaderAndIsrUngroupedPartitionState<'a> {
        topic_name: Cow<'a, str>, 0..=1;
        state: LeaderAndIsrPartitionState, 0..=1;
    }

    /// An element of [`LeaderAndIsrRequest::topic_states`].
    pub struct LeaderAndIsrTopicState<'a> {
        topic_name: Cow<'a, str>, 2..;
        topic_id: Uuid, 5..;
        partition_states: Vec<LeaderAndIsrPartitionState>, 2..;
    }

    /// An element of [`LeaderAndIsrTopicState::partition_states`].
    pub struct LeaderAndIsrPartitionState {
        partition_index: i32, 0..;
        /// The epoch of the controller that chose the leader.
        controller_epoch: i32, 0..;
        /// -1: none; -2: the topic is being deleted.
        leader: i32, 0..;
        leader_epoch: i32, 0..;
        isr: Vec<i32>, 0..;
        /// The version of the partition's node in ZooKeeper.
        partition_epoch: i32, 0..;
        replicas: Vec<i32>, 0..;
        adding_replicas: Vec<i32>, 3..;
        removing_replicas: Vec<i32>, 3..;
        /// Whether the replica has no log yet by right.
        is_new: bool, 1..;
        /// 1: recovering from an unclean election.
        leader_recovery_state: i8, 6..;
    }

    /// An element of [`LeaderAndIsrRequest::live_leaders`].
    pub struct LeaderAndIsrLiveLeader<'a> {
        broker_id: i32, 0..;
        host_name: Cow<'a, str>, 0..;
        port: i32, 0..;
    }
}

impl LeaderAndIsrRequest<'_> {
    /// Goes over the partitions, whichever way the version names them: topic, its id and the state.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, Uuid, &LeaderAndIsrPartitionState)> {
        let ungrouped = self.ungrouped_partition_states.iter();
        let ungrouped = ungrouped.map(|one| (&*one.topic_name, Uuid::ZERO, &one.state));
        let grouped = self.topic_states.iter().flat_map(|topic| {
            topic.partition_states.iter().map(|state| (&*topic.topic_name, topic.topic_id, state))
        });
        ungrouped.chain(grouped)
    }

    /// Names the partitions the way `version` does, given both of its ways to name them.
    #[must_use]
    pub fn for_version(mut self, version: i16) -> Self {
        if version < 2 {
            for topic in std::mem::take(&mut self.topic_states) {
                let name = topic.topic_name;
                self.ungrouped_partition_states.extend(topic.partition_states.into_iter().map(
                    |state| LeaderAndIsrUngroupedPartitionState { topic_name: name.clone(), state },
                ));
            }
        }
        self
    }
}

message! {
    LeaderAndIsr;
    /// What became of each partition.
    pub struct LeaderAndIsrResponse<'a> {
        error_code: i16, 0..;
        partition_errors: Vec<LeaderAndIsrPartitionError<'a>>, 0..=4;
        topics: Vec<LeaderAndIsrTopicError<'a>>, 5..;
    }

    /// An element of [`LeaderAndIsrResponse::topics`].
    pub struct LeaderAndIsrTopicError<'a> {
        topic_id: Uuid, 5..;
        partition_errors: Vec<LeaderAndIsrPartitionError<'a>>, 5..;
    }

    /// An element of [`LeaderAndIsrResponse::partition_errors`] or of a topic's.
    pub struct LeaderAndIsrPartitionError<'a> {
        topic_name: Cow<'a, str>, 0..=4;
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
