//! Which fetch sessions live: at most a fixed number, the least used giving way to new ones.
//!
//! When all slots are taken, a new session takes the slot of one that was not used for a while, or
//! of a smaller one that has lived for a while; else the client goes on without a session, which
//! costs it bytes but no record. A session that a request uses is out of the cache until its guard
//! is dropped; a second request in that time gets "wrong epoch".
//!
//! Concurrency: one short lock, taken twice for a request with a session. Source: KIP-227.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{FetchSession, INITIAL_EPOCH, NO_SESSION};
use crate::replica::partition::read::Isolation;

/// A session younger, or used later, than this keeps its slot, as in Kafka (it has no setting).
const MIN_EVICTION: Duration = Duration::from_mins(2);

/// Why a request cannot have the session it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Never existed, or was evicted.
    #[error("the fetch session is not known")]
    NotFound,
    /// A request was lost, doubled or overtaken.
    #[error("the fetch session is at another epoch")]
    WrongEpoch,
    /// The session names topics in another way than the request.
    #[error("the fetch session names topics in another way")]
    TopicIds,
}

/// The sessions. Shared.
#[derive(Debug)]
pub struct SessionCache {
    slots: Mutex<Slots>,
    max_slots: usize,
}

#[derive(Debug, Default)]
struct Slots {
    by_id: HashMap<i32, Slot>,
    evictions: u64,
}

#[derive(Debug)]
struct Slot {
    /// Absent while a request uses it.
    session: Option<Box<FetchSession>>,
    uses_topic_ids: bool,
    /// What the next request must say.
    epoch: i32,
    created: Instant,
    last_used: Instant,
    size: usize,
    /// Whether it is a replica's: no client's session takes its place while it is used.
    is_privileged: bool,
}

/// Counts for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    /// Sessions that live.
    pub sessions: usize,
    /// Partitions in all of them.
    pub partitions: usize,
    /// Sessions evicted since the start.
    pub evictions: u64,
}

impl SessionCache {
    /// Makes a cache of `max_slots` sessions (`max.incremental.fetch.session.cache.slots`).
    pub fn new(max_slots: usize) -> Arc<Self> {
        Arc::new(Self { slots: Mutex::default(), max_slots })
    }

    /// Takes a session out for one request that says `epoch`.
    ///
    /// # Errors
    /// As [`SessionError`]; the session stays as it is.
    pub fn check_out(
        self: &Arc<Self>,
        id: i32,
        epoch: i32,
        uses_topic_ids: bool,
        now: Instant,
    ) -> Result<InUse, SessionError> {
        let mut slots = self.slots.lock();
        let slot = slots.by_id.get_mut(&id).ok_or(SessionError::NotFound)?;
        if slot.epoch != epoch {
            return Err(SessionError::WrongEpoch);
        }
        if slot.uses_topic_ids != uses_topic_ids {
            return Err(SessionError::TopicIds);
        }
        let session = slot.session.take().ok_or(SessionError::WrongEpoch)?;
        slot.epoch = next_epoch(epoch);
        slot.last_used = now;
        Ok(InUse { session: Some(session), cache: Arc::clone(self) })
    }

    /// Makes a session of what a full request asked for, if there is room; returns its id.
    ///
    /// Returns [`NO_SESSION`] when there is none: the set is dropped.
    pub fn insert(&self, mut session: Box<FetchSession>, now: Instant) -> i32 {
        if session.is_empty() {
            return NO_SESSION;
        }
        // Not under the lock, which every session waits for.
        session.merge_twins();
        let is_privileged = session.isolation() == Isolation::LogEnd;
        let mut slots = self.slots.lock();
        let is_full = slots.by_id.len() >= self.max_slots;
        if is_full && !slots.evict_for(session.len(), is_privileged, now) {
            return NO_SESSION;
        }
        let id = loop {
            let id = fastrand::i32(1..);
            if !slots.by_id.contains_key(&id) {
                break id;
            }
        };
        session.id = id;
        let slot = Slot {
            uses_topic_ids: session.uses_topic_ids(),
            epoch: next_epoch(INITIAL_EPOCH),
            created: now,
            last_used: now,
            size: session.len(),
            is_privileged,
            session: Some(session),
        };
        slots.by_id.insert(id, slot);
        id
    }

    /// Ends a session, if it lives.
    pub fn remove(&self, id: i32) {
        self.slots.lock().by_id.remove(&id);
    }

    /// Returns what metrics show.
    pub fn counts(&self) -> CacheCounts {
        let slots = self.slots.lock();
        CacheCounts {
            sessions: slots.by_id.len(),
            partitions: slots.by_id.values().map(|slot| slot.size).sum(),
            evictions: slots.evictions,
        }
    }
}

