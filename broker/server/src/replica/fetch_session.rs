//! What one consumer reads: the partitions of a fetch request, and of a fetch session (KIP-227) over
//! its life.
//!
//! A session remembers its partitions, so that the next request names only what changed. It also
//! keeps a queue of the partitions that may have something to tell; all others are known to stand
//! still and are not looked at (a partition that moves marks the session's waiter). A request
//! without a session is the same thing with every partition in the queue, dropped at its end.
//!
//! Pure but for the partitions it points to; reading is in `fetch`, which sessions live in `cache`.
//!
//! Source: KIP-227, Kafka 3.9 `FetchSession`. Ours: the queue; Kafka walks every partition.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use broker_protocol::quantity::Offset;
use broker_protocol::uuid::Uuid;

use super::delayed::{FetchWaiter, Subscription};
use super::partition::Partition;
use super::partition::read::{FetchPosition, Isolation, Read, ReadError};

pub mod cache;

/// The id that means "no session".
pub const NO_SESSION: i32 = 0;

/// The epoch of a request that opens a session.
pub const INITIAL_EPOCH: i32 = 0;

/// The epoch of a request that wants no session, or ends its own.
pub const FINAL_EPOCH: i32 = -1;

/// A topic as a request names it: by name up to Fetch version 12, by id from 13 on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRef {
    /// By name.
    Name(Arc<str>),
    /// By id.
    Id(Uuid),
}

/// What the client was last told of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Of the last answer.
    pub high_watermark: Offset,
    /// Of the last answer.
    pub log_start_offset: Offset,
}

/// A partition found, with the interest in it.
#[derive(Debug)]
pub struct Source {
    /// The partition; replaced when it was deleted.
    pub partition: Arc<Partition>,
    /// Marks the session when the partition moves.
    pub subscription: Option<Subscription>,
}

/// One partition of a session.
#[derive(Debug)]
pub struct SessionPartition {
    /// The topic, as the client names it.
    pub topic: TopicRef,
    /// The partition's number.
    pub partition: i32,
    /// What the client wants of it.
    pub position: FetchPosition,
    /// What the client knows of it; none before the first answer and after an error.
    pub told: Option<Told>,
    /// Where it is read, once looked up.
    pub source: Option<Source>,
    /// What the request under way found; left by a request that was cancelled.
    pub outcome: Option<Result<Read, ReadError>>,
    /// Whether its index is in the queue.
    queued: bool,
    /// Whether it got bytes in the answer that is being made.
    served: bool,
}

/// The partitions that one consumer reads. Owned by one request at a time.
#[derive(Debug)]
pub struct FetchSession {
    id: i32,
    uses_topic_ids: bool,
    isolation: Isolation,
    /// Indexes stay valid for the life of a partition in the session: subscriptions carry them.
    partitions: Vec<Option<SessionPartition>>,
    free: Vec<u32>,
    /// Places that the queue may still name; free once it has been walked.
    forgotten: Vec<u32>,
    index: HashMap<TopicRef, HashMap<i32, u32>>,
    queue: VecDeque<u32>,
    waiter: Arc<FetchWaiter>,
}

impl FetchSession {
    /// Makes a set of partitions that is no session yet.
    pub fn new(uses_topic_ids: bool, isolation: Isolation) -> Self {
        Self {
            id: NO_SESSION,
            uses_topic_ids,
            isolation,
            partitions: Vec::new(),
            free: Vec::new(),
            forgotten: Vec::new(),
            index: HashMap::new(),
            queue: VecDeque::new(),
            waiter: FetchWaiter::new(),
        }
    }

    /// Returns the session's id, [`NO_SESSION`] for a request without one.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Returns whether topics are named by their ids.
    pub fn uses_topic_ids(&self) -> bool {
        self.uses_topic_ids
    }

    /// Returns what the current request may see.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Returns what a request waits on.
    pub fn waiter(&self) -> &Arc<FetchWaiter> {
        &self.waiter
    }

    /// Returns the number of partitions.
    pub fn len(&self) -> usize {
        self.partitions.len() - self.free.len() - self.forgotten.len()
    }

