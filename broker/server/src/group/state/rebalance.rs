//! The rebalance: from the moment that a member comes, goes or changes to the next generation.
//!
//! Source: Kafka 3.9 `GroupCoordinator` (`prepareRebalance`, `onCompleteJoin`,
//! `onExpirePendingSync`), `DelayedJoin`, `InitialDelayedJoin`.

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;

use super::data::{Group, GroupState, JoinWait};
use super::request::{JoinReply, SyncReply};
use super::turn::{Continuation, Turn};
use crate::group::record::Entry;

impl Group {
    /// Starts a rebalance, unless one waits for members already.
    pub(super) fn maybe_prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare_rebalance(turn);
            }
            GroupState::PreparingRebalance | GroupState::Dead => {}
        }
    }

    fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.reset_and_propagate_assignment_error(ErrorCode::RebalanceInProgress, turn);
        }
        self.sync_deadline = None;
        let now = turn.now.monotonic;
        self.join_wait = Some(if self.state == GroupState::Empty {
            let delay = turn.limits.initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            JoinWait { deadline: now + delay, initial_remaining: Some(remaining) }
        } else {
            JoinWait { deadline: now + self.rebalance_timeout(), initial_remaining: None }
        });
        self.transition_to(GroupState::PreparingRebalance, turn.now);
        self.maybe_complete_join(turn);
    }

    /// Ends the wait for members if all are there. The wait of a group that was empty is never
    /// cut short: others are likely to come.
    pub(super) fn maybe_complete_join(&mut self, turn: &mut Turn<'_>) {
        let may_end_early = self.join_wait.is_some_and(|wait| wait.initial_remaining.is_none());
        if self.state == GroupState::PreparingRebalance && may_end_early && self.have_all_joined() {
            self.complete_join(turn);
        }
    }

    /// The wait for members is over, or is extended because somebody came during the delay.
    pub(super) fn expire_join(&mut self, turn: &mut Turn<'_>) {
        let Some(wait) = self.join_wait else { return };
        match wait.initial_remaining {
            Some(remaining) if self.new_member_added && remaining > Duration::ZERO => {
                self.new_member_added = false;
                let delay = turn.limits.initial_rebalance_delay.min(remaining);
                self.join_wait = Some(JoinWait {
                    deadline: turn.now.monotonic + delay,
                    initial_remaining: Some(remaining.saturating_sub(delay)),
                });
            }
            _ => self.complete_join(turn),
        }
    }

    fn complete_join(&mut self, turn: &mut Turn<'_>) {
        self.join_wait = None;
        let absent = self.members.values().filter(|m| m.awaiting_join.is_none());
        let absent: Vec<_> = absent
            .filter(|member| member.group_instance_id.is_none())
            .map(|member| Arc::clone(&member.member_id))
            .collect();
        for member_id in absent {
            self.remove(&member_id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none of them is back: wait until one is, or until
            // their sessions end.
            let deadline = turn.now.monotonic + self.rebalance_timeout();
            self.join_wait = Some(JoinWait { deadline, initial_remaining: None });
            return;
        }
        self.init_next_generation(turn);
        if self.state == GroupState::Empty {
            let value = self.value(&[]);
            let entries = vec![Entry::Group { group_id: Arc::clone(&self.id), value: Some(value) }];
            turn.append(&self.id, entries, Continuation::Nothing);
            return;
        }
        self.answer_joins(turn);
        self.sync_deadline = Some(turn.now.monotonic + self.rebalance_timeout());
    }

    /// Sees to it that the leader is a member that has joined; false if none has.
    fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader_id.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(|leader| leader.awaiting_join.is_some()) {
            return true;
        }
        let joined = self.members.values().find(|member| member.awaiting_join.is_some());
        let Some(joined) = joined else { return false };
        self.leader_id = Some(Arc::clone(&joined.member_id));
        true
    }

    fn init_next_generation(&mut self, turn: &mut Turn<'_>) {
        // A generation that a client has seen never comes back within what an i32 can count.
        self.generation_id = self.generation_id.checked_add(1).unwrap_or(1);
        self.pending_sync.clear();
        self.new_member_added = false;
        self.protocol_name = self.select_protocol();
        self.compute_subscribed_topics();
        let state = if self.members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::CompletingRebalance
        };
        self.transition_to(state, turn.now);
    }

    fn answer_joins(&mut self, turn: &mut Turn<'_>) {
        let everybody = self.joined_members();
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for member_id in ids {
            let members = if self.is_leader(&member_id) { everybody.clone() } else { Vec::new() };
            let reply = self.joined(&member_id, members);
            self.pending_sync.insert(Arc::clone(&member_id));
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            member.is_new = false;
            member.session_deadline = Some(turn.now.monotonic + member.session_timeout);
            if let Some(token) = member.awaiting_join.take() {
                turn.reply_join(token, reply);
            }
        }
    }

    /// The answer of a successful join in the present generation.
    pub(super) fn joined(
        &self,
        member_id: &Arc<str>,
        members: Vec<super::request::JoinedMember>,
    ) -> JoinReply {
        JoinReply {
            error: ErrorCode::None,
            member_id: Arc::clone(member_id),
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader_or_empty(),
            skip_assignment: false,
            members,
        }
    }

    /// Members that have not synced in time are out.
    pub(super) fn expire_sync(&mut self, turn: &mut Turn<'_>) {
        self.sync_deadline = None;
        let is_under_way =
            matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !is_under_way || self.pending_sync.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.pending_sync) {
            self.remove(&member_id);
        }
        self.maybe_prepare_rebalance(turn);
    }

    /// A member that went silent, or its id that nobody used, is out.
    pub(super) fn expire_sessions(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.monotonic;
        let void = self.pending_members.len();
        self.pending_members.retain(|_, deadline| *deadline > now);
        if self.pending_members.len() < void {
            self.maybe_complete_join(turn);
        }
        let due: Vec<_> = self
            .members
            .values()
            .filter(|member| member.session_deadline.is_some_and(|deadline| deadline <= now))
            .map(|member| Arc::clone(&member.member_id))
            .collect();
        for member_id in due {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            if member.is_excused() {
                member.session_deadline = None;
            } else {
                self.remove_and_rebalance(&member_id, turn);
            }
        }
    }

    /// Takes a member out and lets the others know.
    pub(super) fn remove_and_rebalance(&mut self, member_id: &str, turn: &mut Turn<'_>) {
        let Some(member) = self.remove(member_id) else { return };
        // A client that still waits is told to come again as somebody new.
        if let Some(token) = member.awaiting_join {
            let nobody = Arc::from("");
            turn.reply_join(token, JoinReply::failed(nobody, ErrorCode::UnknownMemberId));
        }
        if let Some(token) = member.awaiting_sync {
            turn.reply_sync(token, SyncReply::failed(ErrorCode::UnknownMemberId));
        }
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => self.prepare_rebalance(turn),
            GroupState::PreparingRebalance => self.maybe_complete_join(turn),
            GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// Puts a sign of life on record.
    pub(super) fn extend_session(&mut self, member_id: &str, turn: &Turn<'_>) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.session_deadline = Some(turn.now.monotonic + member.session_timeout);
        }
    }

    /// Takes all assignments away and tells those who wait for theirs.
    pub(super) fn reset_and_propagate_assignment_error(
        &mut self,
        error: ErrorCode,
        turn: &mut Turn<'_>,
    ) {
        for member in self.members.values_mut() {
            member.assignment = Arc::from([]);
            if let Some(token) = member.awaiting_sync.take() {
                turn.reply_sync(token, SyncReply::failed(error));
                member.session_deadline = Some(turn.now.monotonic + member.session_timeout);
            }
        }
    }
}
