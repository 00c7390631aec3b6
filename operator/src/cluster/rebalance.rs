//! Which replicas move so that brokers hold, and lead, as much as each other. Pure.
//!
//! Replicas first, one at a time: from who holds most to who holds least, while they differ by two or more. Of the
//! partitions that may go that way, the one whose topic is least evenly spread goes, and of these the smallest: brokers
//! get a share of each topic, by as few replicas as there can be. Of a partition no more replicas come into one rack than
//! were there. Then preferred leaders (`leaders`), which costs no byte: another order of the same replicas.
//!
//! The same layout has the same answer. After the first replicas have moved the answer is the others; after the first
//! leaders have, it is as many as were left, none of which has moved yet: whoever is interrupted goes on where it was. An
//! even layout has none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Layout, Move};
use crate::assignment::Broker;
use leaders::Led;
use ways::{Candidate, Way, Ways};

mod leaders;
mod ways;

/// What moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// A replica each, in order; a partition may be there twice.
    pub replicas: Vec<Move>,
    /// Partitions that another of their replicas leads, in order, once all replicas have moved.
    pub leaders: Vec<Move>,
}

impl Moves {
    /// Whether nothing moves.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty() && self.leaders.is_empty()
    }
}

/// Spreads what lies on `members` over them; what others hold, and topics that somebody else decides about, count and
/// stay.
pub fn moves(layout: &Layout, members: &[Broker]) -> Moves {
    moves_on(Board::new(layout, members))
}

/// The same whatever partitions weigh: sizes change with every record, and these moves only when something is placed
/// otherwise. For who is to approve of them.
pub fn lasting_moves(layout: &Layout, members: &[Broker]) -> Moves {
    moves_on(Board { heeds_sizes: false, ..Board::new(layout, members) })
}

fn moves_on(mut board: Board<'_>) -> Moves {
    let mut replicas = Vec::new();
    while let Some(one) = board.move_replica() {
        replicas.push(one);
    }
    let leaders = board.move_leaders();
    Moves { replicas, leaders }
}

/// Whether a broker holds less than half of its share: it has come, and got nothing or little yet.
pub fn is_called_for(layout: &Layout, members: &[Broker]) -> bool {
    let board = Board::new(layout, members);
    let all: usize = board.held.values().map(BTreeSet::len).sum();
    board.held.values().any(|held| held.len() * members.len() * 2 < all)
}

/// A partition, and where it lies.
#[derive(Debug)]
struct Slot<'a> {
    topic: &'a str,
    topic_id: &'a str,
    /// The topic's place in the layout.
    topic_index: usize,
    partition: usize,
    replicas: Vec<i32>,
    size: Option<u64>,
    may_move: bool,
}

impl Slot<'_> {
    fn moved(&self, from: Vec<i32>) -> Move {
        Move {
            topic: self.topic.to_owned(),
            topic_id: self.topic_id.to_owned(),
            partition: self.partition,
            from,
            to: self.replicas.clone(),
            size: self.size,
        }
    }
}

/// All partitions, and what of them each member holds, by their places in `slots`.
#[derive(Debug)]
struct Board<'a> {
    /// Whether small partitions are moved rather than large ones.
    heeds_sizes: bool,
    slots: Vec<Slot<'a>>,
    racks: BTreeMap<i32, &'a str>,
    held: BTreeMap<i32, BTreeSet<usize>>,
    /// Replicas of a topic on a broker, by topic and broker.
    held_of: BTreeMap<(usize, i32), i64>,
    /// What may go where.
    ways: Ways,
}

impl<'a> Board<'a> {
    fn new(layout: &'a Layout, members: &'a [Broker]) -> Self {
        let nothing = || members.iter().map(|member| (member.id, BTreeSet::new()));
        let racks = members.iter().filter_map(|one| Some((one.id, one.rack.as_deref()?)));
        let mut board = Self {
            heeds_sizes: true,
            slots: Vec::new(),
            racks: racks.collect(),
            held: nothing().collect(),
            held_of: BTreeMap::new(),
            ways: Ways::default(),
        };
        for (topic_index, topic) in layout.topics.iter().enumerate() {
            if topic.is_going {
                continue;
            }
            for (number, partition) in topic.partitions.iter().enumerate() {
                board.slots.push(Slot {
                    topic: &topic.name,
                    topic_id: topic.id.as_deref().unwrap_or_default(),
                    topic_index,
                    partition: number,
                    replicas: partition.targets(),
                    size: partition.size,
                    may_move: topic.id.is_some() && !topic.is_fixed,
                });
                board.put(board.slots.len() - 1);
            }
        }
        board
    }

    /// Counts a slot in.
    fn put(&mut self, index: usize) {
        self.count(index, 1);
        for id in self.slots[index].replicas.clone() {
            if let Some(held) = self.held.get_mut(&id) {
                held.insert(index);
                for way in self.ways.from(id) {
                    self.offer(index, way);
                }
            }
        }
    }

