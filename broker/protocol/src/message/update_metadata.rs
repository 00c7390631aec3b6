//! `UpdateMetadata`: the controller tells every broker what clients may ask it.
//!
//! Partitions that a request does not name stay as they are; the brokers it names are all that live.
//! As in `LeaderAndIsr`, the state of a partition has no topic: see there.

use std::borrow::Cow;

use crate::message::table::message;
use crate::uuid::Uuid;

message! {
    UpdateMetadata;
    /// Partitions that changed, and every live broker.
    pub struct UpdateMetadataRequest<'a> {
        controller_id: i32, 0..;
        /// Of a cluster that moves to KRaft (KIP-866).
        is_kraft_controller: bool, 8..;
        controller_epoch: i32, 0..;
        /// -1: not known.
        broker_epoch: i64 = -1, 5..;
        ungrouped_partition_states: Vec<UpdateMetadataUngroupedPartitionState<'a>>, 0..=4;
        topic_states: Vec<UpdateMetadataTopicState<'a>>, 5..;
        live_brokers: Vec<UpdateMetadataBroker<'a>>, 0..;
        /// Kafka's `Type`. 0: not known; 1: what changed; 2: all there is.
        request_type: i8, 8.., tag 0;
    }

    /// An element of [`UpdateMetadataRequest::ungrouped_partition_states`].
    pub struct UpdateMetadataUngroupedPartitionState<'a> {
        topic_name: Cow<'a, str>, 0..=4;
        state: UpdateMetadataPartitionState, 0..=4;
    }

    /// An element of [`UpdateMetadataRequest::topic_states`].
    pub struct UpdateMetadataTopicState<'a> {
        topic_name: Cow<'a, str>, 5..;
        topic_id: Uuid, 7..;
        partition_states: Vec<UpdateMetadataPartitionState>, 5..;
    }

    /// An element of [`UpdateMetadataTopicState::partition_states`].
    pub struct UpdateMetadataPartitionState {
        partition_index: i32, 0..;
        /// The epoch of the controller that chose the leader.
        controller_epoch: i32, 0..;
        /// -1: none; -2: the partition is to be forgotten.
        leader: i32, 0..;
        leader_epoch: i32, 0..;
        isr: Vec<i32>, 0..;
        /// The version of the partition's node in ZooKeeper.
        zk_version: i32, 0..;
        replicas: Vec<i32>, 0..;
        offline_replicas: Vec<i32>, 4..;
    }

    /// An element of [`UpdateMetadataRequest::live_brokers`].
    pub struct UpdateMetadataBroker<'a> {
        id: i32, 0..;
        v0_host: Cow<'a, str>, 0..=0;
        v0_port: i32, 0..=0;
        endpoints: Vec<UpdateMetadataEndpoint<'a>>, 1..;
        rack: Option<Cow<'a, str>>, 2..;
    }

    /// An element of [`UpdateMetadataBroker::endpoints`].
    pub struct UpdateMetadataEndpoint<'a> {
        port: i32, 1..;
        host: Cow<'a, str>, 1..;
        listener: Cow<'a, str>, 3..;
        /// 0: `PLAINTEXT`.
        security_protocol: i16, 1..;
    }
}

impl UpdateMetadataRequest<'_> {
    /// Goes over the partitions, whichever way the version names them: topic, its id and the state.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, Uuid, &UpdateMetadataPartitionState)> {
        let ungrouped = self.ungrouped_partition_states.iter();
        let ungrouped = ungrouped.map(|one| (&*one.topic_name, Uuid::ZERO, &one.state));
        let grouped = self.topic_states.iter().flat_map(|topic| {
            topic.partition_states.iter().map(|state| (&*topic.topic_name, topic.topic_id, state))
        });
        ungrouped.chain(grouped)
    }

    /// Names partitions and brokers the way `version` does, given the ways of the newest.
    ///
    /// Version 0 has one endpoint a broker: the first that is `PLAINTEXT`; a broker without one is
    /// left out, as its readers could not reach it.
    #[must_use]
    pub fn for_version(mut self, version: i16) -> Self {
        if version < 5 {
            for topic in std::mem::take(&mut self.topic_states) {
                let name = topic.topic_name;
                self.ungrouped_partition_states.extend(topic.partition_states.into_iter().map(
                    |state| UpdateMetadataUngroupedPartitionState {
                        topic_name: name.clone(),
                        state,
                    },
                ));
            }
        }
        if version == 0 {
            self.live_brokers.retain_mut(|broker| {
                let plain = broker.endpoints.iter().find(|one| one.security_protocol == 0);
                let Some(plain) = plain else { return false };
                (broker.v0_host, broker.v0_port) = (plain.host.clone(), plain.port);
                true
            });
        }
        self
    }
}

message! {
    UpdateMetadata;
    /// Whether it was taken.
    pub struct UpdateMetadataResponse {
        error_code: i16, 0..;
    }
}
