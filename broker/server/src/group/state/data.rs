//! One group: its members, its generation, its offsets, and the facts that follow from them.
//!
//! Nothing here answers anybody; the steps of the protocol (`join`, `rebalance`, `sync`, `leave`,
//! `offsets`) are built on these. These hold after every step:
//!
//! ```text
//! no members              <=> Empty, Dead, or PreparingRebalance
//! leader_id is a member   unless there are none
//! static_members          maps onto members, one to one
//! pending_members         and members are disjoint
//! ```
//!
//! Source: Kafka 3.9 `GroupMetadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::TimestampMs;
use broker_protocol::topic_partition::TopicPartition;

use super::member::Member;
use super::request::{CommittedOffset, Identity, JoinedMember};
use super::subscription::subscribed_topics;
use super::turn::{AppendId, Now};
use crate::group::record::{GroupValue, MemberValue};

/// The protocol type of consumers, the only one that this broker looks into.
pub(super) const CONSUMER: &str = "consumer";

/// Where a group is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Waits for all members to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    /// All members know their assignment.
    Stable,
    /// Gone; what still refers to it must look it up again.
    Dead,
}

impl GroupState {
    /// All states, in the order of their life.
    pub const ALL: [Self; 5] = [
        Self::Empty,
        Self::PreparingRebalance,
        Self::CompletingRebalance,
        Self::Stable,
        Self::Dead,
    ];

    /// Returns its name as clients know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// Until when joins are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct JoinWait {
    pub(super) deadline: Instant,
    /// For a group that was empty: how long the wait may still be extended. Such a wait never
    /// ends early.
    pub(super) initial_remaining: Option<Duration>,
}

/// An offset, with the append that brought it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) append: AppendId,
    pub(super) committed: CommittedOffset,
}

/// One group. Owned by [`super::State`].
#[derive(Debug)]
pub struct Group {
    pub(super) id: Arc<str>,
    pub(super) state: GroupState,
    pub(super) state_timestamp: Option<TimestampMs>,
    pub(super) generation_id: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol_name: Option<Arc<str>>,
    pub(super) leader_id: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    pub(super) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and have not joined, with when they are void.
    pub(super) pending_members: BTreeMap<Arc<str>, Instant>,
    /// Members of this generation that have not synced.
    pub(super) pending_sync: BTreeSet<Arc<str>>,
    pub(super) join_wait: Option<JoinWait>,
    pub(super) sync_deadline: Option<Instant>,
    /// Whether somebody joined during the initial delay, which is then extended.
    pub(super) new_member_added: bool,
    /// The topics that its consumers read; `None` if that is not known.
    pub(super) subscribed_topics: Option<BTreeSet<Arc<str>>>,
    pub(super) offsets: BTreeMap<TopicPartition, Kept>,
    /// Commits under way, by partition the newest.
    pub(super) pending_commits: BTreeMap<TopicPartition, AppendId>,
}

