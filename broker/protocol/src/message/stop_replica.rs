//! `StopReplica`: the controller tells a broker to give up replicas, and maybe to delete them.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    StopReplica;
    /// The replicas to stop. Each range of versions names them in a way of its own.
    pub struct StopReplicaRequest<'a> {
        controller_id: i32, 0..;
        /// Of a cluster that moves to KRaft (KIP-866).
        is_kraft_controller: bool, 4..;
        controller_epoch: i32, 0..;
        /// -1: not known.
        broker_epoch: i64 = -1, 1..;
        /// For all partitions alike; from version 3 on each says it for itself.
        delete_partitions: bool, 0..=2;
        ungrouped_partitions: Vec<StopReplicaPartitionV0<'a>>, 0..=0;
        topics: Vec<StopReplicaTopicV1<'a>>, 1..=2;
        topic_states: Vec<StopReplicaTopicState<'a>>, 3..;
    }

    /// An element of [`StopReplicaRequest::ungrouped_partitions`].
    pub struct StopReplicaPartitionV0<'a> {
        topic_name: Cow<'a, str>, 0..=0;
        partition_index: i32, 0..=0;
    }

    /// An element of [`StopReplicaRequest::topics`].
    pub struct StopReplicaTopicV1<'a> {
        name: Cow<'a, str>, 1..=2;
        partition_indexes: Vec<i32>, 1..=2;
    }

    /// An element of [`StopReplicaRequest::topic_states`].
    pub struct StopReplicaTopicState<'a> {
        topic_name: Cow<'a, str>, 3..;
        partition_states: Vec<StopReplicaPartitionState>, 3..;
    }

    /// An element of [`StopReplicaTopicState::partition_states`].
    pub struct StopReplicaPartitionState {
        partition_index: i32, 3..;
        /// -1: none was given; -2: the topic is being deleted, which overrides every epoch.
        leader_epoch: i32 = -1, 3..;
        delete_partition: bool, 3..;
    }
}

impl StopReplicaRequest<'_> {
    /// Goes over the partitions, whichever way the version names them.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, StopReplicaPartitionState)> {
        let of_all = |partition_index| StopReplicaPartitionState {
            partition_index,
            leader_epoch: -1,
            delete_partition: self.delete_partitions,
        };
        let first = self.ungrouped_partitions.iter();
        let first = first.map(move |one| (&*one.topic_name, of_all(one.partition_index)));
        let second = self.topics.iter().flat_map(move |topic| {
            topic.partition_indexes.iter().map(move |index| (&*topic.name, of_all(*index)))
        });
        let third = self.topic_states.iter().flat_map(|topic| {
            topic.partition_states.iter().map(|state| (&*topic.topic_name, state.clone()))
        });
        first.chain(second).chain(third)
    }

    /// Names the partitions the way `version` does, given version 3's way to name them.
    ///
    /// Below version 3 one request either deletes all its partitions or none: the first half is
    /// of those to be kept, the second of those to be deleted; a half may name no partition.
    #[must_use]
    pub fn for_version(self, version: i16) -> [Self; 2] {
        let mut requests = [false, true].map(|delete_partitions| Self {
            delete_partitions,
            topic_states: Vec::new(),
            ..self.clone()
        });
        if version >= 3 {
            let [first, second] = requests;
            return [Self { topic_states: self.topic_states, ..first }, second];
        }
        for topic in self.topic_states {
            for request in &mut requests {
                let states = topic.partition_states.iter();
                let states = states.filter(|one| one.delete_partition == request.delete_partitions);
                let indexes: Vec<i32> = states.map(|state| state.partition_index).collect();
                if version == 0 {
                    request.ungrouped_partitions.extend(indexes.iter().map(|index| {
                        StopReplicaPartitionV0 {
                            topic_name: topic.topic_name.clone(),
                            partition_index: *index,
                        }
                    }));
                } else if !indexes.is_empty() {
                    let name = topic.topic_name.clone();
                    request.topics.push(StopReplicaTopicV1 { name, partition_indexes: indexes });
                }
            }
        }
        requests
    }
}

message! {
    StopReplica;
    /// What became of each replica.
    pub struct StopReplicaResponse<'a> {
        error_code: i16, 0..;
        partition_errors: Vec<StopReplicaPartitionError<'a>>, 0..;
    }

    /// An element of [`StopReplicaResponse::partition_errors`].
    pub struct StopReplicaPartitionError<'a> {
        topic_name: Cow<'a, str>, 0..;
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
