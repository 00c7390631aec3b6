//! A member of a group, with our own client: it joins, is assigned partitions, commits for them, and
//! now and then is silent for longer than its session, then goes on as if nothing had been.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use broker_protocol::message::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use broker_protocol::message::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};

use super::commit::{self, Coordinated};
use super::{Shared, TOPICS};
use crate::cluster::history::{Place, What};
use crate::deadline;

const JOIN_VERSION: i16 = 5;
const SYNC_VERSION: i16 = 3;
const HEARTBEAT_VERSION: i16 = 3;
const SESSION_MS: i32 = 3_000;
const REBALANCE_MS: i32 = 3_000;
const PACE: Duration = Duration::from_millis(100);
/// Of a thousand rounds, how many are followed by a silence longer than the session.
const SILENCES: u32 = 5;
/// The topic that the group shares out.
const TOPIC: usize = 1;

/// What a member was given.
#[derive(Debug)]
struct Assignment {
    generation: i32,
    /// Each place, and the offset committed last.
    places: Vec<(Place, i64)>,
}

/// A member of group `group` until it is told to stop.
#[derive(Debug)]
pub struct Member {
    shared: Shared,
    process: u32,
    group: Coordinated,
    id: String,
    rng: fastrand::Rng,
}

impl Member {
    /// A member whose history is that of `process`.
    pub fn new(shared: Shared, process: u32, group: u16, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { shared, process, group: Coordinated::new(group), id: String::new(), rng }
    }

    /// Joins and works again and again.
    pub fn run(mut self) {
        while !self.shared.stopped() {
            let worked = self.join().and_then(|assignment| self.work(assignment));
            if worked.is_err() {
                self.group.leave();
                deadline::pass(PACE);
            }
        }
    }

