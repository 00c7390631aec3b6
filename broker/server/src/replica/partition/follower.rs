//! A partition that follows: it keeps its log in line with the leader's.

use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset, TimestampMs};
use broker_storage::commit::{Callback, CommitError, SyncPoint};
use broker_storage::log::{AppendError as LogAppendError, DeletedSegment, LogError};

use super::{EpochEndOffset, Partition};
use crate::replica::partition_state::{Leadership, Stale, StateError};

/// Where a follower stands: what it asks its leader for.
#[derive(Debug, Clone)]
pub struct FollowerPosition {
    /// Whom it follows.
    pub leader: BrokerId,
    /// In which epoch: what is asked in it may only be used in it.
    pub leader_epoch: LeaderEpoch,
    /// Where to fetch: this broker vouches for everything below.
    pub fetch_offset: Offset,
    /// The epoch of the last record, -1 if there is none.
    pub last_fetched_epoch: LeaderEpoch,
    /// Where the log starts.
    pub log_start_offset: Offset,
    /// The high watermark, as far as it is known here.
    pub high_watermark: Offset,
    /// What must be synced before anything is fetched: only then the log ends where it is vouched for.
    pub unsynced: Option<SyncPoint>,
}

/// What a leader answered to a fetch.
#[derive(Debug, Clone, Copy)]
pub struct FromLeader<'a> {
    /// Whole batches as it stores them; a torn last one is left out.
    pub batches: &'a [u8],
    /// The epoch in which the fetch was sent.
    pub leader_epoch: LeaderEpoch,
    /// Where it asked from: [`FollowerPosition::fetch_offset`] of then.
    pub fetch_offset: Offset,
    /// [`FollowerPosition::last_fetched_epoch`] of then: with the offset it tells one log from another.
    pub last_fetched_epoch: LeaderEpoch,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// Where the leader's log starts.
    pub log_start_offset: Offset,
}

/// What an answer of the leader changed.
#[derive(Debug)]
pub struct Followed {
    /// Where the log ends now.
    pub log_end_offset: Offset,
}

/// Why an answer of the leader was not used, or in part only.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The epoch has changed since the question, or the log is of no use.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log has moved on since the question: it is to be asked anew.
    #[error("an answer to a fetch from another offset than the log's end")]
    Late,
    /// The log refused or failed. Batches before the one that is wrong are in the log.
    #[error(transparent)]
    Log(#[from] LogAppendError),
}

/// Where to cut a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// As the leader says where an epoch ended.
    EpochEnd(EpochEndOffset),
    /// At an offset.
    At(Offset),
    /// At the high watermark: where the leader knows no epoch at all.
    HighWatermark,
    /// Everything goes; the log begins anew at an offset.
    BeginAt(Offset),
}

/// What a cut did.
#[derive(Debug)]
pub struct Truncated {
    /// Whether the log now agrees with the leader's as far as it goes; otherwise the leader is to be asked
    /// again.
    pub is_complete: bool,
    /// What must be synced, and the recovery points written, before anything is appended.
    pub unsynced: Option<SyncPoint>,
    /// Segments that fell away.
    pub(in crate::replica) deleted: Vec<DeletedSegment>,
}

/// Why a log was not cut.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// The epoch has changed since the question, or the log is of no use.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log has moved on since the question: it is to be asked anew.
    #[error("an answer to a fetch from another offset than the log's end")]
    Late,
    /// The disk failed; the directory is offline.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log was cut, and may be as it was after a power loss; the directory is offline.
    #[error(transparent)]
    Sync(CommitError),
    /// The recovery points could not be written.
    #[error("the log directory cannot be written")]
    Offline,
}

impl Partition {
    /// Follows `leadership.leader` from now on, or nobody; whoever waits is told "not leader".
    ///
    /// # Errors
    /// The epoch is not newer than the one known, here or in the log; nothing was changed.
    pub fn follow(&self, leadership: Leadership) -> Result<(), Stale> {
        let mut inner = self.inner.lock();
        inner.check_rising(leadership.leader_epoch)?;
        inner.state.follow(leadership)?;
        inner.leader_log_start = Offset(-1);
        inner.log.forget_empty_epochs();
        drop(inner);
        self.left_office();
        Ok(())
    }

    /// Returns where this follower stands; `None` unless it follows somebody.
    pub fn follower_position(&self) -> Option<FollowerPosition> {
        let mut inner = self.inner.lock();
        let leadership = inner.state.leadership()?;
        let (leader, leader_epoch) = (leadership.leader?, leadership.leader_epoch);
        inner.state.check_follower(leader_epoch).ok()?;
        let owed = inner.follow_log_start();
        let (fetch_offset, last_fetched_epoch) = inner.asks_from();
        Some(FollowerPosition {
            leader,
            leader_epoch,
            fetch_offset,
            last_fetched_epoch,
            log_start_offset: inner.log.log_start_offset(),
            high_watermark: inner.state.high_watermark(),
            unsynced: inner.unsynced().or(owed),
        })
    }

