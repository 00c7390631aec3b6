//! What this broker is for one partition, and how far its records may be seen. Pure: no log, no
//! clock, no lock, no I/O.
//!
//! Decides: leader or not, whether a request's leader epoch is ours, whether `acks=all` has enough
//! replicas, and the high watermark. Does not decide where bytes go (`broker_storage::log`) or who
//! leads (the controller).
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
//! * `high_watermark` (exclusive): the lowest such offset over the in-sync replicas; consumers see
//!   what is below it. It never moves back while this broker leads.
//!
//! Source: Kafka 3.9 `Partition`; the synced stable end is ours (design decision 9).

use broker_config::topic::Durability;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};

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

/// One other replica that is in sync, as its fetches have shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InSyncReplica {
    /// Who it is.
    pub broker: BrokerId,
    /// Everything below this offset is on that broker.
    pub log_end_offset: Offset,
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
    leader_epoch: LeaderEpoch,
    /// Replicas assigned, this broker included: `min.insync.replicas` cannot ask for more.
    assigned_replicas: u32,
    /// The in-sync replicas but this broker; empty in standalone.
    others: Vec<InSyncReplica>,
    durability: Durability,
    log_start_offset: Offset,
    synced_end_offset: Offset,
    log_end_offset: Offset,
    high_watermark: Offset,
}

impl PartitionState {
    /// Makes the state of a log that was just opened: everything in it was recovered, hence durable.
    ///
    /// The role is [`Role::Follower`] until [`PartitionState::become_leader`].
    pub fn opened(
        log_start_offset: Offset,
        log_end_offset: Offset,
        checkpointed_high_watermark: Offset,
        durability: Durability,
    ) -> Self {
        let high_watermark = checkpointed_high_watermark.clamp(log_start_offset, log_end_offset);
        let state = Self {
            role: Role::Follower,
            leader_epoch: LeaderEpoch(-1),
            assigned_replicas: 1,
            others: Vec::new(),
            durability,
            log_start_offset,
            synced_end_offset: log_end_offset,
            log_end_offset,
            high_watermark,
        };
        state.assert_order();
        state
    }

    /// Leads from now on in `leader_epoch`, with `others` in sync. Returns false, and changes nothing,
    /// when the epoch is older than the one already known.
    pub fn become_leader(
        &mut self,
        leader_epoch: LeaderEpoch,
        assigned_replicas: u32,
        others: Vec<InSyncReplica>,
    ) -> bool {
        if leader_epoch < self.leader_epoch || matches!(self.role, Role::Offline | Role::Deleted) {
            return false;
        }
        self.role = Role::Leader;
        self.leader_epoch = leader_epoch;
        self.assigned_replicas = assigned_replicas.max(1);
        self.others = others;
        self.advance();
        true
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
    }

    /// Checks that this broker leads, in the epoch that the client believes in.
    ///
    /// A negative epoch means that the client does not say (old versions, old metadata).
    ///
    /// # Errors
    /// Every [`StateError`] but `NotEnoughReplicas`.
    pub fn check_leader(&self, current_leader_epoch: LeaderEpoch) -> Result<(), StateError> {
        match self.role {
            Role::Offline => return Err(StateError::Offline),
            Role::Deleted => return Err(StateError::Deleted),
            Role::Leader | Role::Follower => {}
        }
        let (requested, current) = (current_leader_epoch, self.leader_epoch);
        if requested.0 >= 0 && requested < current {
            return Err(StateError::FencedLeaderEpoch { requested, current });
        }
        if requested.0 >= 0 && requested > current {
            return Err(StateError::UnknownLeaderEpoch { requested, current });
        }
        if self.role == Role::Leader { Ok(()) } else { Err(StateError::NotLeader) }
    }

