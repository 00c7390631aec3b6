//! How far one other replica has come, as its fetches show it to the leader. Pure.
//!
//! What a replica vouches for is the offset from which it fetches: everything below is in its log,
//! and in a synced topic on its stable storage. Nothing is known before its first fetch in the
//! leader's epoch: what it vouched for to an earlier leader may be of another log.
//!
//! Source: Kafka 3.9 `Replica` (`updateFetchStateOrThrow`, `isCaughtUp`).

use std::time::{Duration, Instant};

use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};

/// The broker epoch of no registration, or of one that is not told (Fetch up to version 14).
pub const NO_BROKER_EPOCH: i64 = -1;

/// One fetch of a replica, whose leader epoch was found to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaFetch {
    /// Who fetches.
    pub broker: BrokerId,
    /// Its registration, [`NO_BROKER_EPOCH`] if it does not say.
    pub broker_epoch: i64,
    /// The epoch that it believes in, -1 if it does not say (Fetch up to version 8).
    pub leader_epoch: LeaderEpoch,
    /// It vouches for everything below this offset.
    pub offset: Offset,
    /// Where its log starts, -1 if it does not say.
    pub log_start_offset: Offset,
    /// When the fetch came.
    pub at: Instant,
}

/// What the leader knows of one other replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    broker: BrokerId,
    broker_epoch: i64,
    vouched_end: Option<Offset>,
    log_start_offset: Option<Offset>,
    /// When it last fetched, and where the leader's log ended then.
    last_fetch: Option<(Instant, Offset)>,
    /// When it last had all that the leader had at that time.
    caught_up_at: Option<Instant>,
    /// When its leader began to look at it.
    known_since: Instant,
}

impl Progress {
    /// Nothing is known of `broker` at `now`; a member of the ISR is taken to have been in sync then.
    pub fn unknown(broker: BrokerId, is_in_sync: bool, now: Instant) -> Self {
        Self {
            broker,
            broker_epoch: NO_BROKER_EPOCH,
            vouched_end: None,
            log_start_offset: None,
            last_fetch: None,
            caught_up_at: is_in_sync.then_some(now),
            known_since: now,
        }
    }

    /// Returns who it is.
    pub fn broker(&self) -> BrokerId {
        self.broker
    }

    /// Returns the registration that it fetched with.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch
    }

    /// Returns what it vouches for (exclusive), if it has fetched in this epoch.
    pub fn vouched_end(&self) -> Option<Offset> {
        self.vouched_end
    }

    /// Returns where its log starts, if it has said so in this epoch.
    pub fn log_start_offset(&self) -> Option<Offset> {
        self.log_start_offset
    }

    /// Returns when it last had all that the leader had.
    pub fn caught_up_at(&self) -> Option<Instant> {
        self.caught_up_at
    }

    /// Records a fetch, while the leader's log ends at `leader_end`. Returns whether its log starts later than
    /// was known.
    ///
    /// # Panics
    /// If the fetch is another broker's.
    pub fn fetched(&mut self, fetch: &ReplicaFetch, leader_end: Offset) -> bool {
        assert_eq!(fetch.broker, self.broker, "a fetch counts for the broker that sent it");
        if fetch.offset >= leader_end {
            self.caught_up_at = self.caught_up_at.max(Some(fetch.at));
        } else if let Some((at, end)) = self.last_fetch
            && fetch.offset >= end
        {
            // It has all that the fetch before could tell it of.
            self.caught_up_at = self.caught_up_at.max(Some(at));
        }
        self.broker_epoch = fetch.broker_epoch;
        self.vouched_end = Some(fetch.offset);
        let known_start = self.log_start_offset;
        if fetch.log_start_offset.0 >= 0 {
            self.log_start_offset = Some(fetch.log_start_offset);
        }
        self.last_fetch = Some((fetch.at, leader_end));
        self.log_start_offset > known_start
    }

    /// Returns for how long it has lacked records, as far as this leader saw it; zero if it lacks none.
    pub fn late_by(&self, leader_end: Offset, now: Instant) -> Duration {
        let is_level = self.vouched_end.is_some_and(|end| end >= leader_end);
        let since = self.caught_up_at.unwrap_or(self.known_since);
        if is_level { Duration::ZERO } else { now.saturating_duration_since(since) }
    }

    /// Returns whether it lacks records and has for longer than `lag_max`.
    pub fn is_out_of_sync(&self, leader_end: Offset, now: Instant, lag_max: Duration) -> bool {
        let is_level = self.vouched_end.is_some_and(|end| end >= leader_end);
        let is_late =
            self.caught_up_at.is_none_or(|at| now.saturating_duration_since(at) > lag_max);
        !is_level && is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    const LAG_MAX: Duration = Duration::from_secs(30);

    fn fetch(offset: i64, at: Instant) -> ReplicaFetch {
        ReplicaFetch {
            broker: BrokerId(2),
            broker_epoch: 7,
            leader_epoch: LeaderEpoch(5),
            offset: Offset(offset),
            log_start_offset: Offset(0),
            at,
        }
    }

    #[test]
    fn a_replica_that_has_all_is_in_sync_however_long_ago_it_fetched() {
        let start = SystemClock.now();
        let mut replica = Progress::unknown(BrokerId(2), true, start);
        _ = replica.fetched(&fetch(10, start), Offset(10));
        let late = start + LAG_MAX * 9;
        assert!(!replica.is_out_of_sync(Offset(10), late, LAG_MAX));
        assert!(replica.is_out_of_sync(Offset(11), late, LAG_MAX));
    }

    #[test]
    fn a_replica_that_keeps_up_with_a_busy_leader_is_in_sync_though_it_never_reaches_the_end() {
        let start = SystemClock.now();
        let mut replica = Progress::unknown(BrokerId(2), true, start);
        for round in 1..100 {
            let at = start + Duration::from_secs(round);
            // It asks for what was the end a second ago.
            _ = replica.fetched(&fetch(round as i64 * 10 - 10, at), Offset(round as i64 * 10));
        }
        let now = start + Duration::from_secs(100);
        assert!(!replica.is_out_of_sync(Offset(1000), now, LAG_MAX));
        assert!(replica.is_out_of_sync(Offset(1000), now + LAG_MAX, LAG_MAX));
    }

    #[test]
    fn a_replica_that_only_asks_for_the_same_again_falls_out_of_sync() {
        let start = SystemClock.now();
        let mut replica = Progress::unknown(BrokerId(2), true, start);
        for round in 0..=31 {
            _ = replica.fetched(&fetch(5, start + Duration::from_secs(round)), Offset(10));
        }
        assert!(replica.is_out_of_sync(Offset(10), start + Duration::from_secs(31), LAG_MAX));
    }
}
