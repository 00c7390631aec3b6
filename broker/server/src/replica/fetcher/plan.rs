//! What a fetcher asks its source next, and which answers still count. Pure: no socket, no log, no
//! clock of its own.
//!
//! A partition is named in a request only when what the source knows of it (`named`) is not what is
//! wanted: its position moved, it may not be fetched now, or it left. So a round costs what changed,
//! not what there is, and an idle partition of thousands costs nothing (KIP-227).
//!
//! An answer counts only for a partition that is fetched now and whose position is still the one that
//! the source was told: whatever was asked in an older leader epoch, or before a truncation, is not
//! found any more ([`Plan::expected`]). Work outside of the plan (a truncation, a sync) is begun with
//! [`Plan::hold`] and ended with [`Plan::resume`], which does nothing if the partition was changed by
//! the controller meanwhile.
//!
//! Source: Kafka 3.9 `FetchSessionHandler`, `AbstractFetcherThread`, `PartitionFetchState`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use crate::replica::fetch_session::{INITIAL_EPOCH, NO_SESSION};

/// The first wait after an error; doubled with each that follows, up to `replica.fetch.backoff.ms`.
///
/// Short, since most errors are a source that has not heard of its leadership yet.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);

/// Where a partition's next bytes begin, and what is behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The epoch of the leadership that is followed.
    pub leader_epoch: LeaderEpoch,
    /// The first offset wanted: everything before it is vouched for.
    pub fetch_offset: Offset,
    /// The epoch of the last record here, -1 if there is none: by it the source finds a divergence.
    pub last_fetched_epoch: LeaderEpoch,
    /// The first offset of the log here.
    pub log_start_offset: Offset,
}

/// A partition that is to be copied from the plan's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// Its name.
    pub partition: TopicPartition,
    /// The id of its topic, zero if that has none.
    pub topic_id: Uuid,
    /// Where to begin.
    pub position: Position,
}

/// A partition of the plan, as it was when it was looked up; good until the controller changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    index: usize,
    generation: u64,
}

/// A topic as an answer names it.
#[derive(Debug, Clone, Copy)]
pub enum Topic<'a> {
    /// Up to Fetch version 12.
    Name(&'a str),
    /// From version 13 on.
    Id(Uuid),
}

/// A request: what it says of the session, what it adds or moves, and what it leaves out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The session; of a full request, the one that it ends.
    pub session_id: i32,
    /// 0 for a full request.
    pub session_epoch: i32,
    /// Whether topics are named by id.
    pub uses_topic_ids: bool,
    /// Positions that the source does not know yet; those of one topic stand together.
    pub wanted: Vec<Follow>,
    /// Partitions that leave the session; those of one topic stand together.
    pub forgotten: Vec<(TopicPartition, Uuid)>,
}

/// When there is something to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// When the first wait after an error is over.
    At(Instant),
    /// Not before something is changed from outside.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fetching,
    /// To be asked where its log's last epoch ends, before anything is fetched.
    Asking,
    /// Somebody works on the log: nothing may be appended.
    Held,
    BackingOff,
    /// Nothing to do before the controller says more.
    Ended,
    /// Removed; forgotten once the source was told.
    Gone,
}

/// What the source was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Named {
    topic_id: Uuid,
    position: Position,
}

#[derive(Debug)]
struct Slot {
    partition: TopicPartition,
    topic_id: Uuid,
    generation: u64,
    phase: Phase,
    position: Position,
    named: Option<Named>,
    /// Whether its log agrees with the source's as far as it goes, or fetches show where it does not.
    is_in_line: bool,
    /// Whether its index is in the list of changes.
    is_changed: bool,
    /// Errors since the last good answer.
    failures: u32,
}

/// The partitions that are copied from one source, and the fetch session with it.
#[derive(Debug, Default)]
pub struct Plan {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    index: HashMap<Arc<str>, HashMap<i32, usize>>,
    names: HashMap<Uuid, Arc<str>>,
    /// Indexes of slots whose place in the session may have to change.
    changed: Vec<usize>,
    waits: BinaryHeap<Reverse<(Instant, Key)>>,
    generation: u64,
    fetching_count: usize,
    /// Whether logs are brought in line before they are fetched, since a fetch does not show it.
    asks_first: bool,
    /// Indexes of slots that are, or were, [`Phase::Asking`].
    asking: Vec<usize>,
    /// Partitions there are, and those of topics without an id.
    count: usize,
    without_id_count: usize,
    session_id: i32,
    session_epoch: i32,
    uses_topic_ids: bool,
}

