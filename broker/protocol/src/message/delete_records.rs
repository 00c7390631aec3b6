//! `DeleteRecords`: deletion of records from the start of logs.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    DeleteRecords;
    /// The offsets below which to delete.
    pub struct DeleteRecordsRequest<'a> {
        topics: Vec<DeleteRecordsTopic<'a>>, 0..;
        timeout_ms: i32, 0..;
    }

    /// An element of [`DeleteRecordsRequest::topics`].
    pub struct DeleteRecordsTopic<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<DeleteRecordsPartition>, 0..;
    }

    /// An element of [`DeleteRecordsTopic::partitions`].
    pub struct DeleteRecordsPartition {
        partition_index: i32, 0..;
        /// Records below it go; -1: all below the high watermark.
        offset: i64, 0..;
    }
}

message! {
    DeleteRecords;
    /// The log start offsets after it.
    pub struct DeleteRecordsResponse<'a> {
        throttle_time_ms: i32, 0..;
        topics: Vec<DeleteRecordsTopicResult<'a>>, 0..;
    }

    /// An element of [`DeleteRecordsResponse::topics`].
    pub struct DeleteRecordsTopicResult<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<DeleteRecordsPartitionResult>, 0..;
    }

    /// An element of [`DeleteRecordsTopicResult::partitions`].
    pub struct DeleteRecordsPartitionResult {
        partition_index: i32, 0..;
        low_watermark: i64, 0..;
        error_code: i16, 0..;
    }
}
