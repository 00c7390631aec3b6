//! One partition on this broker: its log, its state, and who waits for it.
//!
//! This is where the two halves meet: `partition_state` says whether and how far, the log says where.
//! Every method is synchronous and short: an append runs on the thread that read the request.
//!
//! Concurrency: shared. One lock around log and state, never held across a wait, a sync or a
//! wake-up; the commit thread takes it to advance the high watermark. Waiters are woken after it is
//! released (why none is missed: `delayed`). The lists of waiters have locks of their own: consumers
//! wait for the high watermark, replicas for the end of the log.
//! Errors: an I/O error takes the log directory, and so this partition, offline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use broker_config::topic::{Durability, TopicConfig};
use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_storage::commit::{CommitError, SyncPoint, Synced};
use broker_storage::log::{AppendBatch, AppendError as LogAppendError, Log, LogError};
use broker_storage::log_dir::LogDir;
use broker_storage::partition_metadata::PartitionMetadataError;
use parking_lot::Mutex;

use super::attention::Attention;
use super::counters::TopicCounters;
use super::delayed::{AckState, AckWaiters, PendingAcks, Subscribers};
use super::partition_state::{PartitionState, Role, StateError};
use crate::planted::{self, Bug};

use moving::Future;

pub mod admin;
pub mod follower;
pub mod leader;
pub mod moving;
pub mod read;

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Not here, or not now.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] LogAppendError),
}

/// What an append gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record, or of the original if it is a duplicate; -1 if that is so old that
    /// its place is not remembered.
    pub base_offset: Offset,
    /// The high watermark that `acks=all` waits for.
    pub required_offset: Offset,
    /// The time given to the records, -1 if they keep the producer's.
    pub log_append_time: TimestampMs,
    /// Whether nothing was written, because it had been before.
    pub is_duplicate: bool,
    /// The first offset of the log.
    pub log_start_offset: Offset,
    /// Whether the high watermark is there already.
    pub is_visible: bool,
}

/// Where a client's log ended differently from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch not above the one asked for, -1 if there is none.
    pub leader_epoch: LeaderEpoch,
    /// Where it ends (exclusive), -1 if there is none.
    pub end_offset: Offset,
}

/// A partition that this broker has a replica of. Shared.
#[derive(Debug)]
pub struct Partition {
    name: TopicPartition,
    /// Given late to a topic that was made by a Kafka that had no ids.
    topic_id: OnceLock<Uuid>,
    /// Another once the log was moved there.
    dir: ArcSwap<LogDir>,
    inner: Mutex<Inner>,
    config: ArcSwap<TopicConfig>,
    counters: Arc<TopicCounters>,
    subscribers: Arc<Subscribers>,
    replica_subscribers: Arc<Subscribers>,
    ack_waiters: AckWaiters,
    attention: Arc<Attention>,
    /// Whether `attention` knows that a member of the ISR lacks records.
    has_laggard: AtomicBool,
    /// As the state says, for those who hold the partition and ask often.
    is_deleted: AtomicBool,
    /// Whether the last append met a full disk, or a lack of descriptors or memory.
    has_run_out: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    log: Log,
    state: PartitionState,
    /// Where the log of the leader that is followed starts, -1 before it has said so.
    leader_log_start: Offset,
    /// Where the log is being copied to.
    future: Option<Future>,
}

impl Partition {
    /// Makes a partition of a log that was opened in `dir`.
    pub fn new(
        topic_id: Uuid,
        dir: Arc<LogDir>,
        log: Log,
        high_watermark: Offset,
        config: Arc<TopicConfig>,
        counters: Arc<TopicCounters>,
        attention: Arc<Attention>,
    ) -> Arc<Self> {
        let state = PartitionState::opened(
            log.log_start_offset(),
            log.log_end_offset(),
            high_watermark,
            durability(&config),
        );
        let name = log.partition().clone();
        let inner = Inner { log, state, leader_log_start: Offset(-1), future: None };
        Arc::new(Self {
            name,
            topic_id: if topic_id.is_zero() { OnceLock::new() } else { OnceLock::from(topic_id) },
            dir: ArcSwap::new(dir),
            inner: Mutex::new(inner),
            config: ArcSwap::new(config),
            counters,
            subscribers: Arc::default(),
            replica_subscribers: Arc::default(),
            ack_waiters: AckWaiters::default(),
            attention,
            has_laggard: AtomicBool::new(false),
            is_deleted: AtomicBool::new(false),
            has_run_out: AtomicBool::new(false),
        })
    }

