//! Everything that a broker serves of its groups, a line each fact; and a member that stays in its
//! group from one broker to the next.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use broker_protocol::message::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use broker_protocol::message::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use broker_protocol::message::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use broker_protocol::message::list_groups::{ListGroupsRequest, ListGroupsResponse};
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
};
use broker_protocol::message::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
use broker_protocol::message::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use e2e::deadline::Deadline;
use e2e::wire::Connection;

/// What a coordinator says before it has read its groups.
const NOT_YET: [i16; 3] = [
    ErrorCode::CoordinatorLoadInProgress as i16,
    ErrorCode::CoordinatorNotAvailable as i16,
    ErrorCode::NotCoordinator as i16,
];

/// Longer than the test: nobody leaves because a broker was down.
const SESSION_TIMEOUT_MS: i32 = 1_700_000;

/// A position: topic, partition, offset, leader epoch, metadata.
pub(crate) type Position<'a> = (&'a str, i32, i64, i32, &'a str);

/// Adds a line for each group, member and position to `lines`; returns the groups.
pub(crate) fn describe(
    connection: &mut Connection,
    known: &BTreeSet<String>,
    lines: &mut BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    for group in known {
        positions(connection, group)?;
    }
    let groups = list(connection)?;
    for group in &groups {
        lines.extend(positions(connection, group)?);
        describe_one(connection, group, lines)?;
    }
    Ok(groups)
}

fn list(connection: &mut Connection) -> Result<BTreeSet<String>> {
    Deadline::seconds(60).poll("the list of groups", || {
        let answer = connection.call(&ListGroupsRequest::default(), 4)?;
        let response: ListGroupsResponse<'_> = answer.read(4)?;
        if NOT_YET.contains(&response.error_code) {
            return Ok(None);
        }
        ensure!(response.error_code == 0, "list groups: {}", response.error_code);
        Ok(Some(response.groups.iter().map(|group| group.group_id.to_string()).collect()))
    })
}

fn describe_one(
    connection: &mut Connection,
    name: &str,
    lines: &mut BTreeSet<String>,
) -> Result<()> {
    let request = DescribeGroupsRequest { groups: vec![name.into()], ..Default::default() };
    let answer = connection.call(&request, 5)?;
    let response: DescribeGroupsResponse<'_> = answer.read(5)?;
    let group = response.groups.first().context("no group in the answer")?;
    ensure!(group.error_code == 0, "describe {name}: {}", group.error_code);
    let (state, kind, protocol) = (&group.group_state, &group.protocol_type, &group.protocol_data);
    lines.insert(format!("group {name} {state} type={kind:?} protocol={protocol:?}"));
    for member in &group.members {
        lines.insert(format!("member {name} {member:?}"));
    }
    Ok(())
}

/// Every position of a group, once its coordinator knows them.
fn positions(connection: &mut Connection, group: &str) -> Result<Vec<String>> {
    Deadline::seconds(60).poll(&format!("the positions of {group}"), || {
        let request =
            OffsetFetchRequest { group_id: group.into(), topics: None, ..Default::default() };
        let answer = connection.call(&request, 7)?;
        let response: OffsetFetchResponse<'_> = answer.read(7)?;
        if NOT_YET.contains(&response.error_code) {
            return Ok(None);
        }
        ensure!(response.error_code == 0, "offsets of {group}: {}", response.error_code);
        let mut lines = Vec::new();
        for topic in &response.topics {
            for found in &topic.partitions {
                lines.push(format!("committed {group} {} {found:?}", topic.name));
            }
        }
        Ok(Some(lines))
    })
}

/// Asks for the coordinator of a group until there is one: the first question makes its topic.
pub(crate) fn find(connection: &mut Connection, group: &str) -> Result<()> {
    Deadline::seconds(60).poll(&format!("a coordinator of {group}"), || {
        let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        let answer = connection.call(&request, 3)?;
        let response: FindCoordinatorResponse<'_> = answer.read(3)?;
        Ok((response.error_code == 0).then_some(()))
    })
}