    /// Appends what the leader answered, and takes over its high watermark and log start.
    ///
    /// Records that the leader deleted (retention, `DeleteRecords`) go here, too, up to the high watermark.
    ///
    /// # Errors
    /// As [`FollowError`]; an I/O error has taken the directory offline.
    ///
    /// # Panics
    /// If something of a later epoch got into the log.
    pub fn append_as_follower(
        self: &Arc<Self>,
        answer: &FromLeader<'_>,
        now: TimestampMs,
    ) -> Result<Followed, FollowError> {
        let mut inner = self.inner.lock();
        inner.state.check_follower(answer.leader_epoch)?;
        if inner.asks_from() != (answer.fetch_offset, answer.last_fetched_epoch) {
            return Err(FollowError::Late);
        }
        let appended = inner.log.append_as_follower(answer.batches, answer.leader_epoch, now);
        assert!(
            inner.log.latest_epoch() <= Some(answer.leader_epoch),
            "a follower has nothing of a later epoch than its leader's"
        );
        let end = inner.log.log_end_offset();
        let moved = inner.state.followed(end, answer.high_watermark);
        let advanced = self.advanced(&mut inner, moved);
        inner.leader_log_start = answer.log_start_offset;
        // What a synced topic got is synced before the next fetch, see [`FollowerPosition::unsynced`].
        let is_synced = inner.log.is_synced();
        drop(inner);
        self.tell(advanced);
        match appended {
            Ok(appended) => {
                let due = appended.and_then(|appended| appended.sync.or(appended.write_back));
                if let Some(point) = due.filter(|_| !is_synced) {
                    self.dir.load().committer().write_back(point);
                }
                Ok(Followed { log_end_offset: end })
            }
            Err(error) => {
                if let LogAppendError::Log(error) = &error {
                    self.note(error);
                }
                Err(error.into())
            }
        }
    }

    /// Has `point` synced with the next group commit; `done` runs on the commit thread, after the
    /// partition vouches for it. It must not block.
    pub fn sync_then(self: &Arc<Self>, point: SyncPoint, done: Callback) {
        self.dir.load().committer().submit_and(point, Arc::clone(self) as _, done);
    }

    /// Returns where [`Partition::truncate`] will cut, if anything is to go.
    ///
    /// # Errors
    /// As [`TruncateError::State`].
    pub(in crate::replica) fn planned_cut(
        &self,
        leader_epoch: LeaderEpoch,
        cut: Cut,
    ) -> Result<Option<Offset>, StateError> {
        let inner = self.inner.lock();
        inner.state.check_follower(leader_epoch)?;
        let (offset, _) = inner.cut_at(cut);
        let stays = offset >= inner.log.log_end_offset();
        Ok(match cut {
            // Whatever is left of it after a crash must be looked at.
            Cut::BeginAt(_) => Some(inner.log.log_start_offset()),
            Cut::EpochEnd(_) | Cut::At(_) | Cut::HighWatermark => (!stays).then_some(offset),
        })
    }

    /// Cuts the log where it differs from the leader's; [`crate::replica::manager::Manager::truncate`] does
    /// what comes before and after.
    ///
    /// # Errors
    /// As [`TruncateError`].
    pub(in crate::replica) fn truncate(
        &self,
        leader_epoch: LeaderEpoch,
        asked_from: (Offset, LeaderEpoch),
        cut: Cut,
        now: TimestampMs,
    ) -> Result<Truncated, TruncateError> {
        let mut inner = self.inner.lock();
        inner.state.check_follower(leader_epoch)?;
        if inner.asks_from() != asked_from {
            return Err(TruncateError::Late);
        }
        let before = inner.log.log_end_offset();
        let (offset, is_complete) = inner.cut_at(cut);
        let deleted = match cut {
            Cut::BeginAt(_) => inner.log.truncate_fully_and_start_at(offset, now),
            Cut::EpochEnd(_) | Cut::At(_) | Cut::HighWatermark => {
                inner.log.truncate_to(offset, now)
            }
        };
        let (start, end) = (inner.log.log_start_offset(), inner.log.log_end_offset());
        inner.state.truncated(start, end);
        inner.cut_copy(end.min(offset), now);
        let unsynced = (end != before).then(|| inner.log.sync_point());
        drop(inner);
        if end != before {
            tracing::info!(partition = %self.name, %before, %end, "the log is cut");
        }
        match deleted {
            Ok(deleted) => Ok(Truncated { is_complete, unsynced, deleted }),
            Err(error) => {
                self.note(&error);
                Err(error.into())
            }
        }
    }
}

impl super::Inner {
    /// Returns where a fetch starts, and the epoch of the record before it.
    fn asks_from(&self) -> (Offset, LeaderEpoch) {
        let offset = self.state.vouched_end_offset();
        let epoch = self.log.epoch_for_offset(Offset(offset.0 - 1));
        (offset, epoch.unwrap_or(LeaderEpoch(-1)))
    }

    /// Deletes what the leader deleted, as far as it was shown here and is durable; returns what must be
    /// synced before the rest can go.
    fn follow_log_start(&mut self) -> Option<SyncPoint> {
        let wanted = self.leader_log_start.min(self.state.high_watermark());
        let start = wanted.min(self.log.recovery_point());
        if start > self.log.log_start_offset() {
            self.log.advance_log_start_offset(start);
            self.state.log_start_moved(start);
        }
        (wanted > start).then(|| self.log.sync_point())
    }

    /// Returns where a cut is made, and whether the logs agree afterwards.
    fn cut_at(&self, cut: Cut) -> (Offset, bool) {
        match cut {
            Cut::EpochEnd(EpochEndOffset { leader_epoch, end_offset }) => {
                self.log.epoch_cut(leader_epoch, end_offset)
            }
            Cut::At(offset) | Cut::BeginAt(offset) => (offset, true),
            Cut::HighWatermark => (self.state.high_watermark(), true),
        }
    }

    /// Checks that `leader_epoch` is not below that of any record: the cluster's state would have gone
    /// back in time.
    pub(super) fn check_rising(&self, leader_epoch: LeaderEpoch) -> Result<(), Stale> {
        match self.log.latest_epoch() {
            Some(known) if known > leader_epoch => Err(Stale { asked: leader_epoch, known }),
            Some(_) | None => Ok(()),
        }
    }
}
