//! JoinGroup: who may enter, under which id, and whether that takes a rebalance.
//!
//! Source: Kafka 3.9 `GroupCoordinator` (`handleJoinGroup`, `doNewMemberJoinGroup`,
//! `doCurrentMemberJoinGroup`, `updateStaticMemberAndRebalance`), KIP-345, KIP-394, KIP-814.

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;

use super::data::{Group, GroupState};
use super::member::Member;
use super::request::{Join, JoinReply, Token};
use super::turn::{Continuation, Replacement, Turn};
use crate::group::record::Entry;

/// How long a new member's JoinGroup may wait: it cannot send heartbeats yet, and a client that
/// gave up leaves nothing else behind. Kafka's `NewMemberJoinTimeoutMs`.
pub(super) const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_mins(5);

impl Group {
    /// Handles a join of a session timeout that is in range.
    pub(super) fn join(&mut self, join: Join, token: Token, turn: &mut Turn<'_>) {
        let member_id = Arc::clone(&join.member_id);
        if let Err(error) = self.try_join(join, token, turn) {
            turn.reply_join(token, JoinReply::failed(member_id, error));
            return;
        }
        self.maybe_complete_join(turn);
    }

    fn try_join(&mut self, join: Join, token: Token, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if !self.accepts(&join.member_id, turn.limits.max_size) {
            self.pending_members.remove(&join.member_id);
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports_protocols(&join) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if join.member_id.is_empty() {
            self.join_as_new(join, token, turn);
            return Ok(());
        }
        if self.pending_members.contains_key(&join.member_id) {
            if join.group_instance_id.is_some() {
                return Err(ErrorCode::UnknownMemberId);
            }
            let member_id = Arc::clone(&join.member_id);
            self.add_and_rebalance(member_id, join, token, turn);
            return Ok(());
        }
        self.check_member(&join.member_id, join.group_instance_id.as_ref())?;
        self.join_again(&join, token, turn)
    }

    fn accepts(&self, member_id: &str, max_size: usize) -> bool {
        let known = self.members.get(member_id);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                let joined = self.members.values().filter(|m| m.awaiting_join.is_some()).count();
                known.is_some_and(|member| member.awaiting_join.is_some()) || joined < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                known.is_some() || self.members.len() < max_size
            }
        }
    }

    fn supports_protocols(&self, join: &Join) -> bool {
        if self.members.is_empty() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(&*join.protocol_type)
            && join.protocols.iter().any(|protocol| self.is_candidate(&protocol.name))
    }

    fn join_as_new(&mut self, join: Join, token: Token, turn: &mut Turn<'_>) {
        let member_id = Arc::clone(&join.new_member_id);
        let instance = join.group_instance_id.as_ref();
        if let Some(former_id) = instance.and_then(|id| self.static_members.get(id).cloned()) {
            self.replace_static(&former_id, &join, token, turn);
        } else if join.require_known_member_id && instance.is_none() {
            let timeout = Duration::from_millis(join.session_timeout_ms as u64);
            let deadline = turn.now.monotonic + timeout;
            self.pending_members.insert(Arc::clone(&member_id), deadline);
            turn.reply_join(token, JoinReply::failed(member_id, ErrorCode::MemberIdRequired));
        } else {
            self.add_and_rebalance(member_id, join, token, turn);
        }
    }

    fn join_again(
        &mut self,
        join: &Join,
        token: Token,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let member_id = Arc::clone(&join.member_id);
        let member = self.members.get(&member_id).ok_or(ErrorCode::UnknownMemberId)?;
        let is_unchanged = member.protocols == join.protocols;
        let is_leader = self.is_leader(&member_id);
        match self.state {
            // It did not get the answer to its join: here it is again.
            GroupState::CompletingRebalance if is_unchanged => {
                let members = if is_leader { self.joined_members() } else { Vec::new() };
                turn.reply_join(token, self.joined(&member_id, members));
            }
            // A follower that comes back unchanged needs nothing; a leader that comes back wants
            // a rebalance, for it has seen the topics change.
            GroupState::Stable if is_unchanged && !is_leader => {
                turn.reply_join(token, self.joined(&member_id, Vec::new()));
            }
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => {
                self.update(&member_id, join, Some(token), turn);
                self.maybe_prepare_rebalance(turn);
            }
            GroupState::Empty | GroupState::Dead => return Err(ErrorCode::UnknownMemberId),
        }
        Ok(())
    }

    fn add_and_rebalance(
        &mut self,
        member_id: Arc<str>,
        join: Join,
        token: Token,
        turn: &mut Turn<'_>,
    ) {
        if self.state == GroupState::PreparingRebalance && self.generation_id == 0 {
            self.new_member_added = true;
        }
        let member = Member {
            member_id,
            group_instance_id: join.group_instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout: join.rebalance_timeout,
            session_timeout: Duration::from_millis(join.session_timeout_ms as u64),
            protocols: join.protocols,
            assignment: Arc::from([]),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
            session_deadline: Some(turn.now.monotonic + NEW_MEMBER_JOIN_TIMEOUT),
        };
        self.add(member, &join.protocol_type);
        self.maybe_prepare_rebalance(turn);
    }

    /// Takes over what a known member says now.
    fn update(&mut self, member_id: &str, join: &Join, token: Option<Token>, turn: &mut Turn<'_>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.protocols.clone_from(&join.protocols);
        member.rebalance_timeout = join.rebalance_timeout;
        member.session_timeout = Duration::from_millis(join.session_timeout_ms as u64);
        // The client asks anew, so nobody reads the former answer any more; it must end all the
        // same.
        if let Some(former) = std::mem::replace(&mut member.awaiting_join, token) {
            let reply = JoinReply::failed(Arc::from(member_id), ErrorCode::RebalanceInProgress);
            turn.reply_join(former, reply);
        }
    }

    /// A static member is back under a new id: it takes the place of its former self, whose
    /// requests are fenced.
    fn replace_static(
        &mut self,
        former_id: &Arc<str>,
        join: &Join,
        token: Token,
        turn: &mut Turn<'_>,
    ) {
        let member_id = Arc::clone(&join.new_member_id);
        let former_leader = self.leader_or_empty();
        let Some(former) = self.rename(former_id, &member_id, turn) else { return };
        self.update(&member_id, join, Some(token), turn);
        self.extend_session(&member_id, turn);
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol_name => {
                self.keep_replacement(former, former_leader, &member_id, join, turn);
            }
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.maybe_prepare_rebalance(turn);
            }
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// Writes the replacement down; its join is answered when that is acknowledged.
    fn keep_replacement(
        &mut self,
        former: Member,
        former_leader: Arc<str>,
        member_id: &Arc<str>,
        join: &Join,
        turn: &mut Turn<'_>,
    ) {
        let assignments: Vec<_> = self
            .members
            .values()
            .map(|member| (Arc::clone(&member.member_id), Arc::clone(&member.assignment)))
            .collect();
        let value = Some(self.value(&assignments));
        let entries = vec![Entry::Group { group_id: Arc::clone(&self.id), value }];
        let Some(group_instance_id) = join.group_instance_id.clone() else { return };
        let replacement = Replacement {
            group_instance_id,
            former,
            member_id: Arc::clone(member_id),
            former_leader,
            supports_skipping_assignment: join.supports_skipping_assignment,
        };
        turn.append(&self.id, entries, Continuation::Replace(Box::new(replacement)));
    }

    /// Moves a static member to a new id and fences the requests of the old one; returns the
    /// member as it was.
    fn rename(&mut self, from: &Arc<str>, to: &Arc<str>, turn: &mut Turn<'_>) -> Option<Member> {
        let was_leader = self.is_leader(from);
        let mut member = self.members.remove(from)?;
        let error = ErrorCode::FencedInstanceId;
        if let Some(token) = member.awaiting_join.take() {
            turn.reply_join(token, JoinReply::failed(Arc::clone(from), error));
        }
        if let Some(token) = member.awaiting_sync.take() {
            turn.reply_sync(token, super::request::SyncReply::failed(error));
        }
        let former = member.clone();
        if let Some(group_instance_id) = &member.group_instance_id {
            self.static_members.insert(Arc::clone(group_instance_id), Arc::clone(to));
        }
        if was_leader {
            self.leader_id = Some(Arc::clone(to));
        }
        if self.pending_sync.remove(from) {
            self.pending_sync.insert(Arc::clone(to));
        }
        member.member_id = Arc::clone(to);
        self.members.insert(Arc::clone(to), member);
        Some(former)
    }

    /// The replacement of a static member is written down, or could not be.
    pub(super) fn finish_replacement(
        &mut self,
        replacement: &Replacement,
        result: Result<(), ErrorCode>,
        turn: &mut Turn<'_>,
    ) {
        let Replacement { group_instance_id, former, member_id, former_leader, .. } = replacement;
        let Some(member) = self.members.get_mut(member_id) else { return };
        // A rebalance that began meanwhile answers the join.
        let is_settled = self.state == GroupState::Stable;
        let Some(token) = member.awaiting_join.take_if(|_| is_settled) else { return };
        if let Err(error) = result {
            let mut reply = JoinReply::failed(Arc::from(""), error);
            reply.generation_id = self.generation_id;
            turn.reply_join(token, reply);
            if self.static_members.get(group_instance_id) == Some(member_id) {
                let former_id = Arc::clone(&former.member_id);
                self.rename(&member_id.clone(), &former_id, turn);
                self.members.insert(Arc::clone(&former_id), former.clone());
                self.extend_session(&former_id, turn);
            }
            return;
        }
        let is_leader = self.is_leader(member_id);
        let mut reply = self.joined(member_id, Vec::new());
        if replacement.supports_skipping_assignment {
            // The leader goes on watching the topics, but what it would assign now would not
            // reach a group that is stable.
            if is_leader {
                reply.members = self.joined_members();
            }
            reply.skip_assignment = is_leader;
        } else {
            // An older client must not take itself for the leader, or it would assign.
            reply.leader = Arc::clone(former_leader);
        }
        turn.reply_join(token, reply);
        self.extend_session(member_id, turn);
    }
}