/// Commits positions for a group without members.
pub(crate) fn commit(
    connection: &mut Connection,
    group: &str,
    positions: &[Position<'_>],
) -> Result<()> {
    commit_as(connection, group, -1, "", None, positions)
}

fn commit_as(
    connection: &mut Connection,
    group: &str,
    generation: i32,
    member_id: &str,
    instance: Option<&str>,
    positions: &[Position<'_>],
) -> Result<()> {
    let topic = |(name, partition_index, offset, epoch, metadata): &Position<'_>| {
        let partition = OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *offset,
            committed_leader_epoch: *epoch,
            committed_metadata: Some((*metadata).to_owned().into()),
            ..Default::default()
        };
        OffsetCommitRequestTopic {
            name: (*name).to_owned().into(),
            partitions: vec![partition],
            ..Default::default()
        }
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member_id.into(),
        group_instance_id: instance.map(Into::into),
        topics: positions.iter().map(topic).collect(),
        ..Default::default()
    };
    Deadline::seconds(60).poll(&format!("a commit of {group}"), || {
        let answer = connection.call(&request, 7)?;
        let response: OffsetCommitResponse<'_> = answer.read(7)?;
        let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions);
        if codes.clone().any(|partition| NOT_YET.contains(&partition.error_code)) {
            return Ok(None);
        }
        ensure!(codes.all(|partition| partition.error_code == 0), "commit {group}: {response:?}");
        Ok(Some(()))
    })
}

/// Deletes one position of a group.
pub(crate) fn forget(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    partition_index: i32,
) -> Result<()> {
    let partitions = vec![OffsetDeleteRequestPartition { partition_index }];
    let topics = vec![OffsetDeleteRequestTopic { name: topic.into(), partitions }];
    let request = OffsetDeleteRequest { group_id: group.into(), topics };
    let answer = connection.call(&request, 0)?;
    let response: OffsetDeleteResponse<'_> = answer.read(0)?;
    ensure!(response.error_code == 0, "{response:?}");
    Ok(())
}

/// The only member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    group: &'static str,
    instance: Option<&'static str>,
    id: String,
    generation: i32,
}

impl Member {
    /// Joins the group `generations` times, one after the other; the first makes it.
    pub(crate) fn join(
        connection: &mut Connection,
        group: &'static str,
        instance: Option<&'static str>,
        generations: i32,
    ) -> Result<Self> {
        let mut member = Self { group, instance, id: String::new(), generation: 0 };
        for generation in 1..=generations {
            member.enter(connection)?;
            ensure!(member.generation == generation, "{member:?}, expected {generation}");
        }
        Ok(member)
    }

    fn enter(&mut self, connection: &mut Connection) -> Result<()> {
        // Version 0 of a consumer's subscription: one topic, no user data.
        let metadata = b"\0\0\0\0\0\x01\0\x07mixture\xff\xff\xff\xff";
        let protocol =
            JoinGroupRequestProtocol { name: "range".into(), metadata: metadata.as_slice().into() };
        let request = JoinGroupRequest {
            group_id: self.group.into(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: 60_000,
            member_id: self.id.clone().into(),
            group_instance_id: self.instance.map(Into::into),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        // Before version 4 a member without an id is given one and is in.
        let version = if self.instance.is_some() { 5 } else { 3 };
        let answer = connection.call(&request, version)?;
        let response: JoinGroupResponse<'_> = answer.read(version)?;
        ensure!(response.error_code == 0, "{response:?}");
        self.id = response.member_id.to_string();
        self.generation = response.generation_id;
        // Version 0 of an assignment: partition 0 of the topic.
        let assignment = b"\0\0\0\0\0\x01\0\x07mixture\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        let assignment = SyncGroupRequestAssignment {
            member_id: self.id.clone().into(),
            assignment: assignment.as_slice().into(),
        };
        let request = SyncGroupRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.id.clone().into(),
            group_instance_id: self.instance.map(Into::into),
            assignments: vec![assignment],
            ..Default::default()
        };
        let answer = connection.call(&request, 3)?;
        let response: SyncGroupResponse<'_> = answer.read(3)?;
        ensure!(response.error_code == 0, "{response:?}");
        Ok(())
    }

    /// The member goes on as if nothing had happened, in its generation and no other.
    pub(crate) fn goes_on(&self, connection: &mut Connection, offset: i64) -> Result<()> {
        let heard = self.heartbeat(connection, self.generation)?;
        ensure!(heard == 0, "{self:?}: heartbeat answered with {heard}");
        let heard = self.heartbeat(connection, self.generation + 1)?;
        let illegal = ErrorCode::IllegalGeneration as i16;
        ensure!(heard == illegal, "{self:?}: heartbeat of the next answered with {heard}");
        let (generation, instance) = (self.generation, self.instance);
        let position = ("mixture", 0, offset, 0, "within the generation");
        commit_as(connection, self.group, generation, &self.id, instance, &[position])
    }

    fn heartbeat(&self, connection: &mut Connection, generation_id: i32) -> Result<i16> {
        let request = HeartbeatRequest {
            group_id: self.group.into(),
            generation_id,
            member_id: self.id.clone().into(),
            group_instance_id: self.instance.map(Into::into),
        };
        let answer = connection.call(&request, 3)?;
        let response: HeartbeatResponse = answer.read(3)?;
        Ok(response.error_code)
    }
}
