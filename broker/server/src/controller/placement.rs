//! Which brokers a new partition is put on. Pure.
//!
//! Leaders go round the brokers from a start that the caller draws; the other replicas follow at a
//! shift that grows with each round, so that the load of a broker that dies is spread.
//! Source: Kafka 3.9 `AdminUtils.assignReplicasToBrokers`, without racks.

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

    /// More replicas than brokers is an error that names both.
    #[test]
    fn more_replicas_than_brokers_is_refused() {
        let error = place(&[BrokerId(0)], 0, 1, 3, 0, 0).unwrap_err();
        assert_eq!(error, PlacementError::TooFewBrokers { asked: 3, brokers: 1 });
        assert!(place(&[BrokerId(0)], 0, 1, 0, 0, 0).is_err());
    }
}
