//! `LeaveGroup`: departure of members from a group.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    LeaveGroup;
    /// The members that leave, one before version 3.
    pub struct LeaveGroupRequest<'a> {
        group_id: Cow<'a, str>, 0..;
        member_id: Cow<'a, str>, 0..=2;
        members: Vec<MemberIdentity<'a>>, 3..;
    }

    /// An element of [`LeaveGroupRequest::members`].
    pub struct MemberIdentity<'a> {
        member_id: Cow<'a, str>, 3..;
        group_instance_id: Option<Cow<'a, str>>, 3..;
        reason: Option<Cow<'a, str>>, 5..;
    }
}

message! {
    LeaveGroup;
    /// What became of each.
    pub struct LeaveGroupResponse<'a> {
        throttle_time_ms: i32, 1..;
        error_code: i16, 0..;
        members: Vec<MemberResponse<'a>>, 3..;
    }

    /// An element of [`LeaveGroupResponse::members`].
    pub struct MemberResponse<'a> {
        member_id: Cow<'a, str>, 3..;
        group_instance_id: Option<Cow<'a, str>>, 3..;
        error_code: i16, 3..;
    }
}
