//! SyncGroup: hands in the leader's assignment, or waits for it.

use std::borrow::Cow;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::RequestContext;
use super::group_code::{identity, unexpected};
use crate::context::Context;
use crate::group::state::request::{Reply, Request, Sync, SyncReply};

/// From this version on the protocol must be named (KIP-559).
const PROTOCOL_FROM: i16 = 5;

/// Waits for the assignment.
pub(crate) async fn sync_group(
    context: &Context,
    request: SyncGroupRequest<'_>,
    rc: &RequestContext<'_>,
) -> SyncGroupResponse<'static> {
    let lacks_protocol = request.protocol_type.is_none() || request.protocol_name.is_none();
    let reply = if request.group_id.is_empty() {
        SyncReply::failed(ErrorCode::InvalidGroupId)
    } else if rc.api_version >= PROTOCOL_FROM && lacks_protocol {
        SyncReply::failed(ErrorCode::InconsistentGroupProtocol)
    } else {
        let reply = context.groups.ask(&request.group_id, Request::Sync(sync(&request))).await;
        let mut error = unexpected(&reply);
        if error == ErrorCode::CoordinatorLoadInProgress {
            // The rebalance that it was part of is lost: it must join again, and need not look for
            // another coordinator.
            error = ErrorCode::RebalanceInProgress;
        }
        if let Reply::Sync(reply) = reply { reply } else { SyncReply::failed(error) }
    };
    SyncGroupResponse {
        error_code: reply.error.code(),
        protocol_type: reply.protocol_type.map(|kind| Cow::Owned(kind.to_string())),
        protocol_name: reply.protocol_name.map(|name| Cow::Owned(name.to_string())),
        assignment: Cow::Owned(reply.assignment.to_vec()),
        ..Default::default()
    }
}

fn sync(request: &SyncGroupRequest<'_>) -> Sync {
    let instance = request.group_instance_id.as_deref();
    let assignments = request
        .assignments
        .iter()
        .map(|assigned| (Arc::from(&*assigned.member_id), Arc::from(&*assigned.assignment)));
    Sync {
        identity: identity(request.generation_id, &request.member_id, instance),
        protocol_type: request.protocol_type.as_deref().map(Arc::from),
        protocol_name: request.protocol_name.as_deref().map(Arc::from),
        assignments: assignments.collect(),
    }
}
