//! Compaction in the background: which log next, how fast, with how much memory, and when to stop.
//!
//! A round reads without the partition's lock and takes it only to swap segments in. Up to
//! `log.cleaner.threads` rounds run at once, each on a blocking thread that lives as long as there is
//! something to compact: a broker whose logs are clean holds no thread and no map of keys. Settings are
//! read anew for each round, the rate for each batch, so that a change takes effect without a restart.
//!
//! Old segments of a topic with `cleanup.policy=compact,delete` go with those of all other topics, in
//! [`Manager::keep`]; a round that finds its sources gone ends without harm.
//!
//! Errors: a damaged log is not compacted again before the next start; a failed disk takes the
//! directory offline; a full disk is tried again after the back-off.
//! Source: Kafka 3.9 `LogCleaner`, `LogCleanerManager`.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use broker_config::broker::BrokerConfig;
use broker_storage::cleaner::{
    self, CleanError, Cleanable, CleanedSegment, MapLimit, Report, Round,
};
use parking_lot::{Condvar, Mutex};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::manager::Manager;
use super::partition::Partition;
use crate::dynamic_config::SharedConfig;

mod logs;
mod throttle;

use logs::{Logs, Uncleanable};
use throttle::Throttle;

/// The shortest back-off, whatever the settings say: a search costs a look at every compacted log.
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// How long a throttled round waits before it looks at the rate again.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What is known of compaction since the start. Counts only grow.
#[derive(Debug, Default)]
pub struct Facts {
    /// Rounds that were finished.
    pub rounds: AtomicU64,
    /// Rounds that failed.
    pub failures: AtomicU64,
    /// Bytes of segments read for copying.
    pub bytes_read: AtomicU64,
    /// Bytes of segments written.
    pub bytes_written: AtomicU64,
    /// Records read for copying.
    pub records_read: AtomicU64,
    /// Records kept.
    pub records_kept: AtomicU64,
    /// How long the last finished round took, in milliseconds.
    pub last_round_ms: AtomicU64,
    /// When a log to compact was last looked for, in milliseconds since the epoch; 0 for never.
    pub last_search_ms: AtomicI64,
    /// The largest share of dirty bytes that the last search met, in thousandths.
    pub dirty_permille_max: AtomicU64,
    /// Logs that are not compacted any more.
    pub uncleanable: AtomicUsize,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A log was compacted, or given up: there may be another.
    Again,
    /// There is nothing to do, or no sense in trying again at once.
    Rest,
}

/// Compacts logs. Shared; the only one who does.
#[derive(Debug)]
pub struct Cleaner {
    manager: Arc<Manager>,
    config: SharedConfig,
    logs: Mutex<Logs>,
    throttle: Throttle,
    is_stopped: Mutex<bool>,
    stopped: Condvar,
    facts: Facts,
}

impl Cleaner {
    /// Reads how far the logs of `manager` are clean. Waits for the disk.
    pub fn new(manager: Arc<Manager>, config: SharedConfig) -> Arc<Self> {
        let logs = Mutex::new(Logs::read(&manager));
        Arc::new(Self {
            manager,
            config,
            logs,
            throttle: Throttle::default(),
            is_stopped: Mutex::new(false),
            stopped: Condvar::new(),
            facts: Facts::default(),
        })
    }

