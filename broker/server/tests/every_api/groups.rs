//! What to ask about groups and their members.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::delete_groups::DeleteGroupsRequest;
use broker_protocol::message::describe_groups::DescribeGroupsRequest;
use broker_protocol::message::find_coordinator::FindCoordinatorRequest;
use broker_protocol::message::heartbeat::HeartbeatRequest;
use broker_protocol::message::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use broker_protocol::message::leave_group::{LeaveGroupRequest, MemberIdentity};
use broker_protocol::message::list_groups::ListGroupsRequest;
use broker_protocol::message::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::{Cases, OK, World, offsets};

/// No group.
const MISSING: &str = "missing";

/// A version that gives a member id at once.
const JOIN: i16 = 3;

fn join(group_id: &str) -> JoinGroupRequest<'static> {
    let metadata = (&b"metadata"[..]).into();
    JoinGroupRequest {
        group_id: group_id.to_owned().into(),
        session_timeout_ms: 20_000,
        rebalance_timeout_ms: 20_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata }],
        ..Default::default()
    }
}

/// A member of a group of its own, which waits for its assignment.
struct Member {
    group: String,
    id: String,
    generation: i32,
}

impl Member {
    fn new(world: &mut World, group_id: String) -> Self {
        let answer = world.client.call(&join(&group_id), JOIN);
        let response: JoinGroupResponse<'_> = answer.read(JOIN);
        assert_eq!(response.error_code, 0, "{response:?}");
        let (id, generation) = (response.member_id.into_owned(), response.generation_id);
        Self { group: group_id, id, generation }
    }

    fn sync(&self) -> SyncGroupRequest<'static> {
        SyncGroupRequest {
            group_id: self.group.clone().into(),
            generation_id: self.generation,
            member_id: self.id.clone().into(),
            group_instance_id: None,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: self.id.clone().into(),
                assignment: (&b"assignment"[..]).into(),
            }],
        }
    }
}

pub(crate) fn find_coordinator(
    _: &mut World,
    version: i16,
) -> Cases<FindCoordinatorRequest<'static>> {
    let request = |key_type| FindCoordinatorRequest {
        key: "g".into(),
        key_type,
        coordinator_keys: vec!["g".into(), "h".into()],
    };
    let expected = |code| if version >= 4 { vec![code; 2] } else { vec![code] };
    // Of transactions there is none; version 0 asks for groups only.
    let other = if version >= 1 { ErrorCode::InvalidRequest } else { OK };
    vec![(request(0), expected(OK)), (request(1), expected(other))]
}

pub(crate) fn join_group(_: &mut World, version: i16) -> Cases<JoinGroupRequest<'static>> {
    let new = join(&format!("join-{version}"));
    let code = if version >= 4 { ErrorCode::MemberIdRequired } else { OK };
    // Before version 5 it cannot say so.
    let group_id = format!("join-static-{version}").into();
    let fixed = JoinGroupRequest { group_id, group_instance_id: Some("i".into()), ..new.clone() };
    let fixed_code = if version == 4 { ErrorCode::MemberIdRequired } else { OK };
    let impatient = JoinGroupRequest { session_timeout_ms: 1, ..join("impatient") };
    let stranger = JoinGroupRequest { member_id: "nobody".into(), ..join(MISSING) };
    vec![
        (new, vec![code]),
        (fixed, vec![fixed_code]),
        (impatient, vec![ErrorCode::InvalidSessionTimeout]),
        (stranger, vec![ErrorCode::UnknownMemberId]),
    ]
}

pub(crate) fn sync_group(world: &mut World, version: i16) -> Cases<SyncGroupRequest<'static>> {
    let member = Member::new(world, format!("sync-{version}"));
    let known = member.sync();
    let late = SyncGroupRequest { generation_id: member.generation + 1, ..member.sync() };
    let stranger = SyncGroupRequest { group_id: MISSING.into(), ..member.sync() };
    vec![
        (known, vec![OK]),
        (late, vec![ErrorCode::IllegalGeneration]),
        (stranger, vec![ErrorCode::UnknownMemberId]),
    ]
}

pub(crate) fn heartbeat(world: &mut World, version: i16) -> Cases<HeartbeatRequest<'static>> {
    let member = Member::new(world, format!("heartbeat-{version}"));
    world.client.call(&member.sync(), 3);
    let known = HeartbeatRequest {
        group_id: member.group.into(),
        generation_id: member.generation,
        member_id: member.id.into(),
        group_instance_id: None,
    };
    let late = HeartbeatRequest { generation_id: known.generation_id + 1, ..known.clone() };
    let stranger = HeartbeatRequest { group_id: MISSING.into(), ..known.clone() };
    vec![
        (known, vec![OK]),
        (late, vec![ErrorCode::IllegalGeneration]),
        (stranger, vec![ErrorCode::UnknownMemberId]),
    ]
}

pub(crate) fn leave_group(world: &mut World, version: i16) -> Cases<LeaveGroupRequest<'static>> {
    let member = Member::new(world, format!("leave-{version}"));
    let identity = |member_id: &str| MemberIdentity {
        member_id: member_id.to_owned().into(),
        ..Default::default()
    };
    let request = LeaveGroupRequest {
        group_id: member.group.into(),
        members: vec![identity(&member.id), identity("nobody")],
        member_id: member.id.into(),
    };
    let unknown = ErrorCode::UnknownMemberId;
    // Who has left is not known any more.
    if version >= 3 {
        vec![(request.clone(), vec![OK, OK, unknown]), (request, vec![OK, unknown, unknown])]
    } else {
        vec![(request.clone(), vec![OK]), (request, vec![unknown])]
    }
}

pub(crate) fn describe_groups(
    world: &mut World,
    version: i16,
) -> Cases<DescribeGroupsRequest<'static>> {
    let member = Member::new(world, format!("describe-{version}"));
    let request = DescribeGroupsRequest {
        groups: vec![member.group.into(), MISSING.into()],
        include_authorized_operations: true,
    };
    let missing = if version >= 6 { ErrorCode::GroupIdNotFound } else { OK };
    vec![(request, vec![OK, missing])]
}

pub(crate) fn list_groups(_: &mut World, _: i16) -> Cases<ListGroupsRequest<'static>> {
    let request = ListGroupsRequest {
        states_filter: vec!["Stable".into()],
        types_filter: vec!["classic".into()],
    };
    vec![(request, vec![OK])]
}

pub(crate) fn delete_groups(
    world: &mut World,
    version: i16,
) -> Cases<DeleteGroupsRequest<'static>> {
    let empty = format!("delete-{version}");
    offsets::store(world, &empty);
    let member = Member::new(world, format!("delete-member-{version}"));
    let groups_names = vec![empty.into(), member.group.into(), MISSING.into()];
    let expected = vec![OK, ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound];
    vec![(DeleteGroupsRequest { groups_names }, expected)]
}
