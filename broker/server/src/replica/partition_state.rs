//! What this broker is for one partition, and how far its records may be seen. Pure: no log, no
//! clock, no lock, no I/O.
//!
//! Decides: leader or not, whether a request's leader epoch is ours, whether `acks=all` has enough
//! replicas, the high watermark, and who should be in sync (`isr`). Does not decide where bytes go
//! (`broker_storage::log`) or who leads (the controller).
//!
//! Holds after every method, and asserted:
//!
//! ```text
//! log_start_offset <= high_watermark <= stable_end_offset <= log_end_offset
//! ```
//!
//! * `log_end_offset` (exclusive): what has been appended.
//! * `stable_end_offset` (exclusive): what this broker itself vouches for. For a topic of replicated
//!   durability that is the log end offset; for a synced topic what the group commit has made
//!   durable, since a record that a power cut can take back must not be seen before.
//! * `high_watermark` (exclusive): of a leader, the lowest such offset over the in-sync replicas, those
//!   that it asked the controller to add included; of a follower, what its leader said, as far as its own
//!   log vouches for it. Consumers see what is below it. It never moves back but with a truncation.
//!
//! Source: Kafka 3.9 `Partition`; the synced stable end is ours (design decision 9).

use std::time::Instant;

use broker_config::topic::Durability;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};

use super::progress::{Progress, ReplicaFetch};

mod isr;
mod lag;

pub use isr::{Committed, IsrAnswer, IsrProposal};
pub use lag::Replication;

/// What this broker is for the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Appends and serves reads.
    Leader,
    /// Copies from another broker; answers clients with "not leader".
    Follower,
    /// The log cannot be used: its directory failed.
    Offline,
    /// The partition was deleted or moved away; whoever still holds it looks it up again.
    Deleted,
}

/// What the controller says of a partition (one of `LeaderAndIsr`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// Who leads; nobody while no replica may.
    pub leader: Option<BrokerId>,
    /// How many leaders there have been.
    pub leader_epoch: LeaderEpoch,
    /// The version of this state; an ISR is changed against it.
    pub partition_epoch: i32,
    /// The replicas in sync, the leader included.
    pub isr: Vec<BrokerId>,
    /// All replicas assigned.
    pub replicas: Vec<BrokerId>,
    /// Those of them that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Those of them that a reassignment removes.
    pub removing: Vec<BrokerId>,
    /// Whether the leader was elected out of the ISR, so that records may be missing.
    pub recovering: bool,
}

impl Leadership {
    /// Makes the leadership of a broker that is alone in sync, of `assigned_replicas`.
    pub fn alone(leader: BrokerId, leader_epoch: LeaderEpoch, assigned_replicas: u32) -> Self {
        let others = 1..assigned_replicas.max(1) as i32;
        let others = others.map(|other| BrokerId(leader.0.saturating_add(other)));
        Self {
            leader: Some(leader),
            leader_epoch,
            partition_epoch: 0,
            isr: vec![leader],
            replicas: [leader].into_iter().chain(others).collect(),
            adding: Vec::new(),
            removing: Vec::new(),
            recovering: false,
        }
    }
}

/// The partition knows a newer state than the one it was told, or has ended. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("leader epoch {asked} is not above {known}")]
pub struct Stale {
    /// The epoch that was told.
    pub asked: LeaderEpoch,
    /// The epoch that holds here.
    pub known: LeaderEpoch,
}

/// What a step of the state machine changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use = "those who wait are woken by it"]
pub struct Moved {
    /// Whether the high watermark moved.
    pub high_watermark: bool,
    /// Whether a replica out of sync may now be in sync: a reason to propose another ISR.
    pub may_join: bool,
    /// Whether the log of another replica starts later than before.
    pub log_start: bool,
}

/// How many replicas must be in sync: `min.insync.replicas` above the number of replicas asks for all.
///
/// Source: Kafka 3.9 `Partition.effectiveMinIsr`.
pub fn required_in_sync(min_insync_replicas: u32, assigned_replicas: u32) -> u32 {
    min_insync_replicas.min(assigned_replicas)
}

