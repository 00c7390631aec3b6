//! Heartbeat: a member is alive, and learns whether it must join again.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::RequestContext;
use super::group_code::{identity, unexpected};
use crate::context::Context;
use crate::group::state::request::{Reply, Request};

/// Answers at once.
pub(crate) async fn heartbeat(
    context: &Context,
    request: HeartbeatRequest<'_>,
    _: &RequestContext<'_>,
) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_deref();
    let identity = identity(request.generation_id, &request.member_id, instance);
    let error = if request.group_id.is_empty() {
        ErrorCode::InvalidGroupId
    } else {
        let reply = context.groups.ask(&request.group_id, Request::Heartbeat(identity)).await;
        let error = if let Reply::Code(error) = reply { error } else { unexpected(&reply) };
        // Nobody's session ends while the group is being read: all is well so far.
        if error == ErrorCode::CoordinatorLoadInProgress { ErrorCode::None } else { error }
    };
    HeartbeatResponse { error_code: error.code(), ..Default::default() }
}
