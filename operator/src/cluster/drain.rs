//! How brokers are emptied that are to go: whether they can be, and what moves. Pure.
//!
//! | the broker | then |
//! |---|---|
//! | is named by the assignment of a `Topic` | it stays: somebody wants it |
//! | leaves fewer brokers than a partition has replicas | it stays |
//! | has alone what it does not serve | it is waited for: nobody else can give the records to others |
//! | anything else | what lies on it moves to the brokers that are to be, a batch at a time |
//!
//! All that are to go are emptied together: nothing moves from one of them to another. What moves to one of them
//! already is turned at once.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Layout, Move, Partition, Topic};
use crate::assignment::{Broker, Load, fit};

/// What says that a broker stays.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// What lies where.
    pub layout: &'a Layout,
    /// Brokers that are to be.
    pub wanted: &'a [i32],
    /// Brokers that are to go.
    pub leaving: &'a [i32],
    /// Brokers that `Topic` objects assign partitions to, by the object's name.
    pub assigned: &'a BTreeMap<String, BTreeSet<i32>>,
}

impl Ground<'_> {
    /// Why brokers that are to go stay, by id; one that is not there can go.
    pub fn refusals(&self) -> BTreeMap<i32, String> {
        let short = self.short();
        let refusal = |id: &i32| Some((*id, short.clone().or_else(|| self.named(*id))?));
        self.leaving.iter().filter_map(refusal).collect()
    }

    /// Which topic has more replicas than brokers would be left.
    fn short(&self) -> Option<String> {
        let partitions = self.layout.partitions();
        let (topic, replicas) = partitions
            .filter_map(|(topic, _, partition)| self.has_no_room(topic, partition))
            .max_by_key(|(_, replicas)| *replicas)?;
        let left = self.wanted.len();
        Some(format!(
            "topic {topic} has {replicas} replicas and {left} brokers would be left: have it keep {left} replicas, or \
             more brokers"
        ))
    }

    fn has_no_room<'a>(&self, topic: &'a Topic, partition: &Partition) -> Option<(&'a str, usize)> {
        let targets = partition.targets();
        if !targets.iter().any(|id| self.leaving.contains(id)) {
            return None;
        }
        // A broker of another hand keeps what it has, and gets nothing.
        let kept = |id: &&i32| !self.leaving.contains(id) && !self.wanted.contains(id);
        let room = self.wanted.len() + targets.iter().filter(kept).count();
        (targets.len() > room).then_some((topic.name.as_str(), targets.len()))
    }

    fn named(&self, id: i32) -> Option<String> {
        let (object, _) = self.assigned.iter().find(|(_, brokers)| brokers.contains(&id))?;
        Some(format!(
            "Topic {object} assigns partitions to broker {id}: change its assignment first"
        ))
    }
}

/// What moves off brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// What moves to one of them already: it is turned at once.
    pub turned: Vec<Move>,
    /// What is at rest on one of them, in order.
    pub resting: Vec<Move>,
    /// Why what is left cannot move now, for people; empty if it can.
    pub stuck: String,
}

/// Says where what lies on `leaving` goes: to `usable`, which serve. `at_most` so many that are at rest are looked for.
pub fn moves(layout: &Layout, leaving: &[i32], usable: &[Broker], at_most: usize) -> Moves {
    let all: Vec<Vec<i32>> = layout.partitions().map(|(_, _, one)| one.targets()).collect();
    let mut load = Load::of(&all);
    let mut found = Moves::default();
    for ((topic, number, partition), targets) in layout.partitions().zip(&all) {
        if !targets.iter().any(|id| leaving.contains(id)) {
            continue;
        }
        let list = if partition.is_moving() { &mut found.turned } else { &mut found.resting };
        if !partition.is_moving() && list.len() >= at_most {
            continue;
        }
        match destination(layout, topic, number, partition, leaving, usable, &mut load) {
            Ok(to) => list.push(Move {
                topic: topic.name.clone(),
                topic_id: topic.id.clone().unwrap_or_default(),
                partition: number,
                from: targets.clone(),
                to,
                size: partition.size,
            }),
            Err(why) if found.stuck.is_empty() => found.stuck = why,
            Err(_) => {}
        }
    }
    found
}

fn destination(
    layout: &Layout,
    topic: &Topic,
    number: usize,
    partition: &Partition,
    leaving: &[i32],
    usable: &[Broker],
    load: &mut Load,
) -> Result<Vec<i32>, String> {
    let name = &topic.name;
    if topic.id.is_none() {
        return Err(format!("topic {name} has no id yet: the controller gives it one"));
    }
    let is_registered = |id: &i32| layout.broker(*id).is_some_and(|broker| broker.is_registered);
    if !partition.in_sync.iter().any(is_registered) {
        let held = list(&partition.in_sync);
        return Err(format!(
            "no broker that serves has all of {name}-{number}: broker {held} has, and is waited for"
        ));
    }
    let targets = partition.targets();
    // Whoever stays keeps what it has, also one that new replicas are not placed on.
    let stays = |id: &&i32| !leaving.contains(id) && usable.iter().all(|broker| broker.id != **id);
    let kept = targets.iter().filter(stays).map(|id| Broker { id: *id, rack: rack(layout, *id) });
    let places: Vec<Broker> = usable.iter().cloned().chain(kept).collect();
    let places: Vec<Broker> = places.into_iter().filter(|one| !leaving.contains(&one.id)).collect();
    fit(&places, &[], load, &targets, targets.len()).map_err(|_| {
        let brokers = places.len();
        format!("{name}-{number} has {} replicas, and {brokers} brokers serve", targets.len())
    })
}

fn rack(layout: &Layout, id: i32) -> Option<String> {
    layout.broker(id).and_then(|broker| broker.rack.clone())
}

fn list(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What is left on a broker: replicas, and bytes that are still to be copied, as far as sizes are known. `measured`: of
/// what moves off it already, what brokers say is left.
pub fn left(layout: &Layout, broker: i32, measured: Option<u64>) -> (u64, u64) {
    let (mut replicas, mut resting, mut moving) = (0_u64, 0_u64, 0_u64);
    for (_, _, partition) in layout.partitions() {
        if !partition.replicas.contains(&broker) {
            continue;
        }
        replicas += 1;
        let bytes = if partition.removing.contains(&broker) { &mut moving } else { &mut resting };
        *bytes = bytes.saturating_add(partition.size.unwrap_or_default());
    }
    (replicas, resting.saturating_add(measured.unwrap_or(moving)))
}

#[cfg(test)]
mod tests;