    /// Counts a slot out, before it changes.
    fn take(&mut self, index: usize) {
        self.count(index, -1);
        for id in self.slots[index].replicas.clone() {
            if let Some(held) = self.held.get_mut(&id) {
                held.remove(&index);
                for way in self.ways.from(id) {
                    let gain = self.gain(self.slots[index].topic_index, way);
                    self.ways.remove(way, self.candidate(index), gain);
                }
            }
        }
    }

    fn count(&mut self, index: usize, by: i64) {
        let slot = &self.slots[index];
        let topic = slot.topic_index;
        for id in slot.replicas.clone() {
            *self.held_of.entry((topic, id)).or_default() += by;
            for way in self.ways.at(id) {
                let gain = self.gain(topic, way);
                self.ways.weigh(way, topic, gain);
            }
        }
    }

    /// Moves one replica, from who holds most to who holds least, as far as a partition may go that way.
    fn move_replica(&mut self) -> Option<Move> {
        let mut fullest: Vec<i32> = self.held.keys().copied().collect();
        fullest.sort_by_key(|id| (Reverse(self.held[id].len()), *id));
        let mut emptiest = fullest.clone();
        emptiest.sort_by_key(|id| (self.held[id].len(), *id));
        for giver in &fullest {
            for taker in &emptiest {
                if self.held[giver].len() < self.held[taker].len() + 2 {
                    break;
                }
                if let Some(index) = self.best(*giver, *taker) {
                    return Some(self.replace(index, *giver, *taker));
                }
            }
        }
        None
    }

    /// The partition that goes best from one broker to another.
    fn best(&mut self, giver: i32, taker: i32) -> Option<usize> {
        let way = (giver, taker);
        if !self.ways.has(way) {
            self.ways.begin(way);
            for index in self.held[&giver].clone() {
                self.offer(index, way);
            }
        }
        self.ways.best(way)
    }

    /// Notes that a partition goes one way, if it may.
    fn offer(&mut self, index: usize, way: Way) {
        let slot = &self.slots[index];
        let (giver, taker) = way;
        let may_go = slot.may_move
            && !slot.replicas.contains(&taker)
            && self.keeps_racks(&slot.replicas, giver, taker);
        if may_go {
            let gain = self.gain(slot.topic_index, way);
            self.ways.add(way, self.candidate(index), gain);
        }
    }

    fn candidate(&self, index: usize) -> Candidate {
        let slot = &self.slots[index];
        let size = slot.size.filter(|_| self.heeds_sizes).unwrap_or_default();
        Candidate { index, topic: slot.topic_index, size }
    }

    /// How many more replicas of a topic who gives holds than who takes.
    fn gain(&self, topic: usize, (giver, taker): Way) -> i64 {
        of(&self.held_of, topic, giver) - of(&self.held_of, topic, taker)
    }

    /// Whether no rack has more of a partition than it had.
    fn keeps_racks(&self, replicas: &[i32], giver: i32, taker: i32) -> bool {
        let Some(rack) = self.racks.get(&taker) else { return true };
        let others = replicas.iter().filter(|id| **id != giver);
        let there = others.filter(|id| self.racks.get(id) == Some(rack)).count();
        there == 0 || self.racks.get(&giver) == Some(rack)
    }

    fn replace(&mut self, index: usize, giver: i32, taker: i32) -> Move {
        self.take(index);
        let slot = &mut self.slots[index];
        let from = slot.replicas.clone();
        for id in &mut slot.replicas {
            if *id == giver {
                *id = taker;
            }
        }
        let moved = slot.moved(from);
        self.put(index);
        moved
    }

    /// Partitions that members lead, with those who may lead them instead.
    fn led(&self) -> Vec<Led> {
        let one = |(index, slot): (usize, &Slot<'_>)| {
            let leader = *slot.replicas.first().filter(|id| self.held.contains_key(id))?;
            let others = slot.replicas.iter().skip(1).copied();
            let heirs = others.filter(|id| slot.may_move && self.held.contains_key(id)).collect();
            Some(Led { index, topic: slot.topic_index, leader, heirs })
        };
        self.slots.iter().enumerate().filter_map(one).collect()
    }

    /// Has others lead partitions, so that members lead as many as each other.
    fn move_leaders(&mut self) -> Vec<Move> {
        let goals = leaders::even_out(self.held.keys().copied(), &self.led());
        let lead = |(index, to): (usize, i32)| {
            let slot = &mut self.slots[index];
            let from = slot.replicas.clone();
            // The others keep their order.
            slot.replicas.sort_by_key(|id| *id != to);
            slot.moved(from)
        };
        goals.into_iter().map(lead).collect()
    }
}

fn of(counts: &BTreeMap<(usize, i32), i64>, topic: usize, broker: i32) -> i64 {
    counts.get(&(topic, broker)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