    /// Joins, shares out if it leads, and asks where to begin.
    fn join(&mut self) -> Result<Assignment> {
        let subscription = subscription();
        let protocol =
            JoinGroupRequestProtocol { name: "range".into(), metadata: subscription.into() };
        let request = JoinGroupRequest {
            group_id: self.group.name.clone().into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.clone().into(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let connection = self.group.connection(&self.shared.view)?;
        let answer = connection.call(&request, JOIN_VERSION)?;
        let joined: JoinGroupResponse<'_> = answer.read(JOIN_VERSION)?;
        match ErrorCode::from_code(joined.error_code) {
            Some(ErrorCode::None) => self.id = joined.member_id.to_string(),
            Some(ErrorCode::MemberIdRequired) => {
                self.id = joined.member_id.to_string();
                return self.join();
            }
            Some(ErrorCode::UnknownMemberId) => {
                self.id.clear();
                bail!("the group has forgotten the member");
            }
            code => bail!("join: {code:?}"),
        }
        let mut members: Vec<&str> =
            joined.members.iter().map(|member| member.member_id.as_ref()).collect();
        members.sort_unstable();
        let assignments = members.iter().enumerate().map(|(index, member)| {
            let partitions: Vec<u16> = (0..TOPICS[TOPIC].partitions)
                .filter(|partition| usize::from(*partition) % members.len() == index)
                .collect();
            SyncGroupRequestAssignment {
                member_id: (*member).into(),
                assignment: assignment(&partitions).into(),
            }
        });
        let request = SyncGroupRequest {
            group_id: self.group.name.clone().into(),
            generation_id: joined.generation_id,
            member_id: self.id.clone().into(),
            assignments: assignments.collect(),
            ..Default::default()
        };
        let answer = self.group.connection(&self.shared.view)?.call(&request, SYNC_VERSION)?;
        let synced: SyncGroupResponse<'_> = answer.read(SYNC_VERSION)?;
        if synced.error_code != 0 {
            bail!("sync: {:?}", ErrorCode::from_code(synced.error_code));
        }
        let places = assigned(&synced.assignment).context("an assignment")?;
        let generation = joined.generation_id;
        let owns = What::Owns(self.group.group, generation, places.clone());
        self.shared.history.record(self.process, owns);
        let begin = |place| {
            let ask = What::Ask(self.group.group, place);
            let offset = commit::ask(&self.shared, self.process, &mut self.group, ask, place)?;
            Ok((place, offset))
        };
        let places = places.into_iter().map(begin).collect::<Result<_>>()?;
        Ok(Assignment { generation, places })
    }

    /// Commits and beats until the group moves on.
    fn work(&mut self, mut assignment: Assignment) -> Result<()> {
        let generation = assignment.generation;
        while !self.shared.stopped() {
            for (place, offset) in &mut assignment.places {
                *offset += 1;
                self.commit(generation, *place, *offset)?;
            }
            let request = HeartbeatRequest {
                group_id: self.group.name.clone().into(),
                generation_id: generation,
                member_id: self.id.clone().into(),
                ..Default::default()
            };
            let connection = self.group.connection(&self.shared.view)?;
            let answer = connection.call(&request, HEARTBEAT_VERSION)?;
            let beat: HeartbeatResponse = answer.read(HEARTBEAT_VERSION)?;
            match ErrorCode::from_code(beat.error_code) {
                Some(ErrorCode::None) => {}
                Some(ErrorCode::RebalanceInProgress) => return Ok(()),
                code => return self.refused(code),
            }
            let silent = self.rng.u32(..1_000) < SILENCES;
            deadline::pass(if silent { Duration::from_millis(4_500) } else { PACE });
        }
        Ok(())
    }

    fn commit(&mut self, generation: i32, place: Place, offset: i64) -> Result<()> {
        let (group, name) = (self.group.group, self.group.name.clone());
        let connection = self.group.connection(&self.shared.view)?;
        let history = &self.shared.history;
        history.record(self.process, What::Commit(group, generation, place, offset));
        let member = (self.id.as_str(), generation);
        match ErrorCode::from_code(commit::commit(connection, &name, member, place, offset)?) {
            Some(ErrorCode::None) => {
                let what = What::Committed(group, generation, place, offset);
                history.record(self.process, what);
                Ok(())
            }
            // The group prepares to move on and takes no commit: beat, and be told so.
            Some(ErrorCode::RebalanceInProgress) => Ok(()),
            code => self.refused(code),
        }
    }

    fn refused(&mut self, code: Option<ErrorCode>) -> Result<()> {
        if code == Some(ErrorCode::UnknownMemberId) {
            self.id.clear();
        }
        bail!("refused: {code:?}")
    }
}

/// Kafka's `ConsumerProtocolSubscription` of version 0.
fn subscription() -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(1_i32.to_be_bytes());
    put_name(&mut bytes);
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

/// Kafka's `ConsumerProtocolAssignment` of version 0.
fn assignment(partitions: &[u16]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(1_i32.to_be_bytes());
    put_name(&mut bytes);
    bytes.extend((partitions.len() as i32).to_be_bytes());
    for partition in partitions {
        bytes.extend(i32::from(*partition).to_be_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

fn put_name(bytes: &mut Vec<u8>) {
    let name = TOPICS[TOPIC].name.as_bytes();
    bytes.extend((name.len() as i16).to_be_bytes());
    bytes.extend(name);
}

/// The partitions of an [`assignment`]; a member without any gets no bytes at all.
fn assigned(bytes: &[u8]) -> Option<Vec<Place>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let rest = bytes.get(2 + 4 + 2 + TOPICS[TOPIC].name.len()..)?;
    let (count, mut rest) = rest.split_first_chunk()?;
    let mut places = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (partition, after) = rest.split_first_chunk()?;
        let partition = i32::from_be_bytes(*partition) as u16;
        places.push(Place { topic: TOPIC as u16, partition });
        rest = after;
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_back() {
        let places: Vec<u16> =
            assigned(&assignment(&[1, 3])).unwrap().iter().map(|place| place.partition).collect();
        assert_eq!(places, [1, 3]);
        assert_eq!(assigned(&[]), Some(Vec::new()));
    }
}