impl Plan {
    /// Makes a plan for a source whose answers to fetches do not say where a log diverges (before Fetch 12):
    /// it is asked before. The default is for all others.
    pub fn asking_first() -> Self {
        Self { asks_first: true, ..Self::default() }
    }

    /// Copies `follow` from now on; another position of the same partition ends.
    pub fn add(&mut self, follow: &Follow) -> Key {
        let index = self.place(&follow.partition);
        self.generation += 1;
        let generation = self.generation;
        let is_without_id = follow.topic_id.is_zero();
        let is_in_line = !self.asks_first;
        if let Some(slot) = &mut self.slots[index] {
            if slot.phase != Phase::Gone {
                self.count -= 1;
                self.without_id_count -= usize::from(slot.topic_id.is_zero());
            }
            if slot.topic_id != follow.topic_id {
                self.names.remove(&slot.topic_id);
            }
            (slot.topic_id, slot.position) = (follow.topic_id, follow.position);
            (slot.generation, slot.failures) = (generation, 0);
            slot.is_in_line = is_in_line;
        }
        if !is_without_id {
            self.names.insert(follow.topic_id, Arc::clone(&follow.partition.topic));
        }
        self.count += 1;
        self.without_id_count += usize::from(is_without_id);
        self.set_phase(index, Phase::Fetching);
        Key { index, generation }
    }

    /// Copies a partition no more: no answer for it counts from now on.
    pub fn remove(&mut self, partition: &TopicPartition) {
        let found = self.index.get(&partition.topic).and_then(|of| of.get(&partition.partition));
        let Some(index) = found.copied() else { return };
        self.generation += 1;
        let Some(slot) = &mut self.slots[index] else { return };
        if slot.phase == Phase::Gone {
            return;
        }
        slot.generation = self.generation;
        self.count -= 1;
        self.without_id_count -= usize::from(slot.topic_id.is_zero());
        self.set_phase(index, Phase::Gone);
    }

    /// Returns how many partitions are copied, or wait to be.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns whether no partition is copied.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns when there is something to ask.
    pub fn due(&mut self, now: Instant) -> Due {
        self.end_waits(now);
        match self.waits.peek() {
            _ if self.fetching_count > 0 || !self.asking.is_empty() => Due::Now,
            Some(Reverse((until, _))) => Due::At(*until),
            None => Due::Never,
        }
    }

    /// Returns when the first wait after an error ends, if there is one.
    pub fn next_wait(&self) -> Option<Instant> {
        self.waits.peek().map(|Reverse((until, _))| *until)
    }

    /// Returns whether there is anything to fetch.
    pub fn is_fetching(&self) -> bool {
        self.fetching_count > 0
    }

    /// Returns the partitions that the source is to be asked about before they are fetched, and holds them.
    pub fn take_asking(&mut self) -> Vec<Key> {
        let mut taken = Vec::new();
        for index in std::mem::take(&mut self.asking) {
            let Some(slot) = &self.slots[index] else { continue };
            if slot.phase == Phase::Asking {
                taken.push(Key { index, generation: slot.generation });
                self.set_phase(index, Phase::Held);
            }
        }
        taken
    }

    /// Takes in that a partition's log agrees with the source's as far as it goes.
    pub fn in_line(&mut self, key: Key) {
        if let Some(slot) = self.current(key) {
            slot.is_in_line = true;
        }
    }

