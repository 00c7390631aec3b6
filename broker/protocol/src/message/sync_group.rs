//! `SyncGroup`: assignments, from the leader of a generation to its members.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    SyncGroup;
    /// The assignments, from the leader; none from the others.
    pub struct SyncGroupRequest<'a> {
        group_id: Cow<'a, str>, 0..;
        generation_id: i32, 0..;
        member_id: Cow<'a, str>, 0..;
        group_instance_id: Option<Cow<'a, str>>, 3..;
        protocol_type: Option<Cow<'a, str>>, 5..;
        protocol_name: Option<Cow<'a, str>>, 5..;
        assignments: Vec<SyncGroupRequestAssignment<'a>>, 0..;
    }

    /// An element of [`SyncGroupRequest::assignments`].
    pub struct SyncGroupRequestAssignment<'a> {
        member_id: Cow<'a, str>, 0..;
        assignment: Cow<'a, [u8]>, 0..;
    }
}

message! {
    SyncGroup;
    /// The assignment of the member that asked.
    pub struct SyncGroupResponse<'a> {
        throttle_time_ms: i32, 1..;
        error_code: i16, 0..;
        protocol_type: Option<Cow<'a, str>>, 5..;
        protocol_name: Option<Cow<'a, str>>, 5..;
        assignment: Cow<'a, [u8]>, 0..;
    }
}
