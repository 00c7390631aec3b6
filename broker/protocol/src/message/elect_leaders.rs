//! `ElectLeaders`: an operator has leaders elected, preferred ones or any that lives (KIP-460).

use std::borrow::Cow;

use crate::message::table::message;

message! {
    ElectLeaders;
    /// The partitions, and the kind of election.
    pub struct ElectLeadersRequest<'a> {
        /// 0: the first replica, if it is in sync; 1: any live one where none in sync lives.
        election_type: i8, 1..;
        /// All partitions if null.
        topic_partitions: Option<Vec<TopicPartitions<'a>>>, 0..;
        timeout_ms: i32 = 60_000, 0..;
    }

    /// An element of [`ElectLeadersRequest::topic_partitions`].
    pub struct TopicPartitions<'a> {
        topic: Cow<'a, str>, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    ElectLeaders;
    /// What became of each.
    pub struct ElectLeadersResponse<'a> {
        throttle_time_ms: i32, 0..;
        error_code: i16, 1..;
        replica_election_results: Vec<ReplicaElectionResult<'a>>, 0..;
    }

    /// An element of [`ElectLeadersResponse::replica_election_results`].
    pub struct ReplicaElectionResult<'a> {
        topic: Cow<'a, str>, 0..;
        partition_result: Vec<PartitionResult<'a>>, 0..;
    }

    /// An element of [`ReplicaElectionResult::partition_result`].
    pub struct PartitionResult<'a> {
        partition_id: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
    }
}