    /// Returns topic and number.
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// Returns the id of the topic, zero while it has none.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id.get().copied().unwrap_or(Uuid::ZERO)
    }

    /// Takes the id of a topic that had none, durably. Waits for the disk.
    ///
    /// # Errors
    /// It cannot be written, and the directory is offline.
    pub(super) fn assign_topic_id(&self, topic_id: Uuid) -> Result<(), PartitionMetadataError> {
        let assigned = self.inner.lock().log.assign_topic_id(topic_id);
        match &assigned {
            Ok(()) => {
                // Whoever was first wrote the same.
                let _ = self.topic_id.set(topic_id);
            }
            Err(PartitionMetadataError::Io { source, .. }) => {
                self.dir.load().note_error(source);
            }
            Err(_) => {}
        }
        assigned
    }

    /// Returns the directory that holds the log.
    pub fn dir(&self) -> Arc<LogDir> {
        self.dir.load_full()
    }

    /// Returns the configuration of the topic.
    pub fn config(&self) -> arc_swap::Guard<Arc<TopicConfig>> {
        self.config.load()
    }

    /// Returns the counts of the topic.
    pub fn counters(&self) -> &TopicCounters {
        &self.counters
    }

    /// Returns the counts of the topic, to share them.
    pub(super) fn shared_counters(&self) -> &Arc<TopicCounters> {
        &self.counters
    }

    /// Returns the consumers that wait for the high watermark to move.
    pub fn subscribers(&self) -> &Arc<Subscribers> {
        &self.subscribers
    }

    /// Returns the replicas that wait for the end of the log to move.
    pub fn replica_subscribers(&self) -> &Arc<Subscribers> {
        &self.replica_subscribers
    }

    /// Appends batches that were validated, as the leader.
    ///
    /// In a synced topic the records are seen after the group commit, which this only asks for.
    ///
    /// # Errors
    /// Nothing was appended; an I/O error has taken the directory offline.
    ///
    /// # Panics
    /// If what was appended is of another epoch.
    pub fn append(
        self: &Arc<Self>,
        batches: &mut [AppendBatch<'_>],
        current_leader_epoch: LeaderEpoch,
        is_acks_all: bool,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let mut inner = self.inner.lock();
        inner.state.check_leader(current_leader_epoch)?;
        if is_acks_all {
            let required = self.config.load().min_insync_replicas;
            inner.state.check_in_sync(required.max(0) as u32)?;
        }
        let epoch = inner.state.leader_epoch();
        let appended = match inner.log.append_as_leader(batches, epoch, now) {
            Ok(appended) => appended,
            Err(error) => {
                drop(inner);
                if let LogAppendError::Log(error) = &error {
                    self.note(error);
                }
                return Err(error.into());
            }
        };
        assert!(
            appended.duplicate || inner.log.latest_epoch() == Some(epoch),
            "what a leader appends is of its epoch"
        );
        let end = inner.log.log_end_offset();
        let moved = inner.state.appended(end);
        let has_laggard = inner.state.has_laggard();
        let required_offset = Offset(appended.last_offset.0 + 1);
        let advanced = self.advanced(&mut inner, moved);
        let high_watermark = inner.state.high_watermark();
        drop(inner);

        if self.has_run_out.load(Ordering::Relaxed) {
            self.has_run_out.store(false, Ordering::Release);
        }
        if let Some(point) = appended.sync {
            self.submit(point);
        } else if let Some(point) = appended.write_back {
            self.dir.load().committer().write_back(point);
        }
        self.tell(advanced);
        self.replica_subscribers.wake();
        if has_laggard {
            self.note_laggard();
        }
        Ok(Appended {
            base_offset: appended.first_offset,
            required_offset,
            log_append_time: appended.log_append_time,
            is_duplicate: appended.duplicate,
            log_start_offset: appended.log_start_offset,
            is_visible: high_watermark >= required_offset || planted::is(Bug::AckBeforeReplication),
        })
    }

    /// Has partition `index` of `acks` settled once consumers can see everything below `required`.
    pub fn when_visible(&self, required: Offset, acks: &Arc<PendingAcks>, index: usize) {
        self.ack_waiters.push(required, acks, index);
        let inner = self.inner.lock();
        let (role, high_watermark) = (inner.state.role(), inner.state.high_watermark());
        let is_enough = self.is_enough_in_sync(&inner);
        drop(inner);
        match role {
            Role::Leader => self.ack_waiters.release(high_watermark, is_enough),
            Role::Offline => self.ack_waiters.fail(AckState::StorageFailed),
            Role::Follower | Role::Deleted => self.ack_waiters.fail(AckState::NotLeader),
        }
    }

    /// Ends the partition: whoever waits is told, whoever holds it learns at the next call.
    pub fn end(&self, role: Role) {
        self.inner.lock().state.end(role);
        self.is_deleted.fetch_or(role == Role::Deleted, Ordering::AcqRel);
        let acks = match role {
            Role::Offline => AckState::StorageFailed,
            Role::Deleted | Role::Leader | Role::Follower => AckState::NotLeader,
        };
        self.ack_waiters.fail(acks);
        self.subscribers.wake();
        self.replica_subscribers.wake();
        self.attention.log_start_moved();
    }

    /// Uses `config` from now on. What a topic that becomes a synced one has is synced first of all.
    pub fn set_config(self: &Arc<Self>, config: Arc<TopicConfig>) {
        let mut inner = self.inner.lock();
        inner.log.set_config(Arc::clone(&config));
        if let Some(future) = &mut inner.future {
            future.set_config(&config);
        }
        let synced = inner.log.recovery_point();
        let mut moved = inner.state.synced(synced);
        moved |= inner.state.set_durability(durability(&config));
        let advanced = self.advanced(&mut inner, moved);
        let unsynced = inner.unsynced();
        self.config.store(config);
        drop(inner);
        if let Some(point) = unsynced {
            self.submit(point);
        }
        self.tell(advanced);
    }

    /// Returns whether the topic is a synced one: what this broker vouches for is on stable storage.
    pub fn is_synced(&self) -> bool {
        self.inner.lock().state.durability() == Durability::Synced
    }

    /// Returns whether all that was here before the topic became a synced one is on stable storage; nothing if
    /// it is a relaxed one.
    pub fn is_synced_whole(&self) -> Option<bool> {
        self.inner.lock().state.is_synced_whole()
    }

    /// Returns whether the partition was deleted: whoever holds it looks it up again.
    pub fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }

    /// Queues a sync with the group commit; its end advances the high watermark.
    fn submit(self: &Arc<Self>, point: SyncPoint) {
        self.dir.load().committer().submit(point, Arc::clone(self) as Arc<dyn Synced>);
    }

    fn advance_durable(&self) {
        let mut inner = self.inner.lock();
        // Not what the commit thread says it synced: that may have been cut away, and written anew.
        let end = inner.log.recovery_point();
        let moved = inner.state.synced(end);
        let advanced = self.advanced(&mut inner, moved);
        drop(inner);
        self.tell(advanced);
    }

    /// Logs an error of the log, and takes the directory offline if the disk is to blame.
    ///
    /// Not to be called with the lock held.
    fn note(&self, error: &LogError) {
        if error.is_transient() {
            // Every append meets it: said once, until one succeeds again.
            if !self.has_run_out.swap(true, Ordering::AcqRel) {
                let dir = self.dir();
                let dir = dir.path().display();
                let error = error as &dyn std::error::Error;
                tracing::error!(partition = %self.name, %dir, error, "disk is full, or the process at a limit");
            }
            return;
        }
        tracing::error!(partition = %self.name, error = error as &dyn std::error::Error, "log failed");
        if let Some(source) = error.io_error() {
            self.dir.load().note_error(source);
        }
    }

    /// Tells the log of a high watermark that moved; returns whom to tell once the lock is released.
    fn advanced(&self, inner: &mut Inner, moved: bool) -> Option<Advanced> {
        moved.then(|| {
            let high_watermark = inner.state.high_watermark();
            inner.log.on_high_watermark(high_watermark);
            Advanced { high_watermark, is_enough_in_sync: self.is_enough_in_sync(inner) }
        })
    }

    /// Wakes those who waited for the high watermark. Not to be called with the lock held.
    fn tell(&self, advanced: Option<Advanced>) {
        if let Some(Advanced { high_watermark, is_enough_in_sync }) = advanced {
            self.ack_waiters.release(high_watermark, is_enough_in_sync);
            self.subscribers.wake();
            // Replicas hear of it with what they hear next.
            self.replica_subscribers.note();
        }
    }

    fn is_enough_in_sync(&self, inner: &Inner) -> bool {
        let required = self.config.load().min_insync_replicas;
        inner.state.check_still_in_sync(required.max(0) as u32).is_ok()
    }

    fn note_laggard(&self) {
        if !self.has_laggard.load(Ordering::Relaxed)
            && !self.has_laggard.swap(true, Ordering::AcqRel)
        {
            self.attention.lags(&self.name);
        }
    }
}