/// Why a request is refused before the log is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another broker leads, or nobody does.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The log directory of the partition failed.
    #[error("the log directory of the partition is offline")]
    Offline,
    /// The partition is gone from this broker.
    #[error("the partition was deleted")]
    Deleted,
    /// The client knows an older leader than us and must refresh its metadata.
    #[error("leader epoch {requested} is older than {current}")]
    FencedLeaderEpoch {
        /// What the client said.
        requested: LeaderEpoch,
        /// What holds here.
        current: LeaderEpoch,
    },
    /// The client knows a newer leader than us; we shall hear of it.
    #[error("leader epoch {requested} is newer than {current}")]
    UnknownLeaderEpoch {
        /// What the client said.
        requested: LeaderEpoch,
        /// What holds here.
        current: LeaderEpoch,
    },
    /// `acks=all` asks for more replicas than are in sync.
    #[error("{in_sync} replicas are in sync, min.insync.replicas is {required}")]
    NotEnoughReplicas {
        /// Replicas in sync, this broker included.
        in_sync: u32,
        /// Replicas that `acks=all` asks for.
        required: u32,
    },
}

/// The state machine of one partition. Not shared: `Partition` holds it under its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    role: Role,
    /// As the controller last said, the ISR as it last confirmed it.
    leadership: Leadership,
    /// Whether nobody is followed, though the epoch stands: told nothing yet, or resigned.
    is_unled: bool,
    /// Where the log ended when this broker began to lead.
    epoch_start_offset: Offset,
    /// The other replicas, while this broker leads.
    followers: Vec<Progress>,
    /// What the controller was asked and has not answered.
    proposed: Option<IsrProposal>,
    durability: Durability,
    /// Where the log ended when the topic became a synced one.
    relaxed_end_offset: Offset,
    log_start_offset: Offset,
    synced_end_offset: Offset,
    log_end_offset: Offset,
    high_watermark: Offset,
    /// As the leader last said, also where this log does not reach it.
    leader_high_watermark: Offset,
    #[cfg(test)]
    pub(super) wrong: Option<tests::Wrong>,
}

impl PartitionState {
    /// Makes the state of a log that was just opened: everything in it was recovered, hence durable.
    ///
    /// The role is [`Role::Follower`], of nobody, until [`PartitionState::lead`].
    pub fn opened(
        log_start_offset: Offset,
        log_end_offset: Offset,
        checkpointed_high_watermark: Offset,
        durability: Durability,
    ) -> Self {
        let high_watermark = checkpointed_high_watermark.clamp(log_start_offset, log_end_offset);
        let leadership = Leadership {
            leader: None,
            leader_epoch: LeaderEpoch(-1),
            partition_epoch: -1,
            isr: Vec::new(),
            replicas: Vec::new(),
            adding: Vec::new(),
            removing: Vec::new(),
            recovering: false,
        };
        let state = Self {
            role: Role::Follower,
            leadership,
            is_unled: true,
            epoch_start_offset: log_end_offset,
            followers: Vec::new(),
            proposed: None,
            durability,
            relaxed_end_offset: log_start_offset,
            log_start_offset,
            synced_end_offset: log_end_offset,
            log_end_offset,
            high_watermark,
            leader_high_watermark: high_watermark,
            #[cfg(test)]
            wrong: None,
        };
        state.assert_order();
        state
    }

    /// Leads from now on, as `leadership` says.
    ///
    /// In the epoch that is led already only the ISR and the assignment are taken over. The high
    /// watermark stays this broker's own until the others have fetched.
    ///
    /// # Errors
    /// The epoch is older than the one known, or another broker leads in it.
    ///
    /// # Panics
    /// If the leader is not among the ISR.
    pub fn lead(&mut self, leadership: Leadership, now: Instant) -> Result<Moved, Stale> {
        let is_led = self.role == Role::Leader && leadership.leader == self.leadership.leader;
        self.check_newer(&leadership, is_led)?;
        let leader = leadership.leader;
        assert!(
            leader.is_some_and(|leader| leadership.isr.contains(&leader)),
            "a leader is in sync with itself: {leadership:?}"
        );
        let is_new = !is_led || leadership.leader_epoch > self.leadership.leader_epoch;
        assert!(
            leadership.leader_epoch >= self.leadership.leader_epoch,
            "leader epochs rise: {leadership:?}"
        );
        if is_new {
            self.followers.clear();
            self.epoch_start_offset = self.log_end_offset;
        }
        self.role = Role::Leader;
        self.is_unled = false;
        self.proposed = None;
        self.leadership = leadership;
        self.settle_followers(now);
        Ok(Moved { high_watermark: self.advance(), ..Moved::default() })
    }

