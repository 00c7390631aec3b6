//! A partition that leads: it takes office, hears of the others' progress, and asks for another ISR.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use broker_protocol::quantity::{BrokerId, LeaderEpoch};

use super::Partition;
use crate::replica::delayed::AckState;
use crate::replica::isr::IsrChange;
use crate::replica::partition_state::{IsrAnswer, IsrProposal, Leadership, Moved, Role, Stale};

impl Partition {
    /// Leads the partition from now on, as `leadership` says.
    ///
    /// # Errors
    /// The epoch is not newer than the one known, here or in the log; nothing was changed.
    pub fn lead(self: &Arc<Self>, leadership: Leadership, now: Instant) -> Result<(), Stale> {
        let mut inner = self.inner.lock();
        let epoch = leadership.leader_epoch;
        inner.check_rising(epoch)?;
        let moved = inner.state.lead(leadership, now)?;
        inner.log.begin_epoch(epoch);
        let advanced = self.advanced(&mut inner, moved.high_watermark);
        let high_watermark = inner.state.high_watermark();
        inner.log.on_high_watermark(high_watermark);
        let unsynced = inner.unsynced();
        let has_laggard = inner.state.has_laggard();
        drop(inner);
        if let Some(point) = unsynced {
            self.submit(point);
        }
        self.tell(advanced);
        self.subscribers.wake();
        self.replica_subscribers.wake();
        if has_laggard {
            self.note_laggard();
        }
        Ok(())
    }

    /// Leads alone, in sync with nobody; the way of a broker without a cluster.
    ///
    /// Returns false, and changes nothing, if `leader_epoch` is older than the one known.
    pub fn become_leader(
        self: &Arc<Self>,
        leader_epoch: LeaderEpoch,
        assigned_replicas: u32,
        now: Instant,
    ) -> bool {
        let leadership = Leadership::alone(BrokerId(0), leader_epoch, assigned_replicas);
        self.lead(leadership, now).is_ok()
    }

    /// Neither leads nor follows until it is told anew: whoever waits is told "not leader".
    pub fn resign(&self) {
        self.inner.lock().state.resign();
        self.left_office();
    }

    /// Fails those who wait for acknowledgements, and wakes readers to see for themselves.
    pub(super) fn left_office(&self) {
        self.ack_waiters.fail(AckState::NotLeader);
        self.subscribers.wake();
        self.replica_subscribers.wake();
        self.attention.log_start_moved();
    }

    /// Returns the members of the ISR besides this broker; none unless it leads.
    pub fn others_in_sync(&self) -> Vec<BrokerId> {
        let inner = self.inner.lock();
        let leadership = inner.state.leadership().filter(|_| inner.state.role() == Role::Leader);
        let members = leadership
            .into_iter()
            .flat_map(|it| it.isr.iter().copied().filter(|member| Some(*member) != it.leader));
        members.collect()
    }

    /// Returns the epoch of the last order of a controller (-1: of none), and whether none is obeyed now.
    pub fn obeyed(&self) -> (LeaderEpoch, bool) {
        let inner = self.inner.lock();
        (inner.state.leader_epoch(), inner.state.leadership().is_none())
    }

    /// Decides whether another ISR is due; the caller asks the controller for it and brings the answer to
    /// [`Partition::answered`]. Nothing else is proposed until then.
    ///
    /// `lives` says whether a broker is registered, as far as is known here.
    pub fn propose(
        &self,
        now: Instant,
        lag_max: Duration,
        lives: &dyn Fn(BrokerId) -> bool,
    ) -> Option<IsrProposal> {
        let mut inner = self.inner.lock();
        let proposal = inner.state.propose(now, lag_max, lives);
        let has_laggard = inner.state.role() == Role::Leader && inner.state.has_laggard();
        drop(inner);
        if has_laggard {
            self.note_laggard();
        } else if self.has_laggard.swap(false, Ordering::AcqRel) {
            self.attention.is_level(&self.name);
            // An append in between found the flag set.
            if self.inner.lock().state.has_laggard() {
                self.note_laggard();
            }
        }
        proposal
    }

    /// Returns whether a replica that is led here, and out of sync, has what a member must have.
    pub fn has_joiner(&self) -> bool {
        self.inner.lock().state.has_joiner()
    }

    /// Returns whether `proposal` still waits for an answer.
    pub fn is_proposed(&self, proposal: &IsrProposal) -> bool {
        self.inner.lock().state.proposed() == Some(proposal)
    }

    /// Takes in what the controller said to `proposal`; returns how the ISR changed, if it did.
    pub fn answered(&self, proposal: &IsrProposal, answer: IsrAnswer) -> Option<IsrChange> {
        let mut inner = self.inner.lock();
        let former = inner.state.in_sync().to_vec();
        let moved = inner.state.answered(proposal, answer);
        let (before, after) = (former.len(), inner.state.in_sync_count());
        let change = IsrChange { from: former, to: inner.state.in_sync().to_vec() };
        let has_laggard = inner.state.has_laggard();
        let advanced = self.advanced(&mut inner, moved.high_watermark);
        drop(inner);
        if has_laggard {
            self.note_laggard();
        }
        self.attention.expansions.add(u64::from(after > before));
        self.attention.shrinks.add(u64::from(after < before));
        self.tell_moved(moved, advanced);
        Some(change).filter(|change| change.from != change.to)
    }

    /// Wakes whom a fetch of a replica concerns. Not to be called with the lock held.
    pub(super) fn tell_moved(&self, moved: Moved, advanced: Option<super::Advanced>) {
        self.tell(advanced);
        if moved.may_join {
            self.attention.may_join(&self.name);
        }
        if moved.log_start {
            self.attention.log_start_moved();
        }
    }
}
