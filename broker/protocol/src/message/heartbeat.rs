//! `Heartbeat`: the sign of life of a group member.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    Heartbeat;
    /// A member that is alive.
    pub struct HeartbeatRequest<'a> {
        group_id: Cow<'a, str>, 0..;
        generation_id: i32, 0..;
        member_id: Cow<'a, str>, 0..;
        group_instance_id: Option<Cow<'a, str>>, 3..;
    }
}

message! {
    Heartbeat;
    /// Whether it must rejoin.
    pub struct HeartbeatResponse {
        throttle_time_ms: i32, 1..;
        error_code: i16, 0..;
    }
}
