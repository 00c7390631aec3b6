//! LeaveGroup: members go, each with its own result.

use std::borrow::Cow;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

use super::RequestContext;
use super::group_code::unexpected;
use crate::context::Context;
use crate::group::state::request::{Leaver, Reply, Request};

/// From this version on a request names several members (KIP-345).
const MANY_MEMBERS_FROM: i16 = 3;

/// Answers at once.
pub(crate) async fn leave_group(
    context: &Context,
    request: LeaveGroupRequest<'_>,
    rc: &RequestContext<'_>,
) -> LeaveGroupResponse<'static> {
    let is_batch = rc.api_version >= MANY_MEMBERS_FROM;
    let members = if is_batch {
        request.members
    } else {
        vec![MemberIdentity { member_id: request.member_id, ..Default::default() }]
    };
    let codes = if request.group_id.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else {
        let leavers = members.iter().map(leaver).collect();
        let reply = context.groups.ask(&request.group_id, Request::Leave(leavers)).await;
        let error = unexpected(&reply);
        if let Reply::Codes(codes) = reply { codes } else { Err(error) }
    };
    match codes {
        Err(error) => LeaveGroupResponse { error_code: error.code(), ..Default::default() },
        Ok(codes) if is_batch => {
            let left = members.iter().zip(codes).map(|(member, code)| left(member, code));
            LeaveGroupResponse { members: left.collect(), ..Default::default() }
        }
        Ok(codes) => {
            let code = codes.first().copied().unwrap_or_default();
            LeaveGroupResponse { error_code: code.code(), ..Default::default() }
        }
    }
}

fn leaver(member: &MemberIdentity<'_>) -> Leaver {
    Leaver {
        member_id: Arc::from(&*member.member_id),
        group_instance_id: member.group_instance_id.as_deref().map(Arc::from),
    }
}

fn left(member: &MemberIdentity<'_>, code: ErrorCode) -> MemberResponse<'static> {
    MemberResponse {
        member_id: Cow::Owned(member.member_id.to_string()),
        group_instance_id: member.group_instance_id.as_deref().map(|id| Cow::Owned(id.to_owned())),
        error_code: code.code(),
    }
}
