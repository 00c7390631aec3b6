//! DeleteGroups: forgets groups without members, with their offsets.

use std::borrow::Cow;

use broker_protocol::message::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use super::RequestContext;
use super::group_code::unexpected;
use crate::context::Context;
use crate::group::state::request::{Reply, Request};

/// Answers once the deletions are written down.
pub(crate) async fn delete_groups(
    context: &Context,
    request: DeleteGroupsRequest<'_>,
    _: &RequestContext<'_>,
) -> DeleteGroupsResponse<'static> {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in &request.groups_names {
        let reply = context.groups.ask(group_id, Request::Delete).await;
        let error = if let Reply::Code(error) = reply { error } else { unexpected(&reply) };
        results.push(DeletableGroupResult {
            group_id: Cow::Owned(group_id.to_string()),
            error_code: error.code(),
        });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
