//! Asks brokers what lies on them, where something is to move.

use std::collections::{BTreeMap, BTreeSet};

use broker_admin::v1::{
    BrokerDescription, DescribeClusterResponse, PartitionDescription, TopicDescription,
};
use futures_util::future::join_all;
use kube::ResourceExt as _;

use super::Said;
use crate::admin::client::BrokerError;
use crate::admin::pool::Brokers;
use crate::cluster::layout::{Broker, Layout, Partition, Topic};
use crate::crd::topic::Topic as Object;

/// What a question is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Brokers that are to be.
    pub wanted: &'a [i32],
    /// Brokers that are to go.
    pub leaving: &'a [i32],
    /// Whether a plan is noted, or a volume is lost: then all topics are asked for.
    pub is_all: bool,
    /// Whether replicas are spread anew where brokers have come.
    pub is_spread: bool,
}

/// Asks; `cluster` is what was said of the brokers.
///
/// # Errors
/// Where nobody answers, or brokers are too old.
pub async fn said(
    brokers: &Brokers,
    cluster: &DescribeClusterResponse,
    question: Question<'_>,
) -> Result<Said, BrokerError> {
    let mut layout = layout(cluster);
    let is_all = question.is_all
        || !question.leaving.is_empty()
        || layout.is_throttled
        || (question.is_spread && is_uneven(&layout, question.wanted));
    if is_all {
        let topics = brokers.any(|mut broker| async move { broker.topics(&[]).await }).await?;
        layout.topics = topics.iter().map(topic).collect();
        measure_logs(brokers, &mut layout).await;
    }
    let mut left = BTreeMap::new();
    for id in question.leaving {
        if layout.partitions().any(|(_, _, partition)| partition.removing.contains(id)) {
            left.extend(measure(brokers, &layout, *id).await.map(|bytes| (*id, bytes)));
        }
    }
    Ok(Said { layout, left })
}

/// Notes which topics somebody else decides about, as their objects say.
pub fn fix(layout: &mut Layout, topics: &[Object]) {
    let objects: BTreeMap<String, &Object> =
        topics.iter().map(|object| (object.topic_name(), object)).collect();
    for topic in &mut layout.topics {
        let object = objects.get(&topic.name);
        topic.is_fixed = object.is_some_and(|object| is_fixed(object, topic));
    }
}

/// Brokers that `Topic` objects assign partitions to, by the object's name.
pub fn assigned(topics: &[Object]) -> BTreeMap<String, BTreeSet<i32>> {
    let of = |object: &Object| {
        let assignment = object.spec.assignment.as_ref()?;
        Some((object.name_any(), assignment.iter().flatten().copied().collect()))
    };
    topics.iter().filter_map(of).collect()
}

/// Partitions of which each broker alone has all, by broker; none where not all topics were asked for.
pub fn alone(layout: &Layout) -> BTreeMap<i32, Vec<String>> {
    let mut alone: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for (topic, number, partition) in layout.partitions() {
        if let [id] = partition.in_sync[..] {
            alone.entry(id).or_default().push(format!("{}-{number}", topic.name));
        }
    }
    alone
}

/// Whether a broker holds less than half of its share, as the tree counts.
fn is_uneven(layout: &Layout, wanted: &[i32]) -> bool {
    let counts = wanted.iter().map(|id| layout.broker(*id).map_or(0, |broker| broker.replicas));
    let counts: Vec<u64> = counts.collect();
    let (all, brokers) = (counts.iter().sum::<u64>(), counts.len() as u64);
    counts.iter().any(|count| count * brokers * 2 < all)
}

/// Asks broker after broker for the sizes of logs that are not known yet: whoever leads a partition knows its own. What
/// nobody says stays unknown.
async fn measure_logs(brokers: &Brokers, layout: &mut Layout) {
    let registered = layout.brokers.iter().filter(|broker| broker.is_registered);
    let ids: Vec<i32> = registered.map(|broker| broker.id).collect();
    for id in ids {
        let unknown = layout.topics.iter().filter(|topic| !topic.is_measured());
        let names: Vec<&str> = unknown.map(|topic| &*topic.name).collect();
        if names.is_empty() {
            return;
        }
        let Ok(mut broker) = brokers.broker(id) else { continue };
        let Ok(told) = broker.topics(&names).await else { continue };
        let told: BTreeMap<&str, &TopicDescription> =
            told.iter().map(|told| (&*told.name, told)).collect();
        for known in &mut layout.topics {
            let Some(told) = told.get(&*known.name) else { continue };
            for (partition, told) in known.partitions.iter_mut().zip(&told.partitions) {
                partition.size = partition.size.or(told.size);
            }
        }
    }
}

/// Asks every broker how much is left of what moves off one of them.
async fn measure(brokers: &Brokers, layout: &Layout, from: i32) -> Option<u64> {
    let registered = layout.brokers.iter().filter(|broker| broker.is_registered);
    let asked = registered.map(async |broker| {
        let mut asked = brokers.broker(broker.id).ok()?;
        asked.bytes_left(Some(from), "").await.ok()?
    });
    let left: Option<Vec<u64>> = join_all(asked).await.into_iter().collect();
    Some(left?.into_iter().fold(0, u64::saturating_add))
}

/// Whether the object decides where replicas are, or is about to change how many there are.
fn is_fixed(object: &Object, topic: &Topic) -> bool {
    let replicas = usize::try_from(object.spec.replicas).unwrap_or_default();
    object.spec.assignment.is_some()
        || object.metadata.deletion_timestamp.is_some()
        || topic.partitions.iter().any(|partition| partition.targets().len() != replicas)
}

fn layout(cluster: &DescribeClusterResponse) -> Layout {
    let broker = |one: &BrokerDescription| Broker {
        id: one.broker_id,
        rack: (!one.rack.is_empty()).then(|| one.rack.clone()),
        is_registered: one.broker_epoch >= 0,
        is_cordoned: one.cordoned,
        replicas: one.replicas,
    };
    Layout {
        brokers: cluster.brokers.iter().map(broker).collect(),
        topics: Vec::new(),
        is_throttled: cluster.has_move_throttles,
    }
}

fn topic(told: &TopicDescription) -> Topic {
    let partition = |one: &PartitionDescription| Partition {
        replicas: one.replicas.clone(),
        adding: one.adding.clone(),
        removing: one.removing.clone(),
        in_sync: one.in_sync.clone(),
        size: one.size,
    };
    Topic {
        name: told.name.clone(),
        id: (!told.topic_id.is_empty()).then(|| told.topic_id.clone()),
        partitions: told.partitions.iter().map(partition).collect(),
        is_fixed: false,
        is_going: told.deleting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates that a person has set stay, so that nothing is to be cleared for their sake.
    #[test]
    fn only_throttles_of_moves_are_to_be_cleared() {
        let rate = ("leader.replication.throttled.rate".to_owned(), "5".to_owned());
        let broker =
            BrokerDescription { dynamic_settings: [rate].into(), ..BrokerDescription::default() };
        let mut said =
            DescribeClusterResponse { brokers: vec![broker], ..DescribeClusterResponse::default() };
        assert!(!layout(&said).is_throttled);
        said.has_move_throttles = true;
        assert!(layout(&said).is_throttled);
    }
}
