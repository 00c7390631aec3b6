//! Which replica goes best from one broker to another, kept in order while replicas move: nothing is looked through for
//! each of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Where something goes from, and where to.
pub(super) type Way = (i32, i32);

/// What goes first: the topic that is least evenly spread between the two, then the smallest partition, then the first.
type Key = (Reverse<i64>, u64, usize);

/// The partitions of a topic that may go one way: the smallest first.
#[derive(Debug, Default)]
struct OfTopic {
    slots: BTreeSet<(u64, usize)>,
    /// Where the topic stands in the order.
    key: Option<Key>,
}

/// The partitions that may go one way.
#[derive(Debug, Default)]
struct Candidates {
    topics: BTreeMap<usize, OfTopic>,
    /// The first partition of each topic, with the topic.
    order: BTreeSet<(Key, usize)>,
}

impl Candidates {
    /// Puts a topic where it belongs: so many more replicas of it does who gives hold.
    fn place(&mut self, topic: usize, gain: i64) {
        let Some(of_topic) = self.topics.get_mut(&topic) else { return };
        let first = of_topic.slots.first().map(|(size, index)| (Reverse(gain), *size, *index));
        if first == of_topic.key {
            return;
        }
        if let Some(key) = of_topic.key {
            self.order.remove(&(key, topic));
        }
        of_topic.key = first;
        self.order.extend(first.map(|key| (key, topic)));
    }
}

/// A partition as it stands in the order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Its place among all partitions.
    pub(super) index: usize,
    /// Its topic's.
    pub(super) topic: usize,
    /// What it weighs.
    pub(super) size: u64,
}

/// All ways that were asked for.
#[derive(Debug, Default)]
pub(super) struct Ways(BTreeMap<Way, Candidates>);

impl Ways {
    /// Whether a way is kept in order.
    pub(super) fn has(&self, way: Way) -> bool {
        self.0.contains_key(&way)
    }

    /// Keeps a way in order from now on.
    pub(super) fn begin(&mut self, way: Way) {
        self.0.entry(way).or_default();
    }

    /// The ways that are kept from one broker.
    pub(super) fn from(&self, giver: i32) -> Vec<Way> {
        self.0.range((giver, i32::MIN)..=(giver, i32::MAX)).map(|(way, _)| *way).collect()
    }

    /// The ways that are kept from or to one broker.
    pub(super) fn at(&self, broker: i32) -> Vec<Way> {
        let is_at = |way: &&Way| way.0 == broker || way.1 == broker;
        self.0.keys().filter(is_at).copied().collect()
    }

    /// Takes in that a partition may go one way.
    pub(super) fn add(&mut self, way: Way, one: Candidate, gain: i64) {
        let Some(candidates) = self.0.get_mut(&way) else { return };
        candidates.topics.entry(one.topic).or_default().slots.insert((one.size, one.index));
        candidates.place(one.topic, gain);
    }

    /// Takes in that a partition may go one way no more.
    pub(super) fn remove(&mut self, way: Way, one: Candidate, gain: i64) {
        let Some(candidates) = self.0.get_mut(&way) else { return };
        if let Some(of_topic) = candidates.topics.get_mut(&one.topic) {
            of_topic.slots.remove(&(one.size, one.index));
            candidates.place(one.topic, gain);
        }
    }

    /// Takes in how many more replicas of a topic who gives now holds.
    pub(super) fn weigh(&mut self, way: Way, topic: usize, gain: i64) {
        if let Some(candidates) = self.0.get_mut(&way) {
            candidates.place(topic, gain);
        }
    }

    /// The partition that goes best.
    pub(super) fn best(&self, way: Way) -> Option<usize> {
        self.0.get(&way)?.order.first().map(|((_, _, index), _)| *index)
    }
}