    /// Returns what is known of compaction.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Compacts until `shutdown`, then waits for the rounds in progress, which end at their next batch.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut rounds = JoinSet::new();
        let mut is_resting = true;
        loop {
            let config = self.config.load_full();
            let threads = config.log_cleaner_threads.max(0) as usize;
            while !is_resting && rounds.len() < threads {
                let cleaner = Arc::clone(&self);
                rounds.spawn_blocking(move || cleaner.turn());
            }
            let backoff = Duration::from_millis(config.log_cleaner_backoff_ms.max(0) as u64);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = rounds.join_next() => {
                    is_resting = self.ended(ended) == Turn::Rest;
                }
                () = tokio::time::sleep(backoff.max(BACKOFF_MIN)) => is_resting = false,
            }
        }
        self.stop();
        while rounds.join_next().await.is_some() {}
    }

    fn ended(&self, ended: Result<Turn, tokio::task::JoinError>) -> Turn {
        ended.unwrap_or_else(|error| {
            self.facts.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "compaction of a log ended in the middle");
            Turn::Rest
        })
    }

    /// Ends the rounds in progress at their next batch, and lets no new one begin.
    pub fn stop(&self) {
        *self.is_stopped.lock() = true;
        self.stopped.notify_all();
    }

    /// Compacts the dirtiest log that is due and that nobody else compacts. Waits for the disk.
    pub fn turn(&self) -> Turn {
        if *self.is_stopped.lock() {
            return Turn::Rest;
        }
        let limit = map_limit(&self.config.load());
        let wall = self.manager.clock().wall();
        let found =
            self.logs.lock().take_dirtiest(&self.manager, limit.size_max, wall, &self.facts);
        self.facts.last_search_ms.store(wall.0, Ordering::Relaxed);
        let Some((partition, cleanable)) = found else { return Turn::Rest };
        // Gives the log back even if the round panics.
        let in_progress = InProgress { cleaner: self, partition: &partition };
        let began = self.manager.clock().now();
        let outcome = self.compact(&partition, cleanable, limit);
        drop(in_progress);
        match outcome {
            Ok(report) => {
                let took = self.manager.clock().now().saturating_duration_since(began);
                self.finished(&partition, &report, took);
                Turn::Again
            }
            Err(error) => self.failed(&partition, &error, limit),
        }
    }

    fn compact(
        &self,
        partition: &Arc<Partition>,
        cleanable: Cleanable,
        limit: MapLimit,
    ) -> Result<Report, CleanError> {
        let swap_error = |source| CleanError::Swap { dir: partition.dir().path().into(), source };
        let snapshot = partition.snapshot_for_cleaner(cleanable).map_err(swap_error)?;
        let snapshot = snapshot.ok_or(CleanError::Stopped)?;
        let mut round = Swapping { cleaner: self, partition };
        cleaner::clean(&snapshot, limit, self.manager.clock().wall(), &mut round)
    }

    fn finished(&self, partition: &Partition, report: &Report, took: Duration) {
        let Facts { rounds, bytes_read, bytes_written, records_read, records_kept, .. } =
            &self.facts;
        for (count, more) in [
            (rounds, 1),
            (bytes_read, report.bytes_read),
            (bytes_written, report.bytes_written),
            (records_read, report.records_read),
            (records_kept, report.records_kept),
        ] {
            count.fetch_add(more, Ordering::Relaxed);
        }
        self.facts.last_round_ms.store(took.as_millis() as u64, Ordering::Relaxed);
        tracing::info!(
            partition = %partition.name(), cleaned_to = %report.cleaned_to, ?took,
            bytes_read = report.bytes_read, bytes_written = report.bytes_written,
            records_read = report.records_read, records_kept = report.records_kept,
            "log is compacted"
        );
        self.logs.lock().cleaned(&self.manager, partition, report.cleaned_to);
    }

    fn failed(&self, partition: &Partition, error: &CleanError, limit: MapLimit) -> Turn {
        let why = match error {
            // The broker stops, or the log was deleted, retained or truncated meanwhile.
            CleanError::Stopped => return Turn::Rest,
            // Its files have other names since: that is no fault of the disk.
            _ if partition.is_deleted() => return Turn::Rest,
            CleanError::MapTooSmall { .. } => Some(Uncleanable::WithMapOf(limit.size_max)),
            // A full disk may have room later; any other error of it takes the directory offline.
            CleanError::Read { .. } | CleanError::Output(_) if error.io_error().is_some() => None,
            // A failed swap has been noted where it failed.
            CleanError::Read { .. }
            | CleanError::Output(_)
            | CleanError::Swap { .. }
            | CleanError::Damaged { .. }
            | CleanError::TooLarge { .. } => Some(Uncleanable::ForEver),
        };
        self.facts.failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            partition = %partition.name(), error = error as &dyn std::error::Error,
            is_given_up = why.is_some(), "log is not compacted"
        );
        if let Some(source) = error.io_error() {
            partition.dir().note_error(source);
        }
        let Some(why) = why else { return Turn::Rest };
        let mut logs = self.logs.lock();
        logs.give_up(partition, why);
        self.facts.uncleanable.store(logs.uncleanable_count(), Ordering::Relaxed);
        Turn::Again
    }

    /// Waits; returns whether the rounds are to end.
    fn wait(&self, time: Duration) -> bool {
        let mut is_stopped = self.is_stopped.lock();
        if !*is_stopped {
            self.stopped.wait_for(&mut is_stopped, time);
        }
        *is_stopped
    }
}

/// What one round may hold in memory: the threads share the buffer evenly.
fn map_limit(config: &BrokerConfig) -> MapLimit {
    let threads = i64::from(config.log_cleaner_threads.max(1));
    let size_max = config.log_cleaner_dedupe_buffer_size.max(0) / threads;
    MapLimit {
        size_max: usize::try_from(size_max).unwrap_or(usize::MAX),
        load_factor: config.log_cleaner_io_buffer_load_factor,
    }
}

/// The right to compact a partition; no two rounds have it at once.
struct InProgress<'a> {
    cleaner: &'a Cleaner,
    partition: &'a Partition,
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.cleaner.logs.lock().give_back(self.partition);
    }
}

/// Takes part in a round for one partition.
struct Swapping<'a> {
    cleaner: &'a Cleaner,
    partition: &'a Arc<Partition>,
}

impl Round for Swapping<'_> {
    fn progress(&mut self, bytes: u64) -> ControlFlow<()> {
        let Cleaner { config, throttle, manager, .. } = self.cleaner;
        let mut bytes = bytes;
        loop {
            let rate = config.load().log_cleaner_io_max_bytes_per_second;
            let wait = throttle.charge(bytes, rate, manager.clock().now());
            if self.cleaner.wait(wait.min(WAIT_MAX)) || self.partition.is_deleted() {
                return ControlFlow::Break(());
            }
            if wait <= WAIT_MAX {
                return ControlFlow::Continue(());
            }
            bytes = 0;
        }
    }

    fn swap(&mut self, segment: CleanedSegment) -> io::Result<ControlFlow<()>> {
        if *self.cleaner.is_stopped.lock() {
            // The log may be closed already.
            segment.discard()?;
            return Ok(ControlFlow::Break(()));
        }
        let manager = &self.cleaner.manager;
        match self.partition.replace_segments(&segment, manager.clock().wall())? {
            Some(old) => {
                manager.bury(self.partition, vec![old]);
                Ok(ControlFlow::Continue(()))
            }
            None => Ok(ControlFlow::Break(())),
        }
    }
}

#[cfg(test)]
mod tests;