    /// Checks that `acks=all` may be promised.
    ///
    /// # Errors
    /// `NotEnoughReplicas`.
    pub fn check_in_sync(&self, min_insync_replicas: u32) -> Result<(), StateError> {
        let in_sync = self.others.len() as u32 + 1;
        let required = required_in_sync(min_insync_replicas, self.assigned_replicas);
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

    /// Records how far an in-sync replica has fetched. Returns whether the high watermark moved.
    ///
    /// A broker that is not in sync changes nothing.
    pub fn replica_fetched(&mut self, broker: BrokerId, log_end_offset: Offset) -> bool {
        let Some(replica) = self.others.iter_mut().find(|replica| replica.broker == broker) else {
            return false;
        };
        replica.log_end_offset = log_end_offset;
        self.advance()
    }

    /// Records a new start of the log (retention, `DeleteRecords`).
    pub fn log_start_moved(&mut self, log_start_offset: Offset) {
        self.log_start_offset = self.log_start_offset.max(log_start_offset);
        // Whatever is deleted was below the high watermark, or is older than anyone may still read.
        self.synced_end_offset = self.synced_end_offset.max(self.log_start_offset);
        self.high_watermark = self.high_watermark.max(self.log_start_offset);
        self.assert_order();
    }

    /// Changes how `acks=all` is kept. Returns whether the high watermark moved.
    pub fn set_durability(&mut self, durability: Durability) -> bool {
        self.durability = durability;
        self.advance()
    }

    /// Returns what this broker is for the partition.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the epoch of the leader, -1 before there was one.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Returns the first offset that consumers do not see.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Returns the first offset that this broker does not vouch for yet.
    pub fn stable_end_offset(&self) -> Offset {
        match self.durability {
            Durability::Replicated => self.log_end_offset,
            Durability::Synced => self.synced_end_offset.max(self.high_watermark),
        }
    }

    /// Returns how `acks=all` is kept.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    fn advance(&mut self) -> bool {
        let before = self.high_watermark;
        if self.role == Role::Leader {
            let own = self.stable_end_offset();
            let ends = self.others.iter().map(|replica| replica.log_end_offset).chain([own]);
            self.high_watermark = next_high_watermark(before, ends).min(self.log_end_offset);
        }
        self.assert_order();
        self.high_watermark > before
    }

    fn assert_order(&self) {
        assert!(self.log_start_offset <= self.high_watermark, "log start above high watermark");
        assert!(self.high_watermark <= self.stable_end_offset(), "high watermark above stable end");
        assert!(self.stable_end_offset() <= self.log_end_offset, "stable end above log end");
    }
}

