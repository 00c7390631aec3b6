//! What UpdateMetadata makes of what is known of the cluster. Pure.
//!
//! Partitions that a request does not name stay as they are; the brokers that it names are all that
//! live. A partition that was never named lies between others as one without replicas.
//!
//! Source: Kafka 3.9 `ZkMetadataCache.updateMetadata`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use broker_protocol::message::update_metadata::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState,
    UpdateMetadataRequest,
};
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use crate::metadata::{Broker, Endpoint, Metadata, Partition, Topic};

/// The leader of a partition that is to be forgotten.
const LEADER_DURING_DELETE: i32 = -2;

/// The security protocols by their numbers, which name the listeners of versions 0 to 2.
const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// Takes in one request.
pub(crate) fn update(metadata: &mut Metadata, request: &UpdateMetadataRequest<'_>) {
    metadata.controller = (request.controller_id >= 0).then_some(BrokerId(request.controller_id));
    metadata.controller_epoch = request.controller_epoch;
    metadata.brokers = brokers(&metadata.brokers, &request.live_brokers);
    let mut partitions = request.partitions().peekable();
    while let Some((name, id, first)) = partitions.next() {
        let mut states = vec![first];
        while let Some((_, _, state)) = partitions.next_if(|(next, _, _)| *next == name) {
            states.push(state);
        }
        update_topic(metadata, name, id, &states);
    }
}

/// What a request names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// The topics.
    pub(crate) topics: HashSet<Arc<str>>,
    /// The partitions that are being deleted, with the ids of their topics.
    pub(crate) going: HashMap<TopicPartition, Uuid>,
}

/// Returns what a request names.
pub(crate) fn named(request: &UpdateMetadataRequest<'_>) -> Named {
    let mut named = Named::default();
    for (name, id, state) in request.partitions() {
        if !named.topics.contains(name) {
            named.topics.insert(Arc::from(name));
        }
        if state.leader == LEADER_DURING_DELETE {
            let partition = TopicPartition { topic: name.into(), partition: state.partition_index };
            named.going.insert(partition, id);
        }
    }
    named
}

fn update_topic(
    metadata: &mut Metadata,
    name: &str,
    id: Uuid,
    states: &[&UpdateMetadataPartitionState],
) {
    let known = metadata.topic(name);
    // An old request does not say the id; another id is that of another topic.
    let known = known.filter(|known| id.is_zero() || known.id.is_zero() || known.id == id);
    let mut topic = known.map_or_else(
        || Topic { name: Arc::from(name), id, partitions: Vec::new() },
        |known| Topic::clone(known),
    );
    if !id.is_zero() {
        topic.id = id;
    }
    for state in states {
        let Ok(index) = usize::try_from(state.partition_index) else { continue };
        if index >= topic.partitions.len() {
            topic.partitions.resize_with(index + 1, Partition::unknown);
        }
        topic.partitions[index] = partition(state);
    }
    while topic.partitions.last().is_some_and(Partition::is_unknown) {
        topic.partitions.pop();
    }
    if topic.partitions.is_empty() {
        metadata.remove_topic(name);
    } else {
        metadata.insert_topic(topic);
    }
}

fn partition(state: &UpdateMetadataPartitionState) -> Partition {
    if state.leader == LEADER_DURING_DELETE {
        return Partition::unknown();
    }
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    Partition {
        leader: (state.leader >= 0).then_some(BrokerId(state.leader)),
        leader_epoch: LeaderEpoch(state.leader_epoch),
        replicas: ids(&state.replicas),
        isr: ids(&state.isr),
        offline: ids(&state.offline_replicas),
    }
}

/// Reads the brokers that live; one that is as it was is not made anew.
fn brokers(
    known: &BTreeMap<BrokerId, Broker>,
    live: &[UpdateMetadataBroker<'_>],
) -> BTreeMap<BrokerId, Broker> {
    let broker = |broker: &UpdateMetadataBroker<'_>| {
        let id = BrokerId(broker.id);
        let mut endpoints: Vec<_> = broker.endpoints.iter().filter_map(endpoint).collect();
        if endpoints.is_empty() {
            endpoints.extend(endpoint(&UpdateMetadataEndpoint {
                port: broker.v0_port,
                host: broker.v0_host.clone(),
                ..Default::default()
            }));
        }
        let now = Broker { rack: broker.rack.as_deref().map(Into::into), endpoints };
        let same = known.get(&id).filter(|before| **before == now);
        (id, same.cloned().unwrap_or(now))
    };
    live.iter().map(broker).collect()
}

fn endpoint(endpoint: &UpdateMetadataEndpoint<'_>) -> Option<Endpoint> {
    let listener = match &*endpoint.listener {
        "" => PROTOCOLS.get(usize::try_from(endpoint.security_protocol).ok()?)?,
        listener => listener,
    };
    let port = u16::try_from(endpoint.port).ok().filter(|port| *port > 0)?;
    Some(Endpoint { listener: listener.into(), host: (&*endpoint.host).into(), port })
}

#[cfg(test)]
mod tests {
    use broker_protocol::message::update_metadata::{
        UpdateMetadataTopicState, UpdateMetadataUngroupedPartitionState,
    };

    use super::*;

    fn id(byte: u8) -> Uuid {
        Uuid::from_bytes([byte; 16])
    }