    /// Returns whether there is no partition.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a partition, or changes what is wanted of it, and queues it.
    pub fn want(&mut self, topic: &TopicRef, partition: i32, position: FetchPosition) {
        if let Some(index) = self.find(topic, partition) {
            if let Some(known) = &mut self.partitions[index as usize] {
                known.position = position;
            }
            self.enqueue(index);
            return;
        }
        let fresh = SessionPartition {
            topic: topic.clone(),
            partition,
            position,
            told: None,
            source: None,
            outcome: None,
            queued: false,
            served: false,
        };
        let index = if let Some(index) = self.free.pop() {
            self.partitions[index as usize] = Some(fresh);
            index
        } else {
            self.partitions.push(Some(fresh));
            self.partitions.len() as u32 - 1
        };
        self.index.entry(topic.clone()).or_default().insert(partition, index);
        self.enqueue(index);
    }

    /// Adds a partition to a request without a session, without a look at those that it has:
    /// [`FetchSession::drop_twins`] follows.
    pub fn push(&mut self, topic: &TopicRef, partition: i32, position: FetchPosition) {
        let index = self.partitions.len() as u32;
        self.partitions.push(Some(SessionPartition {
            topic: topic.clone(),
            partition,
            position,
            told: None,
            source: None,
            outcome: None,
            queued: true,
            served: false,
        }));
        self.queue.push_back(index);
    }

    /// Forgets a partition, if it is there.
    pub fn forget(&mut self, topic: &TopicRef, partition: i32) {
        let Some(of_topic) = self.index.get_mut(topic) else { return };
        if let Some(index) = of_topic.remove(&partition) {
            self.partitions[index as usize] = None;
            self.forgotten.push(index);
        }
        if of_topic.is_empty() {
            self.index.remove(topic);
        }
    }

    /// Begins a request: takes in what moved since the last, and another isolation level.
    pub fn begin(&mut self, isolation: Isolation) {
        if self.isolation != isolation {
            // Another level has another end: what stood still for the old one may not for this.
            self.isolation = isolation;
            for index in 0..self.partitions.len() as u32 {
                self.enqueue(index);
            }
        }
        let mut dirty = Vec::new();
        self.waiter.take_dirty(&mut dirty);
        for index in dirty {
            self.enqueue(index);
        }
    }

    /// Returns the indexes that may have something to tell, in the order to read them.
    pub fn queue(&self) -> &VecDeque<u32> {
        &self.queue
    }

    /// Queues a partition, unless it is queued or was forgotten.
    pub fn enqueue(&mut self, index: u32) {
        if let Some(Some(partition)) = self.partitions.get_mut(index as usize)
            && !partition.queued
        {
            partition.queued = true;
            self.queue.push_back(index);
        }
    }

    /// Ends a request: `idle` partitions leave the queue until they move, `served` ones go to its end,
    /// so that those that found the answer full come first; what was forgotten leaves for good.
    pub fn settle(&mut self, idle: &[u32], served: &[u32]) {
        for index in idle {
            if let Some(partition) = &mut self.partitions[*index as usize] {
                partition.queued = false;
            }
        }
        for index in served {
            if let Some(partition) = &mut self.partitions[*index as usize] {
                partition.served = true;
            }
        }
        let mut keep = VecDeque::with_capacity(self.queue.len());
        let mut last = Vec::with_capacity(served.len());
        for index in self.queue.drain(..) {
            let Some(partition) = &mut self.partitions[index as usize] else { continue };
            match (partition.queued, std::mem::take(&mut partition.served)) {
                (true, true) => last.push(index),
                (true, false) => keep.push_back(index),
                (false, _) => {}
            }
        }
        keep.extend(last);
        self.queue = keep;
        self.free.append(&mut self.forgotten);
    }

    /// Returns the partition of `index`.
    pub fn get(&self, index: u32) -> Option<&SessionPartition> {
        self.partitions.get(index as usize)?.as_ref()
    }

    /// Returns the partition of `index`.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut SessionPartition> {
        self.partitions.get_mut(index as usize)?.as_mut()
    }

    /// Keeps the last of those that name the same partition, as Kafka does: no request is served more
    /// often than there are partitions.
    pub fn drop_twins(&mut self) {
        if self.partitions.len() < 2 {
            return;
        }
        let named = self.partitions.iter().flatten();
        let mut named: Vec<_> = named.map(|named| (named.partition, &named.topic)).collect();
        named.sort_unstable();
        let has_twins = named.windows(2).any(|pair| pair[0] == pair[1]);
        if has_twins {
            self.merge_twins();
        }
    }

    fn find(&self, topic: &TopicRef, partition: i32) -> Option<u32> {
        self.index.get(topic)?.get(&partition).copied()
    }

    /// Builds the look-up that a set made by [`FetchSession::push`] lacks; the last of twins stays.
    fn merge_twins(&mut self) {
        for index in 0..self.partitions.len() as u32 {
            let Some(partition) = self.get(index) else { continue };
            let (topic, number) = (partition.topic.clone(), partition.partition);
            let twin = self.index.entry(topic).or_default().insert(number, index);
            if let Some(twin) = twin.filter(|twin| *twin != index) {
                self.partitions[twin as usize] = None;
                self.forgotten.push(twin);
            }
        }
        self.settle(&[], &[]);
    }
}

