//! `DescribeLogDirs`: what lies in the log directories of a broker.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    DescribeLogDirs;
    /// The partitions to look for.
    pub struct DescribeLogDirsRequest<'a> {
        /// All topics if null.
        topics: Option<Vec<DescribableLogDirTopic<'a>>>, 0..;
    }

    /// An element of [`DescribeLogDirsRequest::topics`].
    pub struct DescribableLogDirTopic<'a> {
        topic: Cow<'a, str>, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    DescribeLogDirs;
    /// The directories and what is in them.
    pub struct DescribeLogDirsResponse<'a> {
        throttle_time_ms: i32, 0..;
        error_code: i16, 3..;
        results: Vec<DescribeLogDirsResult<'a>>, 0..;
    }

    /// An element of [`DescribeLogDirsResponse::results`].
    pub struct DescribeLogDirsResult<'a> {
        error_code: i16, 0..;
        log_dir: Cow<'a, str>, 0..;
        topics: Vec<DescribeLogDirsTopic<'a>>, 0..;
        total_bytes: i64 = -1, 4..;
        usable_bytes: i64 = -1, 4..;
    }

    /// An element of [`DescribeLogDirsResult::topics`].
    pub struct DescribeLogDirsTopic<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<DescribeLogDirsPartition>, 0..;
    }

    /// An element of [`DescribeLogDirsTopic::partitions`].
    pub struct DescribeLogDirsPartition {
        partition_index: i32, 0..;
        partition_size: i64, 0..;
        offset_lag: i64, 0..;
        is_future_key: bool, 0..;
    }
}
