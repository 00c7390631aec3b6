//! `ListGroups`: the groups that a broker coordinates.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    ListGroups;
    /// Which groups to list.
    pub struct ListGroupsRequest<'a> {
        states_filter: Vec<Cow<'a, str>>, 4..;
        types_filter: Vec<Cow<'a, str>>, 5..;
    }
}

message! {
    ListGroups;
    /// The groups.
    pub struct ListGroupsResponse<'a> {
        throttle_time_ms: i32, 1..;
        error_code: i16, 0..;
        groups: Vec<ListedGroup<'a>>, 0..;
    }

    /// An element of [`ListGroupsResponse::groups`].
    pub struct ListedGroup<'a> {
        group_id: Cow<'a, str>, 0..;
        protocol_type: Cow<'a, str>, 0..;
        group_state: Cow<'a, str>, 4..;
        group_type: Cow<'a, str>, 5..;
    }
}