    /// Makes the next request, with topic ids if `may_use_topic_ids` and every topic has one.
    pub fn ask(&mut self, may_use_topic_ids: bool) -> Ask {
        let uses_topic_ids = may_use_topic_ids && self.without_id_count == 0;
        if self.uses_topic_ids != uses_topic_ids {
            self.uses_topic_ids = uses_topic_ids;
            self.session_epoch = INITIAL_EPOCH;
        }
        let mut ask = Ask {
            session_id: self.session_id,
            session_epoch: self.session_epoch,
            uses_topic_ids,
            ..Ask::default()
        };
        if self.session_epoch == INITIAL_EPOCH {
            // What the source knew ends with the old session.
            for slot in self.slots.iter_mut().flatten() {
                slot.named = None;
            }
            self.changed.clear();
            self.changed.extend(0..self.slots.len());
        }
        for index in std::mem::take(&mut self.changed) {
            self.settle(index, &mut ask);
        }
        let by_name = |a: &TopicPartition, b: &TopicPartition| a.cmp(b);
        ask.wanted.sort_unstable_by(|a, b| by_name(&a.partition, &b.partition));
        ask.forgotten.sort_unstable_by(|a, b| a.1.cmp(&b.1).then_with(|| by_name(&a.0, &b.0)));
        ask
    }

    /// Takes in that the source answered in `session_id`.
    pub fn answered(&mut self, session_id: i32) {
        self.session_epoch = match (session_id, self.session_epoch) {
            // The source keeps no session for us: each request names everything.
            (NO_SESSION, _) => INITIAL_EPOCH,
            (_, i32::MAX) => 1,
            (_, epoch) => epoch + 1,
        };
        self.session_id = session_id;
    }

    /// Takes in that the session is of no use: the connection was lost, or the source forgot it.
    pub fn lost(&mut self) {
        self.session_epoch = INITIAL_EPOCH;
        for slot in self.slots.iter_mut().flatten() {
            slot.named = None;
        }
    }

    /// Finds the partition that an answer is about, if the answer counts.
    pub fn expected(&self, topic: Topic<'_>, partition: i32) -> Option<Key> {
        let name = match topic {
            Topic::Name(name) => name,
            Topic::Id(id) => &**self.names.get(&id)?,
        };
        let index = *self.index.get(name)?.get(&partition)?;
        let slot = self.slots[index].as_ref()?;
        let wanted = Named { topic_id: slot.topic_id, position: slot.position };
        let counts = slot.phase == Phase::Fetching && slot.named == Some(wanted);
        counts.then_some(Key { index, generation: slot.generation })
    }

    /// Returns a partition's name and position, unless it was changed meanwhile.
    pub fn get(&self, key: Key) -> Option<(&TopicPartition, Position)> {
        let slot = self.slots.get(key.index)?.as_ref()?;
        let is_current = slot.generation == key.generation && slot.phase != Phase::Gone;
        is_current.then_some((&slot.partition, slot.position))
    }

    /// Goes on at `position`, after an answer.
    ///
    /// # Panics
    /// If it is of another leader epoch: only the controller changes that.
    pub fn advance(&mut self, key: Key, position: Position) {
        let Some(slot) = self.current(key) else { return };
        assert!(slot.position.leader_epoch == position.leader_epoch, "an answer changes no epoch");
        slot.failures = 0;
        if slot.position != position {
            slot.position = position;
            self.mark(key.index);
        }
    }

    /// Fetches nothing of a partition until [`Plan::resume`].
    pub fn hold(&mut self, key: Key) {
        if self.current(key).is_some() {
            self.set_phase(key.index, Phase::Held);
        }
    }

    /// Fetches a partition again, from `position` on.
    pub fn resume(&mut self, key: Key, position: Position) {
        if self.current(key).is_some_and(|slot| slot.phase == Phase::Held) {
            self.set_phase(key.index, Phase::Fetching);
            self.advance(key, position);
        }
    }

    /// Fetches nothing of a partition for a while, at most `longest`: the source could not answer.
    pub fn back_off(&mut self, key: Key, now: Instant, longest: Duration) {
        let Some(slot) = self.current(key) else { return };
        let wait = FIRST_BACKOFF.saturating_mul(1 << slot.failures.min(16)).min(longest);
        slot.failures += 1;
        self.set_phase(key.index, Phase::BackingOff);
        self.waits.push(Reverse((now + wait, key)));
    }

    /// Fetches nothing of a partition until `until`, if it is fetched now: it is not its turn.
    pub fn pause(&mut self, key: Key, until: Instant) {
        if self.current(key).is_some_and(|slot| slot.phase == Phase::Fetching) {
            self.set_phase(key.index, Phase::BackingOff);
            self.waits.push(Reverse((until, key)));
        }
    }

