//! Who is in sync: what the leader asks of the controller, and what it makes of the answer. Pure.
//!
//! One proposal at a time. Until it is answered the high watermark waits for the members of both the
//! ISR that the controller confirmed and the one that was proposed (the *maximal* ISR): whichever of
//! them a new leader is chosen from, everything below the high watermark is there.
//!
//! A replica joins once it has fetched, in this epoch, from the high watermark or above it and from
//! where the epoch began or above it, and as long as it lives. It is proposed with the registration that it
//! fetched with: whether that is the one it has now, the controller knows. It leaves when it lacks records
//! for longer than `replica.lag.time.max.ms`.
//!
//! Source: Kafka 3.9 `Partition.maybeExpandIsr`, `maybeShrinkIsr`, `handleAlterPartitionUpdate`.

use std::time::{Duration, Instant};

use broker_protocol::quantity::{BrokerId, LeaderEpoch};

use super::{Moved, PartitionState, Role};
use crate::planted::{self, Bug};
use crate::replica::progress::{NO_BROKER_EPOCH, Progress};

/// An ISR that the leader asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposal {
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The version of the state that it changes.
    pub partition_epoch: i32,
    /// The members, each with its registration ([`NO_BROKER_EPOCH`] where it is not known).
    pub isr: Vec<(BrokerId, i64)>,
}

/// A state of the partition that the controller has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The epoch of the leader.
    pub leader_epoch: LeaderEpoch,
    /// The version of the state.
    pub partition_epoch: i32,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// Whether the leader was elected out of the ISR.
    pub recovering: bool,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsrAnswer {
    /// This is the state now; most often the one proposed.
    Committed(Committed),
    /// It was not done and will not be: a member may not be in sync. Another may be proposed, later.
    Refused,
    /// The controller knows a newer state than we, and will tell us. Whether ours was written is not
    /// known: its members count until then. Where no word comes it is asked for again.
    Awaited,
}

impl PartitionState {
    /// Returns those whom the high watermark waits for, this broker included: the ISR that the
    /// controller confirmed, and whom it was asked to add.
    pub fn maximal_isr(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let proposed = self.proposed.iter().flat_map(|proposal| &proposal.isr);
        let is_wrong = self.proposed.is_some() && planted::is(Bug::ProposedIsrOnly);
        let confirmed = if is_wrong { [].as_slice() } else { &self.leadership.isr };
        let added = proposed.map(|(broker, _)| *broker).filter(|id| !confirmed.contains(id));
        confirmed.iter().copied().chain(added)
    }

    /// Returns how many replicas the controller has confirmed to be in sync; 0 unless this broker leads.
    pub fn in_sync_count(&self) -> usize {
        self.in_sync().len()
    }

    /// Returns the replicas that the controller has confirmed to be in sync; none unless this broker leads.
    pub fn in_sync(&self) -> &[BrokerId] {
        if self.role == Role::Leader { &self.leadership.isr } else { &[] }
    }

    /// Returns what waits for the controller's answer.
    pub fn proposed(&self) -> Option<&IsrProposal> {
        self.proposed.as_ref()
    }

    /// Decides whether another ISR is due, and remembers that it was asked for.
    ///
    /// `lives` says whether a broker is registered, as far as is known here.
    pub fn propose(
        &mut self,
        now: Instant,
        lag_max: Duration,
        lives: &dyn Fn(BrokerId) -> bool,
    ) -> Option<IsrProposal> {
        if self.role != Role::Leader || self.proposed.is_some() {
            return None;
        }
        let confirmed = &self.leadership.isr;
        let leader_end = self.log_end_offset;
        let is_late = |broker: &BrokerId| {
            let follower = self.followers.iter().find(|known| known.broker() == *broker);
            follower.is_some_and(|known| known.is_out_of_sync(leader_end, now, lag_max))
        };
        let joins = |follower: &&Progress| {
            let broker = follower.broker();
            !confirmed.contains(&broker) && self.is_at_high_watermark(follower) && lives(broker)
        };
        let stay = confirmed.iter().copied().filter(|broker| !is_late(broker));
        let join = self.followers.iter().filter(joins).map(Progress::broker);
        let isr: Vec<_> = stay.chain(join).collect();
        if isr == *confirmed {
            return None;
        }
        let epoch_of = |broker: BrokerId| {
            let follower = self.followers.iter().find(|known| known.broker() == broker);
            (broker, follower.map_or(NO_BROKER_EPOCH, Progress::broker_epoch))
        };
        let proposal = IsrProposal {
            leader_epoch: self.leadership.leader_epoch,
            partition_epoch: self.leadership.partition_epoch,
            isr: isr.into_iter().map(epoch_of).collect(),
        };
        self.proposed = Some(proposal.clone());
        self.assert_leader_in_isr();
        Some(proposal)
    }

