//! Which brokers are to hold the partitions of a topic that is made or grows. Pure, but for the draw of a start.
//!
//! Source: Kafka 3.9 `ZkAdminManager.createPartitions`, `AdminZkClient.addPartitions`.

use std::collections::BTreeMap;

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::topic;

use super::cordon::Open;
use super::error::{AdminError, PARTITIONS_MAX};
use crate::controller::placement;
use crate::metadata;

/// More partitions for a topic.
#[derive(Debug)]
pub(super) struct Growth<'a> {
    pub(super) topic: &'a str,
    /// How many it is to have in all.
    pub(super) wanted: i32,
    /// The replicas of the new ones, if the client chose them.
    pub(super) chosen: Option<&'a [Vec<i32>]>,
    /// Where a choice of our own begins.
    pub(super) start: usize,
}

impl Growth<'_> {
    /// Returns what `node` lacks: always the same for the same node, and nothing that it has.
    pub(super) fn of(
        &self,
        node: &topic::Topic,
        open: &Open,
    ) -> Result<BTreeMap<i32, Vec<i32>>, AdminError> {
        if !node.adding_replicas.is_empty() || !node.removing_replicas.is_empty() {
            return Err(AdminError::Moving(self.topic.to_owned()));
        }
        let wanted = partition_count(self.wanted)?;
        let current = node.partitions.keys().next_back().map_or(0, |last| last + 1);
        let current = usize::try_from(current).unwrap_or_default();
        if wanted <= current {
            let (topic, asked) = (self.topic.to_owned(), self.wanted);
            return Err(AdminError::NotMore { topic, current, asked });
        }
        let Some(chosen) = self.chosen else {
            let factor = node.partitions.values().next().map_or(1, Vec::len);
            return place(open, self.start, current, wanted - current, factor);
        };
        if chosen.len() != wanted - current {
            return Err(AdminError::Assignment("it must name the replicas of each new partition"));
        }
        let new = (current as i32..).zip(chosen.iter().cloned()).collect();
        check(&new, current, open)?;
        Ok(new)
    }
}

/// Returns a number of partitions that a client asks for, if a topic can have that many.
pub(super) fn partition_count(asked: i32) -> Result<usize, AdminError> {
    let count = usize::try_from(asked).ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
    count.ok_or(AdminError::PartitionCount { asked })
}

/// Draws the broker that gets the first of new partitions.
pub(super) fn start(open: &Open) -> usize {
    fastrand::usize(..open.brokers.len().max(1))
}

/// Places `count` partitions, numbered from `first` on, on the brokers that are open, from `start` on.
pub(super) fn place(
    open: &Open,
    start: usize,
    first: usize,
    count: usize,
    factor: usize,
) -> Result<BTreeMap<i32, Vec<i32>>, AdminError> {
    let rack_of = |(id, broker): (&BrokerId, &metadata::Broker)| (*id, broker.rack.clone());
    let brokers: Vec<_> = open.brokers.iter().map(rack_of).collect();
    let brokers: Vec<_> = brokers.iter().map(|(id, rack)| (*id, rack.as_deref())).collect();
    let placed = placement::place_by_rack(&brokers, first, count, factor, start + first, start)?;
    let ids = |replicas: Vec<BrokerId>| replicas.into_iter().map(|id| id.0).collect();
    Ok((first as i32..).zip(placed.into_iter().map(ids)).collect())
}

/// Checks replicas that a client chose; partitions are numbered from `first` on.
pub(super) fn check(
    chosen: &BTreeMap<i32, Vec<i32>>,
    first: usize,
    open: &Open,
) -> Result<(), AdminError> {
    if chosen.is_empty() {
        return Err(AdminError::Assignment("it names no partition"));
    }
    if !chosen.keys().copied().eq(first as i32..(first + chosen.len()) as i32) {
        return Err(AdminError::Assignment("partitions must be numbered without holes"));
    }
    let factor = chosen.values().next().map_or(0, Vec::len);
    for (partition, replicas) in chosen {
        if replicas.is_empty() || replicas.len() != factor {
            return Err(AdminError::Assignment(
                "every partition must have the same number of replicas",
            ));
        }
        let mut distinct = replicas.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != replicas.len() {
            return Err(AdminError::Assignment("a broker cannot hold a partition twice"));
        }
        if let Some((broker, state)) =
            replicas.iter().find_map(|id| Some((*id, closed(open, *id)?)))
        {
            return Err(AdminError::Closed { partition: *partition, broker, state });
        }
    }
    Ok(())
}

/// How a broker is that gets no replicas just now.
fn closed(open: &Open, id: i32) -> Option<&'static str> {
    let id = BrokerId(id);
    if open.cordoned.contains(&id) {
        return Some("cordoned: it is being emptied, and gets no new replicas");
    }
    (!open.brokers.contains_key(&id)).then_some("not alive")
}