    /// Fetches a partition no more until the controller says more: it has another leader by now, or its
    /// log cannot be used.
    pub fn end(&mut self, key: Key) {
        if self.current(key).is_some() {
            self.set_phase(key.index, Phase::Ended);
        }
    }

    fn current(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index)?.as_mut()?;
        let is_current = slot.generation == key.generation && slot.phase != Phase::Gone;
        is_current.then_some(slot)
    }

    /// Finds the slot of `partition`, or makes one that is [`Phase::Gone`].
    fn place(&mut self, partition: &TopicPartition) -> usize {
        let of_topic = self.index.entry(Arc::clone(&partition.topic)).or_default();
        *of_topic.entry(partition.partition).or_insert_with(|| {
            let slot = Slot {
                partition: partition.clone(),
                topic_id: Uuid::ZERO,
                generation: 0,
                phase: Phase::Gone,
                position: Position {
                    leader_epoch: LeaderEpoch(-1),
                    fetch_offset: Offset(0),
                    last_fetched_epoch: LeaderEpoch(-1),
                    log_start_offset: Offset(0),
                },
                named: None,
                is_in_line: true,
                is_changed: false,
                failures: 0,
            };
            if let Some(index) = self.free.pop() {
                self.slots[index] = Some(slot);
                return index;
            }
            self.slots.push(Some(slot));
            self.slots.len() - 1
        })
    }

    fn set_phase(&mut self, index: usize, phase: Phase) {
        let Some(slot) = &mut self.slots[index] else { return };
        let asks = phase == Phase::Fetching && !slot.is_in_line;
        let phase = if asks { Phase::Asking } else { phase };
        if asks {
            self.asking.push(index);
        }
        self.fetching_count -= usize::from(slot.phase == Phase::Fetching);
        self.fetching_count += usize::from(phase == Phase::Fetching);
        slot.phase = phase;
        self.mark(index);
    }

    fn mark(&mut self, index: usize) {
        if let Some(slot) = &mut self.slots[index]
            && !std::mem::replace(&mut slot.is_changed, true)
        {
            self.changed.push(index);
        }
    }

    /// Fetches again what has waited long enough.
    fn end_waits(&mut self, now: Instant) {
        while let Some(Reverse((until, key))) = self.waits.peek().copied() {
            let is_waiting = self.current(key).is_some_and(|slot| slot.phase == Phase::BackingOff);
            if is_waiting && until > now {
                return;
            }
            self.waits.pop();
            if is_waiting {
                self.set_phase(key.index, Phase::Fetching);
            }
        }
    }

    /// Has `ask` tell the source what it does not know of one partition.
    fn settle(&mut self, index: usize, ask: &mut Ask) {
        let Some(slot) = &mut self.slots[index] else { return };
        slot.is_changed = false;
        let wanted = Named { topic_id: slot.topic_id, position: slot.position };
        let wanted = (slot.phase == Phase::Fetching).then_some(wanted);
        let named = std::mem::replace(&mut slot.named, wanted);
        if named != wanted {
            // A topic that was made again is another one where topics have ids; elsewhere the new
            // position takes the old one's place.
            let is_other = wanted.is_none_or(|wanted| {
                ask.uses_topic_ids && named.is_some_and(|named| named.topic_id != wanted.topic_id)
            });
            if let Some(named) = named
                && is_other
            {
                ask.forgotten.push((slot.partition.clone(), named.topic_id));
            }
            if let Some(Named { topic_id, position }) = wanted {
                let partition = slot.partition.clone();
                ask.wanted.push(Follow { partition, topic_id, position });
            }
        }
        if slot.phase == Phase::Gone {
            self.drop_slot(index);
        }
    }

    fn drop_slot(&mut self, index: usize) {
        let Some(slot) = self.slots[index].take() else { return };
        self.free.push(index);
        if let Some(of_topic) = self.index.get_mut(&slot.partition.topic) {
            of_topic.remove(&slot.partition.partition);
            if of_topic.is_empty() {
                self.index.remove(&slot.partition.topic);
                self.names.remove(&slot.topic_id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
