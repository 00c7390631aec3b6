//! How far replicas are behind, for those who watch. Pure; nothing is decided by it.
//!
//! Source: Kafka 3.9 `Partition.isUnderReplicated`, `FetcherLagMetrics`; how long a replica has been behind
//! is ours.

use std::time::{Duration, Instant};

use broker_protocol::quantity::BrokerId;

use super::{PartitionState, Role};

/// A replica beside the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replication {
    /// Replicas in sync; 0 unless this broker leads.
    pub in_sync: u32,
    /// Replicas assigned, without those that a reassignment adds; 0 unless this broker leads.
    pub wanted: u32,
    /// Whether a reassignment is under way, as the leader knows.
    pub is_reassigning: bool,
    /// Whom it copies from.
    pub source: Option<BrokerId>,
    /// Records: of a leader, what the replica that is furthest behind lacks; of a follower, what it lacks
    /// below its leader's high watermark.
    pub lag: u64,
    /// Of a leader, for how long the replica that is latest has lacked records, as far as it saw it: one
    /// that never fetched from it counts from its beginning; zero where nobody lacks any.
    pub late_by: Duration,
}

impl PartitionState {
    /// Tells how this replica and the others stand to each other.
    pub fn replication(&self, now: Instant) -> Replication {
        let Some(leadership) = self.leadership() else { return Replication::default() };
        let lag = |end: i64, of: i64| end.saturating_sub(of).max(0) as u64;
        match self.role {
            Role::Leader => {
                let (start, end) = (self.log_start_offset, self.log_end_offset);
                // Of one that has not fetched yet nothing is known to be there.
                let behind =
                    self.followers.iter().map(|one| one.vouched_end().unwrap_or(start).max(start));
                let late = self.followers.iter().map(|one| one.late_by(end, now));
                let adding = leadership.adding.len();
                Replication {
                    in_sync: leadership.isr.len() as u32,
                    wanted: leadership.replicas.len().saturating_sub(adding) as u32,
                    is_reassigning: adding > 0 || !leadership.removing.is_empty(),
                    source: None,
                    lag: behind.map(|vouched| lag(end.0, vouched.0)).max().unwrap_or(0),
                    late_by: late.max().unwrap_or_default(),
                }
            }
            Role::Follower => Replication {
                source: leadership.leader,
                lag: lag(self.leader_high_watermark.0, self.log_end_offset.0),
                ..Replication::default()
            },
            Role::Offline | Role::Deleted => Replication::default(),
        }
    }
}
