//! What became of partitions that an operator named, in the words of an answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::topic_partition::TopicPartition;

/// Groups what there is of each partition by topic.
pub(super) fn by_topic<T>(outcomes: BTreeMap<TopicPartition, T>) -> Vec<(Arc<str>, Vec<(i32, T)>)> {
    let mut topics: Vec<(Arc<str>, Vec<(i32, T)>)> = Vec::new();
    for (TopicPartition { topic, partition }, outcome) in outcomes {
        match topics.last_mut() {
            Some((name, partitions)) if *name == topic => partitions.push((partition, outcome)),
            _ => topics.push((topic, vec![(partition, outcome)])),
        }
    }
    topics
}

/// What an operator is told beside the code; nothing where the code says it all.
#[allow(clippy::wildcard_enum_match_arm, reason = "those that a controller gives for a partition")]
pub(super) fn words(code: ErrorCode) -> Option<Cow<'static, str>> {
    let words = match code {
        ErrorCode::UnknownTopicOrPartition => "the partition does not exist",
        ErrorCode::InvalidTopicException => "the topic is being deleted",
        ErrorCode::InvalidReplicaAssignment => {
            "the replicas are none, named twice, or new ones of brokers that do not live or are cordoned"
        }
        ErrorCode::InvalidReplicationFactor => "the number of replicas would change",
        ErrorCode::NoReassignmentInProgress => "no reassignment of the partition is in progress",
        ErrorCode::PreferredLeaderNotAvailable => "the first replica is not in sync, or not there",
        ErrorCode::EligibleLeadersNotAvailable => "no replica can lead",
        ErrorCode::ElectionNotNeeded => "the partition has the leader that it should have",
        _ => return None,
    };
    Some(Cow::Borrowed(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_topic_stand_together() {
        let name = |topic: &str, partition| TopicPartition { topic: topic.into(), partition };
        let outcomes = BTreeMap::from([(name("b", 0), 1), (name("a", 1), 2), (name("a", 0), 3)]);
        let grouped = by_topic(outcomes);
        assert_eq!(grouped, [("a".into(), vec![(0, 3), (1, 2)]), ("b".into(), vec![(0, 1)])]);
    }
}
