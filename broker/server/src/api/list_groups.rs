//! ListGroups: the groups that this broker coordinates.

use std::borrow::Cow;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::RequestContext;
use crate::context::Context;

/// The only type of group that this broker has.
const CLASSIC: &str = "classic";

/// Answers with what is loaded; an error says that there is more to come.
pub(crate) async fn list_groups(
    context: &Context,
    request: ListGroupsRequest<'_>,
    _: &RequestContext<'_>,
) -> ListGroupsResponse<'static> {
    let passes = |filter: &[Cow<'_, str>], name: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let listing = context.groups.list().await;
    let is_type_wanted = passes(&request.types_filter, CLASSIC);
    let groups = listing
        .groups
        .into_iter()
        .filter(|group| is_type_wanted && passes(&request.states_filter, group.state.name()));
    let groups = groups.map(|group| ListedGroup {
        group_id: Cow::Owned(group.group_id.to_string()),
        protocol_type: Cow::Owned(group.protocol_type.as_deref().unwrap_or("").to_owned()),
        group_state: Cow::Borrowed(group.state.name()),
        group_type: Cow::Borrowed(CLASSIC),
    });
    let error =
        if listing.is_loading { ErrorCode::CoordinatorLoadInProgress } else { ErrorCode::None };
    ListGroupsResponse { error_code: error.code(), groups: groups.collect(), ..Default::default() }
}