    /// Follows `leadership.leader`, or nobody, from now on. Nothing is taken from it before the log was
    /// brought in line with its.
    ///
    /// # Errors
    /// The epoch is older than the one known, or this broker leads in it.
    pub fn follow(&mut self, leadership: Leadership) -> Result<(), Stale> {
        let is_followed =
            self.role == Role::Follower && leadership.leader == self.leadership.leader;
        self.check_newer(&leadership, is_followed)?;
        self.role = Role::Follower;
        self.is_unled = false;
        self.proposed = None;
        self.followers.clear();
        self.leadership = leadership;
        self.assert_order();
        Ok(())
    }

    /// Neither leads nor follows any more, until it is told anew: the epoch stands.
    pub fn resign(&mut self) {
        if matches!(self.role, Role::Leader | Role::Follower) {
            self.role = Role::Follower;
            self.is_unled = true;
            self.proposed = None;
            self.followers.clear();
            self.leadership.leader = None;
        }
        self.assert_order();
    }

    /// Gives up for good: the directory failed, or the partition was deleted.
    ///
    /// # Panics
    /// When asked to become anything that serves.
    pub fn end(&mut self, role: Role) {
        assert!(matches!(role, Role::Offline | Role::Deleted), "{role:?} is not an end");
        // Deleted stays deleted: nobody may take a gone partition for one on a broken disk.
        if self.role != Role::Deleted {
            self.role = role;
        }
        self.proposed = None;
        self.followers.clear();
    }

    /// Checks that this broker leads, in the epoch that the client believes in.
    ///
    /// A negative epoch means that the client does not say (old versions, old metadata).
    ///
    /// # Errors
    /// Every [`StateError`] but `NotEnoughReplicas`.
    pub fn check_leader(&self, current_leader_epoch: LeaderEpoch) -> Result<(), StateError> {
        self.check_epoch(current_leader_epoch)?;
        if self.role == Role::Leader { Ok(()) } else { Err(StateError::NotLeader) }
    }

    /// Checks that this broker leads or follows, in the epoch that the client believes in: either may serve
    /// what is below its high watermark.
    ///
    /// # Errors
    /// As [`PartitionState::check_leader`].
    pub fn check_replica_here(&self, current_leader_epoch: LeaderEpoch) -> Result<(), StateError> {
        self.check_epoch(current_leader_epoch)?;
        if self.is_unled { Err(StateError::NotLeader) } else { Ok(()) }
    }

    /// Checks that the log can be used, leader or not, in the epoch that the client believes in.
    ///
    /// # Errors
    /// As [`PartitionState::check_leader`], but for `NotLeader`.
    pub fn check_epoch(&self, current_leader_epoch: LeaderEpoch) -> Result<(), StateError> {
        match self.role {
            Role::Offline => return Err(StateError::Offline),
            Role::Deleted => return Err(StateError::Deleted),
            Role::Leader | Role::Follower => {}
        }
        let (requested, current) = (current_leader_epoch, self.leadership.leader_epoch);
        if requested.0 >= 0 && requested < current {
            return Err(StateError::FencedLeaderEpoch { requested, current });
        }
        if requested.0 >= 0 && requested > current {
            return Err(StateError::UnknownLeaderEpoch { requested, current });
        }
        Ok(())
    }

    /// Checks that this broker follows in exactly the epoch in which something was asked of the leader.
    ///
    /// # Errors
    /// The epoch has changed since, or this broker follows nobody.
    pub fn check_follower(&self, expected_epoch: LeaderEpoch) -> Result<(), StateError> {
        self.check_epoch(expected_epoch)?;
        if self.role == Role::Follower && self.leadership.leader.is_some() {
            Ok(())
        } else {
            Err(StateError::NotLeader)
        }
    }

