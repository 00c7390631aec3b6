//! `AlterReplicaLogDirs`: moves replicas of a broker from one of its log directories to another.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    AlterReplicaLogDirs;
    /// What to move where.
    pub struct AlterReplicaLogDirsRequest<'a> {
        dirs: Vec<AlterReplicaLogDir<'a>>, 0..;
    }

    /// An element of [`AlterReplicaLogDirsRequest::dirs`].
    pub struct AlterReplicaLogDir<'a> {
        path: Cow<'a, str>, 0..;
        topics: Vec<AlterReplicaLogDirTopic<'a>>, 0..;
    }

    /// An element of [`AlterReplicaLogDir::topics`].
    pub struct AlterReplicaLogDirTopic<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    AlterReplicaLogDirs;
    /// Whether each move has begun.
    pub struct AlterReplicaLogDirsResponse<'a> {
        throttle_time_ms: i32, 0..;
        results: Vec<AlterReplicaLogDirTopicResult<'a>>, 0..;
    }

    /// An element of [`AlterReplicaLogDirsResponse::results`].
    pub struct AlterReplicaLogDirTopicResult<'a> {
        topic_name: Cow<'a, str>, 0..;
        partitions: Vec<AlterReplicaLogDirPartitionResult>, 0..;
    }

    /// An element of [`AlterReplicaLogDirTopicResult::partitions`].
    pub struct AlterReplicaLogDirPartitionResult {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
