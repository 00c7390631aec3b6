//! `ControlledShutdown`: a broker asks the controller to move its leaders away before it stops.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    ControlledShutdown;
    /// The broker that wants to stop.
    pub struct ControlledShutdownRequest {
        broker_id: i32, 0..;
        /// -1: not known.
        broker_epoch: i64 = -1, 2..;
    }
}

message! {
    ControlledShutdown;
    /// What it still leads.
    pub struct ControlledShutdownResponse<'a> {
        error_code: i16, 0..;
        remaining_partitions: Vec<RemainingPartition<'a>>, 0..;
    }

    /// An element of [`ControlledShutdownResponse::remaining_partitions`].
    pub struct RemainingPartition<'a> {
        topic_name: Cow<'a, str>, 0..;
        partition_index: i32, 0..;
    }
}
