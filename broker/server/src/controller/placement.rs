//! Which brokers a new partition is put on. Pure.
//!
//! Leaders go round the brokers from a start that the caller draws; the other replicas follow at a
//! shift that grows with each round, so that the load of a broker that dies is spread.
//! Where every broker names its rack, brokers are taken from rack to rack in turn, and a rack gets a
//! second replica of a partition only when each rack has one. Where some do and others do not, nothing is
//! placed.
//! Source: Kafka 3.9 `AdminUtils.assignReplicasToBrokers`; its answer where racks are missing is
//! UNKNOWN_SERVER_ERROR without words.

use std::collections::{BTreeMap, BTreeSet};

use broker_protocol::quantity::BrokerId;

/// Why partitions cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Fewer brokers than replicas.
    #[error("replication factor {asked} is larger than the {brokers} brokers that are available")]
    TooFewBrokers {
        /// The replication factor.
        asked: usize,
        /// The live brokers.
        brokers: usize,
    },
    /// Some brokers name their racks, and others do not.
    #[error(
        "not all brokers have a rack: set broker.rack on {}, or choose the replicas yourself",
        list(without)
    )]
    Racks {
        /// Those that do not.
        without: Vec<BrokerId>,
    },
}

fn list(ids: &[BrokerId]) -> String {
    let ids = ids.iter().map(ToString::to_string);
    ids.collect::<Vec<_>>().join(", ")
}

/// Places `count` partitions, the first of which has the number `first`; the preferred leader is
/// the first replica of each.
///
/// `start` is the position of the first leader in `brokers`, `shift` that of its first follower.
///
/// # Errors
/// When there are fewer brokers than replicas.
pub fn place(
    brokers: &[BrokerId],
    first: usize,
    count: usize,
    replication_factor: usize,
    start: usize,
    shift: usize,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let available = brokers.len();
    if replication_factor == 0 || replication_factor > available {
        return Err(PlacementError::TooFewBrokers {
            asked: replication_factor,
            brokers: available,
        });
    }
    let replicas = |partition: usize| {
        let leader = (start + partition) % available;
        // One more each time that the leaders have gone round.
        let shift = shift + partition / available;
        (0..replication_factor)
            .map(|n| match n {
                0 => brokers[leader],
                n => brokers[(leader + 1 + (shift + n - 1) % (available - 1)) % available],
            })
            .collect()
    };
    Ok((first..first + count).map(replicas).collect())
}

/// Places like [`place`], with racks in mind if brokers name them.
///
/// # Errors
/// When there are fewer brokers than replicas, or only some brokers name their racks.
pub fn place_by_rack(
    brokers: &[(BrokerId, Option<&str>)],
    first: usize,
    count: usize,
    replication_factor: usize,
    start: usize,
    shift: usize,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let named: Option<BTreeMap<BrokerId, &str>> =
        brokers.iter().map(|(id, rack)| Some((*id, (*rack)?))).collect();
    let available = brokers.len();
    let without: Vec<_> =
        brokers.iter().filter(|(_, rack)| rack.is_none()).map(|(id, _)| *id).collect();
    let are_enough = (1..=available).contains(&replication_factor);
    if are_enough && !without.is_empty() && without.len() < available {
        return Err(PlacementError::Racks { without });
    }
    let Some(rack_of) = named.filter(|_| (2..=available).contains(&replication_factor)) else {
        let brokers: Vec<_> = brokers.iter().map(|(id, _)| *id).collect();
        return place(&brokers, first, count, replication_factor, start, shift);
    };
    let racks = rack_of.values().collect::<BTreeSet<_>>().len();
    let arranged = alternating(&rack_of);
    let replicas = |partition: usize| {
        let leader = (start + partition) % available;
        // One more each time that the leaders have gone round.
        let shift = (shift + partition / available) * racks;
        let mut chosen = vec![arranged[leader]];
        let mut with_replica = BTreeSet::from([rack_of[&arranged[leader]]]);
        let mut step = 0;
        while chosen.len() < replication_factor {
            let next = (leader + 1 + (shift + step) % (available - 1)) % available;
            let (broker, rack) = (arranged[next], rack_of[&arranged[next]]);
            let may = with_replica.len() == racks || !with_replica.contains(rack);
            if may && !chosen.contains(&broker) {
                chosen.push(broker);
                with_replica.insert(rack);
            }
            step += 1;
        }
        chosen
    };
    Ok((first..first + count).map(replicas).collect())
}