#[cfg(test)]
mod tests {
    use broker_protocol::quantity::LeaderEpoch;

    use super::*;

    fn at(offset: i64) -> FetchPosition {
        FetchPosition {
            fetch_offset: Offset(offset),
            max_bytes: 1,
            current_leader_epoch: LeaderEpoch(-1),
            last_fetched_epoch: LeaderEpoch(-1),
            log_start_offset: Offset(-1),
        }
    }

    fn topic() -> TopicRef {
        TopicRef::Name("t".into())
    }

    fn session(partitions: i32) -> FetchSession {
        let mut session = FetchSession::new(false, Isolation::ReadUncommitted);
        for partition in 0..partitions {
            session.push(&topic(), partition, at(0));
        }
        session.merge_twins();
        session
    }

    fn queue(session: &FetchSession) -> Vec<u32> {
        session.queue().iter().copied().collect()
    }

    #[test]
    fn only_partitions_that_were_named_or_moved_are_looked_at() {
        let mut session = session(4);
        session.settle(&[0, 1, 2, 3], &[]);
        assert_eq!(queue(&session), [0; 0]);
        session.want(&topic(), 2, at(5));
        assert_eq!(queue(&session), [2]);
        assert_eq!(session.get(2).map(|p| p.position.fetch_offset), Some(Offset(5)));
    }

    #[test]
    fn partitions_that_got_bytes_go_behind_those_that_did_not() {
        let mut session = session(4);
        session.settle(&[3], &[0, 1]);
        assert_eq!(queue(&session), [2, 0, 1]);
    }

    #[test]
    fn a_forgotten_partition_leaves_and_its_place_is_used_again() {
        let mut session = session(2);
        session.forget(&topic(), 0);
        session.forget(&topic(), 0);
        session.settle(&[], &[]);
        assert_eq!((session.len(), queue(&session)), (1, vec![1]));
        session.want(&topic(), 7, at(0));
        assert_eq!((session.len(), queue(&session)), (2, vec![1, 0]));
        session.forget(&topic(), 1);
        session.forget(&topic(), 7);
        session.settle(&[], &[]);
        assert!(session.is_empty() && session.queue().is_empty() && session.index.is_empty());
    }

    #[test]
    fn a_partition_named_twice_counts_once_in_a_session() {
        let mut session = FetchSession::new(false, Isolation::ReadUncommitted);
        session.push(&topic(), 0, at(1));
        session.push(&topic(), 0, at(2));
        session.merge_twins();
        assert_eq!((session.len(), queue(&session)), (1, vec![1]));
        assert_eq!(session.get(1).map(|p| p.position.fetch_offset), Some(Offset(2)));
    }

    /// Work in proportion to the partitions named, not to their square: this ends at once or never.
    #[test]
    fn a_million_twins_are_merged_and_forgotten_at_once() {
        let mut session = FetchSession::new(false, Isolation::ReadUncommitted);
        for offset in 0..1_000_000 {
            session.push(&topic(), 0, at(offset));
        }
        session.merge_twins();
        assert_eq!(session.len(), 1);
        for partition in 1..200_000 {
            session.want(&topic(), partition, at(0));
        }
        for partition in 0..200_000 {
            session.forget(&topic(), partition);
        }
        session.settle(&[], &[]);
        assert!(session.is_empty() && session.queue().is_empty());
    }

    #[test]
    fn another_isolation_level_looks_at_everything_again() {
        let mut session = session(3);
        session.settle(&[0, 1, 2], &[]);
        session.begin(Isolation::ReadUncommitted);
        assert_eq!(queue(&session), [0; 0]);
        session.begin(Isolation::ReadCommitted);
        assert_eq!(queue(&session), [0, 1, 2]);
    }
}