impl Slots {
    /// Frees one slot for a session of `size` partitions, a replica's if `is_privileged`, if one may be.
    ///
    /// Walks all slots: only when the cache is full, and a walk of its default size takes microseconds.
    fn evict_for(&mut self, size: usize, is_privileged: bool, now: Instant) -> bool {
        let settled = |since: Instant| now.saturating_duration_since(since) > MIN_EVICTION;
        let stale = self
            .by_id
            .iter()
            .min_by_key(|(_, slot)| slot.last_used)
            .filter(|(_, slot)| settled(slot.last_used));
        let smaller = || {
            self.by_id
                .iter()
                .filter(|(_, slot)| is_privileged || !slot.is_privileged)
                .filter(|(_, slot)| settled(slot.created))
                // A replica needs its session more than a client does.
                .filter(|(_, slot)| slot.size < size || (is_privileged && !slot.is_privileged))
                .min_by_key(|(_, slot)| slot.size)
        };
        let Some(id) = stale.or_else(smaller).map(|(id, _)| *id) else { return false };
        self.by_id.remove(&id);
        self.evictions += 1;
        true
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// A session taken out for one request; goes back when dropped, also when the request is cancelled.
#[derive(Debug)]
pub struct InUse {
    session: Option<Box<FetchSession>>,
    cache: Arc<SessionCache>,
}

impl InUse {
    /// Returns the session.
    pub fn session(&mut self) -> &mut FetchSession {
        self.session.as_mut().unwrap_or_else(|| unreachable!("only `drop` takes it"))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let mut slots = self.cache.slots.lock();
        // Evicted or ended meanwhile: then it is gone for good.
        if let Some(slot) = slots.by_id.get_mut(&session.id())
            && slot.session.is_none()
        {
            slot.size = session.len();
            slot.session = Some(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::replica::fetch_session::TopicRef;
    use crate::replica::partition::read::{FetchPosition, Isolation};
    use broker_protocol::quantity::{LeaderEpoch, Offset};

    fn session(partitions: i32) -> Box<FetchSession> {
        let position = FetchPosition {
            fetch_offset: Offset(0),
            max_bytes: 1,
            current_leader_epoch: LeaderEpoch(-1),
            last_fetched_epoch: LeaderEpoch(-1),
            log_start_offset: Offset(-1),
        };
        let mut session = FetchSession::new(false, Isolation::ReadUncommitted);
        for partition in 0..partitions {
            session.push(&TopicRef::Name("t".into()), partition, position);
        }
        Box::new(session)
    }

    #[test]
    fn a_session_is_served_epoch_by_epoch_and_to_one_request_at_a_time() {
        let now = SystemClock.now();
        let cache = SessionCache::new(2);
        let id = cache.insert(session(3), now);
        assert!(id > 0);
        let wrong = cache.check_out(id, 2, false, now).err();
        assert_eq!(wrong, Some(SessionError::WrongEpoch));
        let ids = cache.check_out(id, 1, true, now).err();
        assert_eq!(ids, Some(SessionError::TopicIds));
        let mut first = cache.check_out(id, 1, false, now).unwrap();
        assert_eq!(first.session().len(), 3);
        let second = cache.check_out(id, 2, false, now).err();
        assert_eq!(second, Some(SessionError::WrongEpoch));
        drop(first);
        assert!(cache.check_out(id, 2, false, now).is_ok());
        cache.remove(id);
        let gone = cache.check_out(id, 3, false, now).err();
        assert_eq!(gone, Some(SessionError::NotFound));
    }

    #[test]
    fn a_session_ended_while_in_use_stays_ended() {
        let now = SystemClock.now();
        let cache = SessionCache::new(2);
        let id = cache.insert(session(1), now);
        let in_use = cache.check_out(id, 1, false, now);
        cache.remove(id);
        drop(in_use);
        assert_eq!(cache.counts(), CacheCounts::default());
    }

    #[test]
    fn epochs_wrap_to_one() {
        assert_eq!([next_epoch(0), next_epoch(i32::MAX)], [1, 1]);
    }

    /// Method: a cache of one slot; a row is (name, seconds later, size of the newcomer, admitted).
    #[test]
    fn a_full_cache_gives_way_by_age_and_size() {
        let cases = [
            ("young and just used", 1, 9, false),
            ("unused for long", 121, 1, true),
            ("the limit itself is too soon", 120, 9, false),
        ];
        for (name, later, size, admitted) in cases {
            let now = SystemClock.now();
            let cache = SessionCache::new(1);
            cache.insert(session(2), now);
            let id = cache.insert(session(size), now + Duration::from_secs(later));
            assert_eq!(id != NO_SESSION, admitted, "{name}");
            assert_eq!(cache.counts().sessions, 1, "{name}");
        }

        let (now, later) = (SystemClock.now(), SystemClock.now() + Duration::from_secs(200));
        let cache = SessionCache::new(1);
        let id = cache.insert(session(2), now);
        drop(cache.check_out(id, 1, false, later));
        assert_eq!(cache.insert(session(2), later), NO_SESSION, "old but used, and as large");
        assert_ne!(cache.insert(session(3), later), NO_SESSION, "old, used, and smaller");
        assert_eq!(cache.counts().evictions, 1);
    }
}
