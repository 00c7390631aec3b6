//! `DeleteGroups`: deletion of empty groups.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    DeleteGroups;
    /// The groups to delete.
    pub struct DeleteGroupsRequest<'a> {
        groups_names: Vec<Cow<'a, str>>, 0..;
    }
}

message! {
    DeleteGroups;
    /// What became of each group.
    pub struct DeleteGroupsResponse<'a> {
        throttle_time_ms: i32, 0..;
        results: Vec<DeletableGroupResult<'a>>, 0..;
    }

    /// An element of [`DeleteGroupsResponse::results`].
    pub struct DeletableGroupResult<'a> {
        group_id: Cow<'a, str>, 0..;
        error_code: i16, 0..;
    }
}