    /// Checks that `broker` may fetch as a replica.
    ///
    /// # Errors
    /// It is not among the replicas assigned, as far as is known here.
    pub fn check_replica(
        &self,
        broker: BrokerId,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<(), StateError> {
        let (requested, current) = (current_leader_epoch, self.leadership.leader_epoch);
        match self.followers.iter().any(|follower| follower.broker() == broker) {
            true => Ok(()),
            // It may know of a reassignment that we have not heard of.
            false if requested.0 >= 0 => Err(StateError::UnknownLeaderEpoch { requested, current }),
            false => Err(StateError::NotLeader),
        }
    }

    /// Checks that `acks=all` may be promised: by the ISR that the controller has confirmed.
    ///
    /// # Errors
    /// `NotEnoughReplicas`.
    pub fn check_in_sync(&self, min_insync_replicas: u32) -> Result<(), StateError> {
        self.check_count(self.leadership.isr.len(), min_insync_replicas)
    }

    /// Checks that `acks=all` is kept, once the high watermark is there: everyone whom it waited for
    /// counts.
    ///
    /// # Errors
    /// `NotEnoughReplicas`: the records are there, and fewer replicas have them than was asked for.
    ///
    /// Source: Kafka 3.9 `Partition.checkEnoughReplicasReachOffset`.
    pub fn check_still_in_sync(&self, min_insync_replicas: u32) -> Result<(), StateError> {
        self.check_count(self.maximal_isr().count(), min_insync_replicas)
    }

    fn check_count(&self, in_sync: usize, min_insync_replicas: u32) -> Result<(), StateError> {
        let in_sync = in_sync.max(1) as u32;
        let assigned = self.leadership.replicas.len().max(1) as u32;
        let required = required_in_sync(min_insync_replicas, assigned);
        if in_sync < required {
            return Err(StateError::NotEnoughReplicas { in_sync, required });
        }
        Ok(())
    }

    /// Records that the log now ends at `log_end_offset`. Returns whether the high watermark moved.
    ///
    /// # Panics
    /// If the end moves back.
    pub fn appended(&mut self, log_end_offset: Offset) -> bool {
        assert!(log_end_offset >= self.log_end_offset, "an append moves the log end forward");
        self.log_end_offset = log_end_offset;
        self.advance()
    }

    /// Records that everything below `end` is durable here. Returns whether the high watermark moved.
    ///
    /// # Panics
    /// If nothing was appended there.
    pub fn synced(&mut self, end: Offset) -> bool {
        assert!(end <= self.log_end_offset, "only what was appended can be synced");
        self.synced_end_offset = self.synced_end_offset.max(end);
        self.advance()
    }

    /// Returns whether `fetch`, which is yet to be recorded, shows a member of the ISR that has lost what was
    /// committed: the first of an epoch, below the high watermark. A later one may only have waited.
    pub fn lacks_committed(&self, fetch: &ReplicaFetch) -> bool {
        let mut followers = self.followers.iter();
        self.role == Role::Leader
            && fetch.offset < self.high_watermark
            && self.leadership.isr.contains(&fetch.broker)
            && followers.any(|it| it.broker() == fetch.broker && it.vouched_end().is_none())
    }

    /// Records a fetch of another replica, whose leader epoch was found to be ours.
    ///
    /// A broker that is no replica, or a fetch that comes when this broker no longer leads, changes
    /// nothing.
    ///
    /// # Panics
    /// If the fetch is of another epoch.
    pub fn replica_fetched(&mut self, fetch: &ReplicaFetch) -> Moved {
        if self.role != Role::Leader {
            return Moved::default();
        }
        assert!(
            fetch.leader_epoch.0 < 0 || fetch.leader_epoch == self.leadership.leader_epoch,
            "a fetch of another epoch shows nothing in this one: {fetch:?}"
        );
        let leader_end = self.log_end_offset;
        let follower = self.followers.iter_mut().find(|known| known.broker() == fetch.broker);
        let Some(follower) = follower else { return Moved::default() };
        let log_start = follower.fetched(fetch, leader_end);
        let high_watermark = self.advance();
        let may_join = self.may_join(fetch.broker);
        Moved { high_watermark, may_join, log_start }
    }

    /// Records what a fetch from the leader gave: the log now ends at `end`.
    ///
    /// The high watermark is believed as far as this broker vouches for its own log.
    ///
    /// # Panics
    /// If this broker does not follow, or the end moves back.
    pub fn followed(&mut self, end: Offset, leader_high_watermark: Offset) -> bool {
        assert_eq!(self.role, Role::Follower, "only a follower is told of a high watermark");
        assert!(end >= self.log_end_offset, "a fetch moves the log end forward");
        self.log_end_offset = end;
        self.leader_high_watermark = leader_high_watermark;
        let before = self.high_watermark;
        self.high_watermark = before.max(leader_high_watermark.min(self.vouched_end_offset()));
        self.assert_order();
        self.high_watermark > before
    }

    /// Records that the log was cut, and now begins at `log_start_offset` and ends at `end`.
    ///
    /// # Panics
    /// If this broker leads: a leader's log is the truth.
    pub fn truncated(&mut self, log_start_offset: Offset, end: Offset) {
        assert_ne!(self.role, Role::Leader, "a leader does not truncate");
        assert!(log_start_offset <= end, "a log starts at or below its end");
        self.log_start_offset = log_start_offset;
        self.log_end_offset = end;
        self.synced_end_offset = self.synced_end_offset.clamp(log_start_offset, end);
        self.high_watermark = self.high_watermark.clamp(log_start_offset, end);
        self.assert_order();
    }

    /// Records a new start of the log (retention, `DeleteRecords`).
    pub fn log_start_moved(&mut self, log_start_offset: Offset) {
        self.log_start_offset = self.log_start_offset.max(log_start_offset);
        // Whatever is deleted was below the high watermark, or is older than anyone may still read.
        self.synced_end_offset = self.synced_end_offset.max(self.log_start_offset);
        self.high_watermark = self.high_watermark.max(self.log_start_offset);
        self.assert_order();
    }

    /// Returns the first offset that any of the replicas still has, of those that live; -1 while one has not
    /// said where its log starts.
    ///
    /// Source: Kafka 3.9 `Partition.lowWatermarkIfLeader`.
    pub fn low_watermark(&self, is_alive: &dyn Fn(BrokerId) -> bool) -> Offset {
        let others = self.followers.iter().filter(|follower| is_alive(follower.broker()));
        let starts = others.map(|follower| follower.log_start_offset().unwrap_or(Offset(-1)));
        starts.fold(self.log_start_offset, Offset::min)
    }

    /// Changes how `acks=all` is kept. Returns whether the high watermark moved.
    pub fn set_durability(&mut self, durability: Durability) -> bool {
        if self.durability == Durability::Replicated {
            self.relaxed_end_offset = self.log_end_offset;
        }
        self.durability = durability;
        self.advance()
    }

    /// Returns what this broker is for the partition.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the epoch of the leader, -1 before there was one.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leadership.leader_epoch
    }