impl Group {
    /// Makes a group without members or offsets.
    pub(super) fn new(id: Arc<str>, now: Now) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            state_timestamp: Some(now.wall),
            generation_id: 0,
            protocol_type: None,
            protocol_name: None,
            leader_id: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            join_wait: None,
            sync_deadline: None,
            new_member_added: false,
            subscribed_topics: None,
            offsets: BTreeMap::new(),
            pending_commits: BTreeMap::new(),
        }
    }

    /// Returns where it is in its life.
    pub fn state(&self) -> GroupState {
        self.state
    }

    /// Returns its generation.
    pub fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// Returns its members, by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Returns its kind, if it has had members.
    pub fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    /// Returns its visible offsets.
    pub fn offsets(&self) -> impl Iterator<Item = (&TopicPartition, &CommittedOffset)> {
        self.offsets.iter().map(|(partition, kept)| (partition, &kept.committed))
    }

    pub(super) fn transition_to(&mut self, state: GroupState, now: Now) {
        self.state = state;
        self.state_timestamp = Some(now.wall);
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader_id.as_deref() == Some(member_id)
    }

    pub(super) fn leader_or_empty(&self) -> Arc<str> {
        self.leader_id.clone().unwrap_or_else(|| Arc::from(""))
    }

    /// The longest time that a member wants a rebalance to wait for it.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Judges who a member says it is: 25 for nobody here, 82 for a static member that has been
    /// replaced.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        group_instance_id: Option<&Arc<str>>,
    ) -> Result<(), ErrorCode> {
        if let Some(group_instance_id) = group_instance_id {
            match self.static_members.get(group_instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member_id => {
                    return Err(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if !self.members.contains_key(member_id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        Ok(())
    }

    /// Judges a member and its generation.
    pub(super) fn check_identity(&self, identity: &Identity) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&identity.member_id, identity.group_instance_id.as_ref())?;
        if identity.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(())
    }

    /// Whether all members speak the protocol `name`.
    pub(super) fn is_candidate(&self, name: &str) -> bool {
        self.members.values().all(|member| member.speaks(name))
    }

    /// The protocol with the most votes among those that all members speak; of equals the first
    /// by name.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let first = self.members.values().next()?;
        let candidates: BTreeSet<&str> = first
            .protocols
            .iter()
            .map(|protocol| &*protocol.name)
            .filter(|name| self.is_candidate(name))
            .collect();
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(name) = member.vote(|name| candidates.contains(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| Arc::clone(name))
    }

    pub(super) fn add(&mut self, member: Member, protocol_type: &Arc<str>) {
        let member_id = Arc::clone(&member.member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(protocol_type));
        }
        if let Some(group_instance_id) = &member.group_instance_id {
            self.static_members.insert(Arc::clone(group_instance_id), Arc::clone(&member_id));
        }
        if self.leader_id.is_none() {
            self.leader_id = Some(Arc::clone(&member_id));
        }
        self.pending_members.remove(&member_id);
        self.members.insert(member_id, member);
    }

    pub(super) fn remove(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        if let Some(group_instance_id) = &member.group_instance_id {
            self.static_members.remove(group_instance_id);
        }
        self.pending_sync.remove(member_id);
        if self.is_leader(member_id) {
            self.leader_id = self.members.keys().next().cloned();
        }
        Some(member)
    }

    pub(super) fn have_all_joined(&self) -> bool {
        self.pending_members.is_empty()
            && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    /// All members with what they say in the chosen protocol, for the leader.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        let joined = self.members.values().map(|member| JoinedMember {
            member_id: Arc::clone(&member.member_id),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        joined.collect()
    }

    /// Finds out which topics the group's consumers read.
    pub(super) fn compute_subscribed_topics(&mut self) {
        self.subscribed_topics = match (self.protocol_type.as_deref(), &self.protocol_name) {
            (Some(CONSUMER), Some(protocol)) => {
                let topics =
                    self.members.values().map(|m| subscribed_topics(&m.metadata(protocol)));
                topics.collect::<Option<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
            }
            (Some(_), _) if self.members.is_empty() => Some(BTreeSet::new()),
            _ => None,
        };
    }

    /// Whether a consumer of the group may read `topic`; so if that is not known.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribed_topics.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    /// What is kept of the group if its members have `assignments`, by id.
    pub(super) fn value(&self, assignments: &[(Arc<str>, Arc<[u8]>)]) -> GroupValue {
        let by_id: BTreeMap<&str, &Arc<[u8]>> =
            assignments.iter().map(|(id, assignment)| (&**id, assignment)).collect();
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        let members = self.members.values().map(|member| MemberValue {
            member_id: Arc::clone(&member.member_id),
            group_instance_id: member.group_instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: member.rebalance_timeout.as_millis() as i32,
            session_timeout_ms: member.session_timeout.as_millis() as i32,
            subscription: member.metadata(protocol),
            assignment: by_id
                .get(&*member.member_id)
                .map_or_else(|| Arc::from([]), |a| Arc::clone(a)),
        });
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            generation_id: self.generation_id,
            protocol_name: self.protocol_name.clone(),
            leader_id: self.leader_id.clone(),
            state_timestamp: self.state_timestamp.map_or(-1, |timestamp| timestamp.0),
            members: members.collect(),
        }
    }

    /// The earliest moment at which something happens by itself.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.values().filter_map(|member| member.session_deadline);
        let pending = self.pending_members.values().copied();
        let join = self.join_wait.map(|wait| wait.deadline);
        sessions.chain(pending).chain(join).chain(self.sync_deadline).min()
    }
}
