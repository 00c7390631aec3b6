//! `FindCoordinator`: which broker serves a group or a transactional id.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    FindCoordinator;
    /// The keys to look up, one before version 4.
    pub struct FindCoordinatorRequest<'a> {
        key: Cow<'a, str>, 0..=3;
        /// 0: a group; 1: a transactional id; 2: a share group.
        key_type: i8, 1..;
        coordinator_keys: Vec<Cow<'a, str>>, 4..;
    }
}

message! {
    FindCoordinator;
    /// The brokers that serve them.
    pub struct FindCoordinatorResponse<'a> {
        throttle_time_ms: i32, 1..;
        error_code: i16, 0..=3;
        error_message: Option<Cow<'a, str>>, 1..=3;
        node_id: i32, 0..=3;
        host: Cow<'a, str>, 0..=3;
        port: i32, 0..=3;
        coordinators: Vec<Coordinator<'a>>, 4..;
    }

    /// An element of [`FindCoordinatorResponse::coordinators`].
    pub struct Coordinator<'a> {
        key: Cow<'a, str>, 4..;
        node_id: i32, 4..;
        host: Cow<'a, str>, 4..;
        port: i32, 4..;
        error_code: i16, 4..;
        error_message: Option<Cow<'a, str>>, 4..;
    }
}
