//! SyncGroup, Heartbeat and LeaveGroup: the life of a member between two joins.
//!
//! Source: Kafka 3.9 `GroupCoordinator` (`doSyncGroup`, `handleHeartbeat`, `handleLeaveGroup`).

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;

use super::data::{Group, GroupState};
use super::request::{Identity, Leaver, Reply, Sync, SyncReply, Token};
use super::turn::{Continuation, Turn};
use crate::group::record::Entry;

impl Group {
    /// Handles a sync: the leader's assignment is written down, all others wait for it.
    pub(super) fn sync(&mut self, sync: Sync, token: Token, turn: &mut Turn<'_>) {
        if let Err(error) = self.try_sync(sync, token, turn) {
            turn.reply_sync(token, SyncReply::failed(error));
        }
    }

    fn try_sync(&mut self, sync: Sync, token: Token, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        self.check_identity(&sync.identity)?;
        let differs =
            |theirs: &Option<Arc<str>>, ours: &Option<Arc<str>>| theirs.is_some() && theirs != ours;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let member_id = Arc::clone(&sync.identity.member_id);
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                self.pending_sync.remove(&member_id);
                let member = self.members.get_mut(&member_id).ok_or(ErrorCode::UnknownMemberId)?;
                if let Some(former) = member.awaiting_sync.replace(token) {
                    let error = ErrorCode::RebalanceInProgress;
                    turn.reply_sync(former, SyncReply::failed(error));
                }
                if self.is_leader(&member_id) {
                    self.keep_assignment(sync.assignments, turn);
                }
                Ok(())
            }
            GroupState::Stable => {
                self.pending_sync.remove(&member_id);
                self.extend_session(&member_id, turn);
                let reply = self.synced(&member_id);
                turn.reply_sync(token, reply);
                Ok(())
            }
        }
    }

    fn keep_assignment(&mut self, assignments: Vec<(Arc<str>, Arc<[u8]>)>, turn: &mut Turn<'_>) {
        let value = Some(self.value(&assignments));
        let entries = vec![Entry::Group { group_id: Arc::clone(&self.id), value }];
        let generation_id = self.generation_id;
        let then = Continuation::Assign { generation_id, assignments };
        turn.append(&self.id, entries, then);
    }

    /// The assignment of a generation is written down, or could not be.
    pub(super) fn finish_assignment(
        &mut self,
        generation_id: i32,
        assignments: &[(Arc<str>, Arc<[u8]>)],
        result: Result<(), ErrorCode>,
        turn: &mut Turn<'_>,
    ) {
        // Another rebalance has begun meanwhile, or a repeated sync was quicker.
        if self.state != GroupState::CompletingRebalance || self.generation_id != generation_id {
            return;
        }
        if let Err(error) = result {
            self.reset_and_propagate_assignment_error(error, turn);
            self.maybe_prepare_rebalance(turn);
            return;
        }
        let by_id: BTreeMap<&str, &Arc<[u8]>> =
            assignments.iter().map(|(id, assignment)| (&**id, assignment)).collect();
        for member in self.members.values_mut() {
            let assigned = by_id.get(&*member.member_id);
            member.assignment = assigned.map_or_else(|| Arc::from([]), |a| Arc::clone(a));
        }
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for member_id in ids {
            let reply = self.synced(&member_id);
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            if let Some(token) = member.awaiting_sync.take() {
                turn.reply_sync(token, reply);
                member.session_deadline = Some(turn.now.monotonic + member.session_timeout);
            }
        }
        self.transition_to(GroupState::Stable, turn.now);
    }

    fn synced(&self, member_id: &str) -> SyncReply {
        let member = self.members.get(member_id);
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: member.map_or_else(|| Arc::from([]), |m| Arc::clone(&m.assignment)),
        }
    }

    /// Handles a sign of life; its answer is how a member learns of a rebalance.
    pub(super) fn heartbeat(&mut self, identity: &Identity, turn: &Turn<'_>) -> ErrorCode {
        if let Err(error) = self.check_identity(identity) {
            return error;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => ErrorCode::UnknownMemberId,
            GroupState::PreparingRebalance => {
                self.extend_session(&identity.member_id, turn);
                ErrorCode::RebalanceInProgress
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.extend_session(&identity.member_id, turn);
                ErrorCode::None
            }
        }
    }

    /// Handles the departure of members, each with its own result.
    pub(super) fn leave(&mut self, leavers: &[Leaver], turn: &mut Turn<'_>) -> Reply {
        if self.state == GroupState::Dead {
            return Reply::Codes(Err(ErrorCode::CoordinatorNotAvailable));
        }
        let code = |result: Result<(), ErrorCode>| result.err().unwrap_or_default();
        let codes = leavers.iter().map(|leaver| code(self.leave_one(leaver, turn))).collect();
        Reply::Codes(Ok(codes))
    }

    fn leave_one(&mut self, leaver: &Leaver, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let instance = leaver.group_instance_id.as_ref();
        if leaver.member_id.is_empty() {
            // An administrator names a static member by its static name alone (KIP-345).
            let current = instance.and_then(|id| self.static_members.get(id)).cloned();
            let current = current.ok_or(ErrorCode::UnknownMemberId)?;
            self.remove_and_rebalance(&current, turn);
            return Ok(());
        }
        if instance.is_none() && self.pending_members.remove(&leaver.member_id).is_some() {
            self.maybe_complete_join(turn);
            return Ok(());
        }
        self.check_member(&leaver.member_id, instance)?;
        self.remove_and_rebalance(&leaver.member_id, turn);
        Ok(())
    }
}
