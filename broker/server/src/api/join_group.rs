//! JoinGroup: asks the coordinator for a place in the next generation.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};

use super::RequestContext;
use crate::context::Context;
use crate::group::state::request::Protocol;
use crate::group::state::request::{Join, JoinReply, Reply, Request};

/// From this version on a rebalance timeout is given; before, it is the session timeout.
const REBALANCE_TIMEOUT_FROM: i16 = 1;
/// From this version on a new member must come again with the id it is given (KIP-394).
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version on the protocol's name may be null.
const NULL_PROTOCOL_FROM: i16 = 7;
/// From this version on a leader understands that it need not assign (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// The longest client id that fits a member id, which is it, a dash and 36 characters, and whose
/// size is kept in 16 bits.
const CLIENT_ID_SIZE_MAX: usize = i16::MAX as usize - 37;

/// Waits for the generation.
pub(crate) async fn join_group(
    context: &Context,
    request: JoinGroupRequest<'_>,
    rc: &RequestContext<'_>,
) -> JoinGroupResponse<'static> {
    let member_id = Arc::from(&*request.member_id);
    let name = request.group_instance_id.as_deref().unwrap_or(rc.client_id);
    if request.group_id.is_empty() || name.len() > CLIENT_ID_SIZE_MAX {
        let error = if request.group_id.is_empty() {
            ErrorCode::InvalidGroupId
        } else {
            ErrorCode::InvalidRequest
        };
        return respond(JoinReply::failed(member_id, error), rc.api_version);
    }
    if let Err(error) = context.admin.ensure_offsets_topic().await {
        tracing::warn!(%error, "the topic of the committed offsets cannot be made");
    }
    let join = join(&request, rc);
    let reply = context.groups.ask(&request.group_id, Request::Join(join)).await;
    let error = super::group_code::unexpected(&reply);
    let reply =
        if let Reply::Join(reply) = reply { reply } else { JoinReply::failed(member_id, error) };
    respond(reply, rc.api_version)
}

fn join(request: &JoinGroupRequest<'_>, rc: &RequestContext<'_>) -> Join {
    let version = rc.api_version;
    let name = request.group_instance_id.as_deref().unwrap_or(rc.client_id);
    let rebalance_timeout_ms = if version >= REBALANCE_TIMEOUT_FROM {
        request.rebalance_timeout_ms
    } else {
        request.session_timeout_ms
    };
    let protocols = request.protocols.iter().map(|protocol| Protocol {
        name: Arc::from(&*protocol.name),
        metadata: Arc::from(&*protocol.metadata),
    });
    Join {
        member_id: Arc::from(&*request.member_id),
        new_member_id: Arc::from(format!("{name}-{}", uuid::Uuid::new_v4())),
        group_instance_id: request.group_instance_id.as_deref().map(Arc::from),
        require_known_member_id: version >= MEMBER_ID_REQUIRED_FROM
            && request.group_instance_id.is_none(),
        supports_skipping_assignment: version >= SKIP_ASSIGNMENT_FROM,
        client_id: Arc::from(rc.client_id),
        client_host: Arc::from(format!("/{}", rc.peer.host)),
        rebalance_timeout: Duration::from_millis(rebalance_timeout_ms.max(0) as u64),
        session_timeout_ms: request.session_timeout_ms,
        protocol_type: Arc::from(&*request.protocol_type),
        protocols: protocols.collect(),
    }
}

fn respond(reply: JoinReply, version: i16) -> JoinGroupResponse<'static> {
    let protocol_name = reply.protocol_name.map(|name| Cow::Owned(name.to_string()));
    let members = reply.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: Cow::Owned(member.member_id.to_string()),
        group_instance_id: member.group_instance_id.map(|id| Cow::Owned(id.to_string())),
        metadata: Cow::Owned(member.metadata.to_vec()),
    });
    JoinGroupResponse {
        error_code: reply.error.code(),
        generation_id: reply.generation_id,
        protocol_type: reply.protocol_type.map(|kind| Cow::Owned(kind.to_string())),
        protocol_name: if version >= NULL_PROTOCOL_FROM {
            protocol_name
        } else {
            Some(protocol_name.unwrap_or_default())
        },
        leader: Cow::Owned(reply.leader.to_string()),
        skip_assignment: reply.skip_assignment,
        member_id: Cow::Owned(reply.member_id.to_string()),
        members: members.collect(),
        ..Default::default()
    }
}
