//! Which replica a consumer is sent to (KIP-392). Pure.
//!
//! A replica may serve if it is in sync, lives, and holds what the consumer asks for. A consumer that
//! says where it runs is sent to one in its rack: to the leader if that is there, else to the one that
//! is furthest. Anyone else reads from the leader.
//!
//! Source: Kafka 3.9 `ReplicaManager.findPreferredReadReplica`, `RackAwareReplicaSelector`.

use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, Offset};

use super::partition_state::PartitionState;
use crate::metadata::Metadata;

/// A consumer that may be sent to a replica near it.
#[derive(Debug, Clone)]
pub struct Nearby {
    /// Where it runs.
    pub rack: Arc<str>,
    /// The listener that it came through; it is sent to nobody who has no such.
    pub listener: Arc<str>,
    /// Where brokers run, and who lives.
    pub metadata: Arc<Metadata>,
}

impl Nearby {
    fn has(&self, broker: BrokerId) -> bool {
        let known = self.metadata.brokers.get(&broker);
        let rack = known.and_then(|known| known.rack.as_ref());
        rack == Some(&self.rack) && self.metadata.endpoint(broker, &self.listener).is_some()
    }

    /// Returns the follower that the consumer should read from `offset` on; `None`: the leader.
    pub fn choose(&self, state: &PartitionState, offset: Offset) -> Option<BrokerId> {
        let leadership = state.leadership()?;
        if leadership.leader.is_none_or(|leader| self.has(leader)) {
            return None;
        }
        let followers = state.followers().iter().filter_map(|follower| {
            let end = follower.vouched_end().filter(|end| *end >= offset)?;
            let starts = follower.log_start_offset().is_none_or(|start| start <= offset);
            let serves = starts && leadership.isr.contains(&follower.broker());
            (serves && self.has(follower.broker())).then_some((end, follower))
        });
        let furthest = followers
            .max_by_key(|(end, follower)| (*end, follower.caught_up_at(), follower.broker()));
        furthest.map(|(_, follower)| follower.broker())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use broker_config::topic::Durability;
    use broker_protocol::quantity::LeaderEpoch;

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::metadata::{Broker, Endpoint};
    use crate::replica::partition_state::Leadership;
    use crate::replica::progress::ReplicaFetch;

    /// Brokers by id, in these racks; the last has another listener than the consumers'.
    fn nearby(racks: &[&str]) -> Nearby {
        let brokers = (1..).zip(racks).map(|(id, rack)| {
            let listener = if id == 5 { "OTHER" } else { "L" };
            let endpoint = Endpoint { listener: listener.into(), host: "h".into(), port: 1 };
            let rack = (!rack.is_empty()).then(|| Arc::from(*rack));
            (BrokerId(id), Broker { rack, endpoints: vec![endpoint] })
        });
        let brokers: BTreeMap<_, _> = brokers.collect();
        let metadata = Arc::new(Metadata { brokers, ..Metadata::default() });
        Nearby { rack: "r".into(), listener: "L".into(), metadata }
    }

    /// A leader, 1, of 2 to 5, that all but 4 are in sync with; each fetched as given: from where, where
    /// its log starts, and after how many seconds.
    fn led(fetched: [(i64, i64, u64); 4]) -> PartitionState {
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        let leadership = Leadership {
            isr: ids(&[1, 2, 3, 5]),
            replicas: ids(&[1, 2, 3, 4, 5]),
            ..Leadership::alone(BrokerId(1), LeaderEpoch(0), 5)
        };
        let replicated = Durability::Replicated;
        let mut state = PartitionState::opened(Offset(0), Offset(20), Offset(0), replicated);
        let now = SystemClock.now();
        let _ = state.lead(leadership, now).unwrap();
        for (broker, (offset, start, seconds)) in (2..).map(BrokerId).zip(fetched) {
            let (offset, log_start_offset) = (Offset(offset), Offset(start));
            let at = now + Duration::from_secs(seconds);
            let leader_epoch = LeaderEpoch(0);
            let fetch = ReplicaFetch {
                broker,
                broker_epoch: 1,
                leader_epoch,
                offset,
                log_start_offset,
                at,
            };
            let _ = state.replica_fetched(&fetch);
        }
        state
    }

    #[test]
    fn a_consumer_is_sent_to_the_furthest_replica_in_sync_in_its_rack() {
        let level = [(20, 0, 1); 4];
        let cases: [(&str, [&str; 5], [(i64, i64, u64); 4], Option<i32>); 10] = [
            ("nobody is there", ["a", "b", "c", "", ""], level, None),
            ("the leader is there", ["r", "r", "", "", ""], level, None),
            ("one is there", ["a", "b", "r", "", ""], level, Some(3)),
            ("out of sync", ["a", "b", "", "r", ""], level, None),
            ("no such listener", ["a", "b", "", "", "r"], level, None),
            ("equals", ["a", "r", "r", "", ""], level, Some(3)),
            (
                "one caught up later",
                ["a", "r", "r", "", ""],
                [(20, 0, 2), level[0], level[0], level[0]],
                Some(2),
            ),
            (
                "one has more",
                ["a", "r", "r", "", ""],
                [(20, 0, 1), (15, 0, 9), level[0], level[0]],
                Some(2),
            ),
            (
                "not yet there",
                ["a", "", "r", "", ""],
                [level[0], (9, 0, 1), level[0], level[0]],
                None,
            ),
            (
                "not there any more",
                ["a", "", "r", "", ""],
                [level[0], (20, 11, 1), level[0], level[0]],
                None,
            ),
        ];
        for (name, racks, fetched, expected) in cases {
            let chosen = nearby(&racks).choose(&led(fetched), Offset(10));
            assert_eq!(chosen, expected.map(BrokerId), "{name}");
        }
    }

    #[test]
    fn a_replica_that_has_not_fetched_and_one_that_has_gone_serve_nobody() {
        let state = led([(20, 0, 1); 4]);
        let mut followers = nearby(&["a", "b", "r", "", ""]);
        Arc::make_mut(&mut followers.metadata).brokers.remove(&BrokerId(3));
        assert_eq!(followers.choose(&state, Offset(10)), None);
        let mut fresh =
            PartitionState::opened(Offset(0), Offset(20), Offset(0), Durability::Replicated);
        let leadership = Leadership {
            isr: vec![BrokerId(1), BrokerId(2)],
            ..Leadership::alone(BrokerId(1), LeaderEpoch(0), 2)
        };
        let _ = fresh.lead(leadership, SystemClock.now()).unwrap();
        assert_eq!(nearby(&["a", "r"]).choose(&fresh, Offset(10)), None);
    }
}