    fn state(partition_index: i32, leader: i32) -> UpdateMetadataPartitionState {
        UpdateMetadataPartitionState {
            partition_index,
            leader,
            leader_epoch: 3,
            isr: vec![1],
            replicas: vec![1, 2],
            offline_replicas: vec![2],
            ..Default::default()
        }
    }

    fn told(topic: &str, id: Uuid, states: &[(i32, i32)]) -> UpdateMetadataRequest<'static> {
        UpdateMetadataRequest {
            controller_id: 1,
            controller_epoch: 7,
            topic_states: vec![UpdateMetadataTopicState {
                topic_name: topic.to_owned().into(),
                topic_id: id,
                partition_states: states.iter().map(|(n, leader)| state(*n, *leader)).collect(),
            }],
            ..Default::default()
        }
    }

    fn leaders(metadata: &Metadata, topic: &str) -> Vec<Option<i32>> {
        let partitions = metadata.topic(topic).map_or(&[][..], |topic| &topic.partitions);
        partitions.iter().map(|one| one.leader.map(|leader| leader.0)).collect()
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_named_changes() {
        let mut metadata = Metadata::default();
        update(&mut metadata, &told("a", id(1), &[(0, 1), (1, 2)]));
        update(&mut metadata, &told("b", id(2), &[(0, 1)]));
        update(&mut metadata, &told("a", id(1), &[(1, -1)]));
        assert_eq!(leaders(&metadata, "a"), [Some(1), None]);
        assert_eq!(leaders(&metadata, "b"), [Some(1)]);
        assert_eq!(metadata.controller, Some(BrokerId(1)));
        assert_eq!(metadata.controller_epoch, 7);
        let partition = &metadata.topic_by_id(id(1)).unwrap().partitions[0];
        assert_eq!(partition.replicas, [BrokerId(1), BrokerId(2)]);
        assert_eq!(partition.offline, [BrokerId(2)]);
    }

    #[test]
    fn a_topic_is_gone_with_its_last_partition() {
        let mut metadata = Metadata::default();
        update(&mut metadata, &told("a", id(1), &[(0, 1), (1, 2)]));
        update(&mut metadata, &told("a", id(1), &[(0, -2)]));
        assert_eq!(leaders(&metadata, "a"), [None, Some(2)]);
        update(&mut metadata, &told("a", id(1), &[(1, -2)]));
        assert!(metadata.topics.is_empty() && metadata.names.is_empty());
        update(&mut metadata, &told("a", id(1), &[(1, -2)]));
        assert!(metadata.topics.is_empty(), "told twice");
    }

    #[test]
    fn a_topic_made_again_has_nothing_of_its_predecessor() {
        let mut metadata = Metadata::default();
        update(&mut metadata, &told("a", id(1), &[(0, 1), (1, 2)]));
        update(&mut metadata, &told("a", id(2), &[(0, 2)]));
        assert_eq!(leaders(&metadata, "a"), [Some(2)]);
        assert!(metadata.topic_by_id(id(1)).is_none());
    }

    #[test]
    fn an_old_request_changes_a_topic_without_taking_its_id() {
        let mut metadata = Metadata::default();
        update(&mut metadata, &told("a", id(1), &[(0, 1)]));
        let old =
            UpdateMetadataUngroupedPartitionState { topic_name: "a".into(), state: state(0, 2) };
        let old =
            UpdateMetadataRequest { ungrouped_partition_states: vec![old], ..Default::default() };
        update(&mut metadata, &old);
        assert_eq!(leaders(&metadata, "a"), [Some(2)]);
        assert!(metadata.topic_by_id(id(1)).is_some());
        update(&mut metadata, &told("b", Uuid::ZERO, &[(0, 1)]));
        assert!(metadata.topic_by_id(Uuid::ZERO).is_none(), "no topic is found by no id");
    }

    /// Method: the three ways to say where a broker is, of versions 0, 1 and 3.
    #[test]
    fn every_version_says_where_the_brokers_are() {
        let endpoint = |listener: &'static str, security_protocol, port| UpdateMetadataEndpoint {
            port,
            host: "h".into(),
            listener: listener.into(),
            security_protocol,
        };
        let broker = |id, endpoints| UpdateMetadataBroker { id, endpoints, ..Default::default() };
        let request = UpdateMetadataRequest {
            live_brokers: vec![
                UpdateMetadataBroker { v0_host: "h".into(), v0_port: 1, ..broker(0, vec![]) },
                broker(1, vec![endpoint("", 2, 1)]),
                broker(3, vec![endpoint("INSIDE", 0, 1), endpoint("BAD", 0, -1)]),
            ],
            ..Default::default()
        };
        let mut metadata = Metadata::default();
        metadata.brokers.insert(BrokerId(9), Broker { rack: None, endpoints: Vec::new() });
        update(&mut metadata, &request);
        let found: Vec<_> = metadata
            .brokers
            .iter()
            .map(|(id, broker)| (id.0, broker.endpoints.iter().map(|e| &*e.listener).collect()))
            .collect();
        let expected: [(i32, Vec<&str>); 3] =
            [(0, vec!["PLAINTEXT"]), (1, vec!["SASL_PLAINTEXT"]), (3, vec!["INSIDE"])];
        assert_eq!(found, expected, "who is not named is gone");
    }
}
