//! `DescribeGroups`: state and members of groups.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    DescribeGroups;
    /// The groups to describe.
    pub struct DescribeGroupsRequest<'a> {
        groups: Vec<Cow<'a, str>>, 0..;
        include_authorized_operations: bool, 3..;
    }
}

message! {
    DescribeGroups;
    /// Their state and members.
    pub struct DescribeGroupsResponse<'a> {
        throttle_time_ms: i32, 1..;
        groups: Vec<DescribedGroup<'a>>, 0..;
    }

    /// An element of [`DescribeGroupsResponse::groups`].
    pub struct DescribedGroup<'a> {
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 6..;
        group_id: Cow<'a, str>, 0..;
        group_state: Cow<'a, str>, 0..;
        protocol_type: Cow<'a, str>, 0..;
        protocol_data: Cow<'a, str>, 0..;
        members: Vec<DescribedGroupMember<'a>>, 0..;
        authorized_operations: i32 = i32::MIN, 3..;
    }

    /// An element of [`DescribedGroup::members`].
    pub struct DescribedGroupMember<'a> {
        member_id: Cow<'a, str>, 0..;
        group_instance_id: Option<Cow<'a, str>>, 4..;
        client_id: Cow<'a, str>, 0..;
        client_host: Cow<'a, str>, 0..;
        member_metadata: Cow<'a, [u8]>, 0..;
        member_assignment: Cow<'a, [u8]>, 0..;
    }
}
