//! Cuts logs that differ from their leaders', many at a time.
//!
//! Waits for the disk. Source: KIP-101, KIP-279.

use std::sync::Arc;

use broker_protocol::quantity::LeaderEpoch;

use super::Manager;
use crate::replica::partition::Partition;
use crate::replica::partition::follower::{Cut, TruncateError};

/// A log to cut.
#[derive(Debug, Clone)]
pub struct Truncation {
    /// The partition.
    pub partition: Arc<Partition>,
    /// The epoch in which its leader was asked: nothing is cut in another.
    pub leader_epoch: LeaderEpoch,
    /// Where.
    pub cut: Cut,
}

/// What a cut did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutDone {
    /// Whether the log now agrees with the leader's as far as it goes; otherwise the leader is to be asked
    /// again.
    pub is_complete: bool,
}

impl Manager {
    /// Cuts logs, durably; answers in the same order. Nothing of what a leader answered may be appended
    /// before this returns.
    pub fn truncate(&self, truncations: &[Truncation]) -> Vec<Result<CutDone, TruncateError>> {
        let now = self.clock.wall();
        let mut done = Vec::with_capacity(truncations.len());
        for Truncation { partition, leader_epoch, cut } in truncations {
            done.push(partition.truncate(*leader_epoch, *cut, now).map(|truncated| {
                self.bury(partition, truncated.deleted);
                CutDone { is_complete: truncated.is_complete }
            }));
        }
        self.checkpoint_recovery_points();
        done
    }
}
