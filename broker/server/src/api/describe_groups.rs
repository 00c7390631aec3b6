//! DescribeGroups: state and members of groups.

use std::borrow::Cow;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use super::RequestContext;
use super::group_code::unexpected;
use crate::context::Context;
use crate::group::state::request::{DescribedMember, Description, Reply, Request};

/// From this version on a group that does not exist is an error; before, it is dead.
const NOT_FOUND_FROM: i16 = 6;

/// Read, delete and describe, as bits: all that may be done to a group when nothing is forbidden.
const ALL_GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8;

/// Answers at once.
pub(crate) async fn describe_groups(
    context: &Context,
    request: DescribeGroupsRequest<'_>,
    rc: &RequestContext<'_>,
) -> DescribeGroupsResponse<'static> {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in &request.groups {
        let reply = context.groups.ask(group_id, Request::Describe).await;
        let error_code = unexpected(&reply).code();
        let mut group = if let Reply::Description(description) = reply {
            description
                .map_or_else(|| not_found(group_id, rc.api_version), |found| describe(*found))
        } else {
            DescribedGroup { error_code, ..DescribedGroup::default() }
        };
        group.group_id = Cow::Owned(group_id.to_string());
        let is_wanted = request.include_authorized_operations && group.error_code == 0;
        group.authorized_operations = if is_wanted { ALL_GROUP_OPERATIONS } else { i32::MIN };
        groups.push(group);
    }
    DescribeGroupsResponse { groups, ..Default::default() }
}

fn not_found(group_id: &str, version: i16) -> DescribedGroup<'static> {
    let is_error = version >= NOT_FOUND_FROM;
    let error = if is_error { ErrorCode::GroupIdNotFound } else { ErrorCode::None };
    DescribedGroup {
        error_code: error.code(),
        error_message: is_error.then(|| Cow::Owned(format!("Group {group_id} not found."))),
        group_state: Cow::Borrowed("Dead"),
        ..DescribedGroup::default()
    }
}

fn describe(description: Description) -> DescribedGroup<'static> {
    DescribedGroup {
        group_state: Cow::Borrowed(description.state),
        protocol_type: Cow::Owned(description.protocol_type.to_string()),
        protocol_data: Cow::Owned(description.protocol_name.to_string()),
        members: description.members.into_iter().map(describe_member).collect(),
        ..DescribedGroup::default()
    }
}

fn describe_member(member: DescribedMember) -> DescribedGroupMember<'static> {
    DescribedGroupMember {
        member_id: Cow::Owned(member.member_id.to_string()),
        group_instance_id: member.group_instance_id.map(|id| Cow::Owned(id.to_string())),
        client_id: Cow::Owned(member.client_id.to_string()),
        client_host: Cow::Owned(member.client_host.to_string()),
        member_metadata: Cow::Owned(member.metadata.to_vec()),
        member_assignment: Cow::Owned(member.assignment.to_vec()),
    }
}