/// Returns the lowest end over the in-sync replicas, never less than `current`.
fn next_high_watermark(current: Offset, isr_ends: impl Iterator<Item = Offset>) -> Offset {
    isr_ends.min().map_or(current, |lowest| lowest.max(current))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(durability: Durability, others: Vec<InSyncReplica>) -> PartitionState {
        let mut state = PartitionState::opened(Offset(0), Offset(0), Offset(0), durability);
        assert!(state.become_leader(LeaderEpoch(5), 3, others));
        state
    }

    /// The high watermark is the lowest end in the ISR and never moves back.
    ///
    /// Method: pure table. A row is (name, current, ISR ends, expected).
    #[test]
    fn high_watermark_is_lowest_isr_end_and_monotonic() {
        let cases: [(&str, i64, &[i64], i64); 4] = [
            ("a leader alone advances it at once", 5, &[9], 9),
            ("the slowest member holds it back", 5, &[9, 7, 8], 7),
            ("a member that is behind cannot pull it back", 7, &[9, 3], 7),
            ("nothing new, nothing moves", 9, &[9, 9], 9),
        ];
        for (name, current, ends, expected) in cases {
            let ends = ends.iter().copied().map(Offset);
            assert_eq!(next_high_watermark(Offset(current), ends), Offset(expected), "{name}");
        }
    }

    #[test]
    fn a_replicated_topic_shows_a_record_at_once_and_a_synced_one_after_the_sync() {
        let mut replicated = leader(Durability::Replicated, Vec::new());
        assert!(replicated.appended(Offset(4)));
        assert_eq!(replicated.high_watermark(), Offset(4));

        let mut synced = leader(Durability::Synced, Vec::new());
        assert!(!synced.appended(Offset(4)));
        assert_eq!(synced.high_watermark(), Offset(0));
        assert!(synced.synced(Offset(3)));
        assert_eq!(synced.high_watermark(), Offset(3));
        assert!(!synced.synced(Offset(2)), "an older sync that ends later moves nothing");
        assert!(synced.synced(Offset(4)));
    }

    #[test]
    fn a_change_of_durability_moves_the_high_watermark_forward_only() {
        let mut state = leader(Durability::Synced, Vec::new());
        state.appended(Offset(4));
        assert!(state.set_durability(Durability::Replicated));
        assert_eq!(state.high_watermark(), Offset(4));
        assert!(!state.set_durability(Durability::Synced));
        assert_eq!(state.high_watermark(), Offset(4), "what was seen stays seen");
    }

    #[test]
    fn an_in_sync_replica_holds_the_high_watermark_back_until_it_fetches() {
        let other = InSyncReplica { broker: BrokerId(2), log_end_offset: Offset(0) };
        let mut state = leader(Durability::Replicated, vec![other]);
        assert!(!state.appended(Offset(4)));
        assert!(!state.replica_fetched(BrokerId(3), Offset(4)), "a stranger moves nothing");
        assert!(state.replica_fetched(BrokerId(2), Offset(3)));
        assert_eq!(state.high_watermark(), Offset(3));
    }

    /// Method: table of (name, role, epoch asked for, expected) against a state in epoch 5.
    #[test]
    fn requests_are_fenced_by_role_and_epoch() {
        let older =
            StateError::FencedLeaderEpoch { requested: LeaderEpoch(4), current: LeaderEpoch(5) };
        let newer =
            StateError::UnknownLeaderEpoch { requested: LeaderEpoch(6), current: LeaderEpoch(5) };
        let cases = [
            ("the client does not say", None, -1, Ok(())),
            ("the same epoch", None, 5, Ok(())),
            ("an older epoch", None, 4, Err(older)),
            ("a newer epoch", None, 6, Err(newer)),
            ("a broken disk comes first", Some(Role::Offline), 4, Err(StateError::Offline)),
            ("a deleted partition", Some(Role::Deleted), -1, Err(StateError::Deleted)),
        ];
        for (name, end, epoch, expected) in cases {
            let mut state = leader(Durability::Replicated, Vec::new());
            if let Some(role) = end {
                state.end(role);
            }
            assert_eq!(state.check_leader(LeaderEpoch(epoch)), expected, "{name}");
        }
        let follower =
            PartitionState::opened(Offset(0), Offset(0), Offset(0), Durability::Replicated);
        assert_eq!(follower.check_leader(LeaderEpoch(-1)), Err(StateError::NotLeader));
    }

    #[test]
    fn an_older_epoch_cannot_take_the_lead_and_an_ended_partition_never_leads_again() {
        let mut state = leader(Durability::Replicated, Vec::new());
        assert!(!state.become_leader(LeaderEpoch(4), 1, Vec::new()));
        assert_eq!(state.leader_epoch(), LeaderEpoch(5));
        state.end(Role::Deleted);
        state.end(Role::Offline);
        assert_eq!(state.role(), Role::Deleted);
        assert!(!state.become_leader(LeaderEpoch(9), 1, Vec::new()));
    }

    #[test]
    fn min_insync_replicas_never_asks_for_more_than_are_assigned() {
        let mut alone = PartitionState::opened(Offset(0), Offset(0), Offset(0), Durability::Synced);
        alone.become_leader(LeaderEpoch(0), 1, Vec::new());
        assert_eq!(alone.check_in_sync(2), Ok(()));
        let of_three = leader(Durability::Synced, Vec::new());
        let expected = StateError::NotEnoughReplicas { in_sync: 1, required: 2 };
        assert_eq!(of_three.check_in_sync(2), Err(expected));
    }

    #[test]
    fn the_start_of_the_log_carries_the_high_watermark_with_it() {
        let mut state = leader(Durability::Synced, Vec::new());
        state.appended(Offset(9));
        state.log_start_moved(Offset(6));
        assert_eq!(state.high_watermark(), Offset(6));
    }
}