    /// Returns what the controller last said, if it still holds: nothing before it said anything, and
    /// after this broker resigned.
    pub fn leadership(&self) -> Option<&Leadership> {
        (!self.is_unled).then_some(&self.leadership)
    }

    /// Returns the other replicas, as far as they are known; none unless this broker leads.
    pub fn followers(&self) -> &[Progress] {
        &self.followers
    }

    /// Returns where the log ended when this broker began to lead.
    pub fn epoch_start_offset(&self) -> Offset {
        self.epoch_start_offset
    }

    /// Returns the first offset that consumers do not see.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Returns the offset after the last record.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// Returns the first offset that this broker does not vouch for: where it fetches from a leader.
    pub fn vouched_end_offset(&self) -> Offset {
        match self.durability {
            Durability::Replicated => self.log_end_offset,
            Durability::Synced => self.synced_end_offset,
        }
    }

    /// Returns the first offset that this broker does not vouch for yet; never below the high watermark,
    /// for what was seen stays seen when a topic becomes a synced one.
    pub fn stable_end_offset(&self) -> Offset {
        self.vouched_end_offset().max(self.high_watermark)
    }

    /// Returns whether what was appended before the topic became a synced one is synced, too; nothing if it is
    /// none.
    pub fn is_synced_whole(&self) -> Option<bool> {
        // What was cut off since needs no sync.
        let end = self.relaxed_end_offset.min(self.log_end_offset);
        (self.durability == Durability::Synced).then_some(self.synced_end_offset >= end)
    }