/// A high watermark that moved.
#[derive(Debug, Clone, Copy)]
struct Advanced {
    high_watermark: Offset,
    is_enough_in_sync: bool,
}

impl Synced for Partition {
    fn synced(&self, outcome: Result<Offset, CommitError>) {
        match outcome {
            Ok(_) => self.advance_durable(),
            // The directory is offline, and with it this partition.
            Err(_) => self.end(Role::Offline),
        }
    }
}

impl Inner {
    /// Returns what must be synced for this broker to vouch for all of the log.
    fn unsynced(&mut self) -> Option<SyncPoint> {
        let is_vouched = self.state.vouched_end_offset() >= self.log.log_end_offset();
        (!is_vouched).then(|| self.log.sync_point())
    }

    fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> EpochEndOffset {
        match self.log.end_offset_for_epoch(epoch) {
            Some((leader_epoch, end_offset)) => EpochEndOffset { leader_epoch, end_offset },
            None => EpochEndOffset { leader_epoch: LeaderEpoch(-1), end_offset: Offset(-1) },
        }
    }
}

/// Returns how `acks=all` is kept: `flush.messages=1` asks for a sync of every record in Kafka's words.
pub(super) fn durability(config: &TopicConfig) -> Durability {
    if config.flush_messages <= 1 { Durability::Synced } else { config.durability }
}
