//! Cuts logs that differ from their leaders', many at a time.
//!
//! For all of them together: the recovery points are brought down to where the cuts will be, one write a
//! directory; the logs are cut; the commit threads sync the files that changed. A crash on the way leaves
//! what was there before or what is left of it, never more of the one behind the other.
//!
//! Waits for the disk. Source: KIP-101, KIP-279; the order is ours (Kafka cuts and flushes one by one).

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::commit::CommitError;
use broker_storage::log_dir::LogDir;

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
    /// Where the fetch asked from that showed the difference.
    pub fetch_offset: Offset,
    /// The epoch of the record before.
    pub last_fetched_epoch: LeaderEpoch,
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

/// How a sync ends.
type Ended = mpsc::Receiver<Result<(), CommitError>>;

impl Manager {
    /// Cuts logs, durably; answers in the same order. Nothing of what a leader answered may be appended
    /// before this returns.
    pub fn truncate(&self, truncations: &[Truncation]) -> Vec<Result<CutDone, TruncateError>> {
        let started: Vec<_> = {
            // A checkpoint in between would bring the old recovery points back.
            let _turn = self.checkpointing.lock();
            let lowered = lower_recovery_points(truncations);
            let cut = |truncation: &Truncation| match lowered.get(&dir_key(truncation)) {
                Some(Err(())) => Err(TruncateError::Offline),
                Some(Ok(())) | None => self.cut(truncation),
            };
            truncations.iter().map(cut).collect()
        };
        started.into_iter().map(|started| started.and_then(finish)).collect()
    }

    fn cut(&self, truncation: &Truncation) -> Result<(CutDone, Option<Ended>), TruncateError> {
        let Truncation { partition, leader_epoch, fetch_offset, last_fetched_epoch, cut } =
            truncation;
        let asked_from = (*fetch_offset, *last_fetched_epoch);
        let now = self.clock.wall();
        let truncated = partition.truncate(*leader_epoch, asked_from, *cut, now)?;
        self.bury(partition, truncated.deleted);
        let ended = truncated.unsynced.map(|point| {
            let (done, ended) = mpsc::channel();
            partition.sync_then(point, Box::new(move |outcome| _ = done.send(outcome)));
            ended
        });
        Ok((CutDone { is_complete: truncated.is_complete }, ended))
    }
}

/// Brings recovery points down to the cuts, by directory.
fn lower_recovery_points(truncations: &[Truncation]) -> BTreeMap<usize, Result<(), ()>> {
    let mut by_dir: BTreeMap<usize, (Arc<LogDir>, BTreeMap<TopicPartition, Offset>)> =
        BTreeMap::new();
    for truncation in truncations {
        let Truncation { partition, leader_epoch, cut, .. } = truncation;
        if let Ok(Some(offset)) = partition.planned_cut(*leader_epoch, *cut) {
            let of_dir = by_dir.entry(dir_key(truncation));
            let (_, offsets) = of_dir.or_insert_with(|| (partition.dir(), BTreeMap::new()));
            offsets.insert(partition.name().clone(), offset);
        }
    }
    let lower = |(key, (dir, offsets)): (usize, (Arc<LogDir>, _))| {
        let lowered = dir.lower_recovery_points(&offsets).map_err(|error| {
            tracing::error!(dir = %dir.path().display(), %error, "logs are not cut");
        });
        (key, lowered)
    };
    by_dir.into_iter().map(lower).collect()
}

/// Waits until a cut is durable.
fn finish((done, ended): (CutDone, Option<Ended>)) -> Result<CutDone, TruncateError> {
    let Some(ended) = ended else { return Ok(done) };
    let outcome =
        ended.recv().unwrap_or_else(|_| unreachable!("the commit thread answers everybody"));
    outcome.map_err(TruncateError::Sync)?;
    Ok(done)
}

/// Returns a number that is one directory's.
fn dir_key(truncation: &Truncation) -> usize {
    Arc::as_ptr(&truncation.partition.dir()).addr()
}