    /// Returns how `acks=all` is kept.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    fn check_newer(&self, asked: &Leadership, is_same_leader: bool) -> Result<(), Stale> {
        let known = self.leadership.leader_epoch;
        let has_ended = matches!(self.role, Role::Offline | Role::Deleted);
        let is_older = asked.leader_epoch < known;
        let is_known = asked.leader_epoch == known && !self.is_unled;
        let is_refresh = is_same_leader && asked.partition_epoch >= self.leadership.partition_epoch;
        if has_ended || is_older || (is_known && !is_refresh) {
            return Err(Stale { asked: asked.leader_epoch, known });
        }
        Ok(())
    }

    /// Brings the list of followers in line with the assignment; what is known of those that stay, stays.
    fn settle_followers(&mut self, now: Instant) {
        let Leadership { leader, replicas, isr, .. } = &self.leadership;
        self.followers.retain(|known| replicas.contains(&known.broker()));
        for broker in replicas.iter().chain(isr).copied() {
            let is_known = self.followers.iter().any(|known| known.broker() == broker);
            if Some(broker) != *leader && !is_known {
                let is_in_sync = isr.contains(&broker);
                self.followers.push(Progress::unknown(broker, is_in_sync, now));
            }
        }
    }

    fn advance(&mut self) -> bool {
        let before = self.high_watermark;
        if self.role == Role::Leader {
            let vouched = self.vouched_by_isr();
            if let Some(lowest) = vouched.filter(|lowest| *lowest > before) {
                self.high_watermark = lowest;
            }
            assert!(
                self.high_watermark == before || self.is_vouched_for(self.high_watermark),
                "the high watermark moves only where all that may be elected vouch for it"
            );
        }
        self.assert_order();
        self.high_watermark > before
    }

    /// Returns the lowest end that the maximal ISR vouches for; none while a member has not fetched.
    fn vouched_by_isr(&self) -> Option<Offset> {
        let own = self.vouched_end_offset();
        let leader = self.leadership.leader;
        self.waited_for().try_fold(own, |lowest, broker| {
            if Some(broker) == leader {
                return Some(lowest);
            }
            let follower = self.followers.iter().find(|known| known.broker() == broker)?;
            follower.vouched_end().map(|end| end.min(lowest))
        })
    }

    /// Whether this broker and every member of the maximal ISR has everything below `offset`.
    fn is_vouched_for(&self, offset: Offset) -> bool {
        let has = |known: &Progress| known.vouched_end().is_some_and(|end| end >= offset);
        // A test has broken a rule on purpose.
        #[cfg(test)]
        let is_wrong = self.wrong.is_some();
        #[cfg(not(test))]
        let is_wrong = false;
        offset <= self.vouched_end_offset()
            && self.maximal_isr().all(|member| {
                let follower = self.followers.iter().find(|known| known.broker() == member);
                Some(member) == self.leadership.leader || is_wrong || follower.is_some_and(has)
            })
    }

    fn assert_order(&self) {
        assert!(self.log_start_offset <= self.high_watermark, "log start above high watermark");
        assert!(self.high_watermark <= self.stable_end_offset(), "high watermark above stable end");
        assert!(self.stable_end_offset() <= self.log_end_offset, "stable end above log end");
        let is_idle = self.followers.is_empty() && self.proposed.is_none();
        assert!(self.role == Role::Leader || is_idle, "only a leader knows of others");
    }
}

#[cfg(test)]
mod tests;