    /// Takes in what became of `proposal`; an answer to another than the one that waits changes nothing.
    pub fn answered(&mut self, proposal: &IsrProposal, answer: IsrAnswer) -> Moved {
        if self.role != Role::Leader || self.proposed.as_ref() != Some(proposal) {
            return Moved::default();
        }
        match answer {
            IsrAnswer::Awaited => return Moved::default(),
            IsrAnswer::Refused => {
                self.proposed = None;
                // Its next fetch has it proposed again: the controller may know better by then.
                return Moved { high_watermark: self.advance(), ..Moved::default() };
            }
            IsrAnswer::Committed(committed) => {
                let is_ours = committed.leader_epoch == self.leadership.leader_epoch
                    && committed.partition_epoch >= self.leadership.partition_epoch;
                if !is_ours {
                    // Another leader by now, of which we shall hear.
                    return Moved::default();
                }
                self.proposed = None;
                self.leadership.partition_epoch = committed.partition_epoch;
                self.leadership.isr = committed.isr;
                self.leadership.recovering = committed.recovering;
            }
        }
        self.assert_leader_in_isr();
        let high_watermark = self.advance();
        let confirmed = &self.leadership.isr;
        let may_join = self
            .followers
            .iter()
            .any(|known| !confirmed.contains(&known.broker()) && self.is_at_high_watermark(known));
        Moved { high_watermark, may_join, log_start: false }
    }

    /// Returns whether a member of the ISR lacks records: it may have to leave.
    pub fn has_laggard(&self) -> bool {
        let isr = &self.leadership.isr;
        self.followers.iter().any(|follower| {
            let is_level = follower.vouched_end().is_some_and(|end| end >= self.log_end_offset);
            isr.contains(&follower.broker()) && !is_level
        })
    }

    /// Returns whether a replica out of sync has what a member must have, and nothing is proposed.
    pub fn has_joiner(&self) -> bool {
        self.role == Role::Leader
            && self.followers.iter().any(|follower| self.may_join(follower.broker()))
    }

    pub(super) fn may_join(&self, broker: BrokerId) -> bool {
        self.proposed.is_none()
            && !self.leadership.isr.contains(&broker)
            && self
                .followers
                .iter()
                .any(|known| known.broker() == broker && self.is_at_high_watermark(known))
    }

    /// Returns those whom the high watermark waits for.
    pub(super) fn waited_for(&self) -> impl Iterator<Item = BrokerId> + '_ {
        #[cfg(not(test))]
        return self.maximal_isr();
        #[cfg(test)]
        self.maximal_isr().filter(|broker| {
            self.wrong
                .is_none_or(|wrong| wrong.waits_for(*broker, &self.leadership.isr, self.proposed()))
        })
    }

    fn is_at_high_watermark(&self, follower: &Progress) -> bool {
        #[cfg(test)]
        if self.wrong == Some(super::tests::Wrong::JoinBeforeHighWatermark) {
            return true;
        }
        let from = self.high_watermark.max(self.epoch_start_offset);
        follower.vouched_end().is_some_and(|end| end >= from)
    }

    fn assert_leader_in_isr(&self) {
        let leader = self.leadership.leader;
        assert!(
            leader.is_none_or(|leader| self.maximal_isr().any(|member| member == leader)),
            "a leader does not leave the ISR: {:?}",
            self.leadership
        );
        let proposed = self.proposed.as_ref();
        assert!(
            proposed.is_none_or(|it| it.leader_epoch == self.leadership.leader_epoch),
            "a proposal is of the present epoch"
        );
    }
}