/// Arranges brokers so that each stands beside those of other racks, as long as there are any.
fn alternating(rack_of: &BTreeMap<BrokerId, &str>) -> Vec<BrokerId> {
    let mut racks: BTreeMap<&str, Vec<BrokerId>> = BTreeMap::new();
    for (id, rack) in rack_of {
        racks.entry(rack).or_default().push(*id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    let turn = |n: usize| racks.values().filter_map(move |brokers| brokers.get(n).copied());
    (0..longest).flat_map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No broker holds a partition twice, and leaders and replicas are spread evenly.
    #[test]
    fn replicas_are_distinct_and_even() {
        for brokers in 1..=7 {
            let ids: Vec<_> = (0..brokers as i32).map(BrokerId).collect();
            for factor in 1..=brokers {
                let placed = place(&ids, 0, brokers * 4, factor, 3, 1).unwrap();
                for replicas in &placed {
                    let mut distinct = replicas.clone();
                    distinct.sort_unstable();
                    distinct.dedup();
                    assert_eq!(distinct.len(), factor, "{replicas:?}");
                }
                for id in &ids {
                    let leads = placed.iter().filter(|replicas| replicas[0] == *id).count();
                    let holds = placed.iter().flatten().filter(|replica| *replica == id).count();
                    assert_eq!((leads, holds), (4, 4 * factor), "{brokers} {factor} {id}");
                }
            }
        }
    }

    /// Racks share the replicas of each partition as evenly as can be, and brokers the leaders.
    #[test]
    fn replicas_are_spread_over_racks() {
        let shapes: [&[usize]; 4] = [&[2, 2, 2], &[3, 3], &[1, 1, 1, 1], &[2, 2]];
        for shape in shapes {
            let names = ["a", "b", "c", "d"];
            let racks = shape.iter().zip(names).flat_map(|(size, name)| vec![name; *size]);
            let brokers: Vec<_> =
                (0..).map(BrokerId).zip(racks).map(|(id, rack)| (id, Some(rack))).collect();
            for factor in 1..=brokers.len() {
                let count = brokers.len() * 6;
                let placed = place_by_rack(&brokers, 0, count, factor, 2, 1).unwrap();
                for replicas in &placed {
                    let distinct: BTreeSet<_> = replicas.iter().collect();
                    assert_eq!(distinct.len(), factor, "{replicas:?}");
                    let on = |id: &BrokerId| brokers[id.0 as usize].1.unwrap();
                    let reached: BTreeSet<_> = replicas.iter().map(on).collect();
                    assert_eq!(reached.len(), factor.min(shape.len()), "{shape:?} {replicas:?}");
                }
                for (id, _) in &brokers {
                    let leads = placed.iter().filter(|replicas| replicas[0] == *id).count();
                    let holds = placed.iter().flatten().filter(|replica| *replica == id).count();
                    assert_eq!((leads, holds), (6, 6 * factor), "{shape:?} {factor} {id}");
                }
            }
        }
    }

    /// If one broker does not say where it is, nothing is placed by itself, as with Kafka.
    #[test]
    fn racks_of_some_brokers_are_refused() {
        let brokers = [(BrokerId(0), Some("a")), (BrokerId(1), None), (BrokerId(2), Some("b"))];
        for factor in 1..=3 {
            let error = place_by_rack(&brokers, 0, 9, factor, 0, 0).unwrap_err();
            assert_eq!(error, PlacementError::Racks { without: vec![BrokerId(1)] });
            assert_eq!(
                error.to_string(),
                "not all brokers have a rack: set broker.rack on 1, or choose the replicas yourself"
            );
        }
        let error = place_by_rack(&brokers, 0, 9, 4, 0, 0).unwrap_err();
        assert!(matches!(error, PlacementError::TooFewBrokers { .. }));
        let nowhere = brokers.map(|(id, _)| (id, None));
        let ids = nowhere.map(|(id, _)| id);
        let placed = place_by_rack(&nowhere, 0, 9, 2, 0, 0).unwrap();
        assert_eq!(placed, place(&ids, 0, 9, 2, 0, 0).unwrap());
    }

    /// More replicas than brokers is an error that names both.
    #[test]
    fn more_replicas_than_brokers_is_refused() {
        let error = place(&[BrokerId(0)], 0, 1, 3, 0, 0).unwrap_err();
        assert_eq!(error, PlacementError::TooFewBrokers { asked: 3, brokers: 1 });
        assert!(place(&[BrokerId(0)], 0, 1, 0, 0, 0).is_err());
    }
}
