//! What is said of a topic. Pure: nothing differs where nothing has changed.

use k8s_openapi::jiff::Timestamp;

use super::decide::{self, Decision};
use super::facts::{Cluster, Facts};
use crate::crd::condition::{Finding, headline, merge};
use crate::crd::topic::TopicStatus;
use crate::error::Error;

/// Returns the status that tells of a decision.
pub(super) fn status(facts: &Facts, decision: &Decision, now: Timestamp) -> TopicStatus {
    let object = &facts.object;
    let before = &object.status;
    let (partitions, replicas) = counts(facts);
    TopicStatus {
        observed_generation: object.generation,
        conditions: merge(&before.conditions, &decision.findings, object.generation, now),
        topic_name: Some(decide::name(object).to_owned()),
        topic_id: before.topic_id.clone(),
        partitions,
        replicas,
        plan: decision.plan.clone(),
    }
}

/// Returns the status before something is done to the topic that has `id` from now on.
pub(super) fn named(status: TopicStatus, id: &str) -> TopicStatus {
    if status.topic_id.as_deref() == Some(id) {
        return status;
    }
    // What is said of another topic is not said of this one.
    TopicStatus { topic_id: Some(id.to_owned()), partitions: None, replicas: None, ..status }
}

/// Returns the findings of a decision that could not be carried out.
pub(super) fn trouble(decision: &Decision, error: &Error) -> Option<Vec<Finding>> {
    let reason = error.reason()?;
    let findings = decision.findings.iter().cloned().map(|finding| match finding.r#type {
        "Degraded" => Finding {
            holds: Some(true),
            reason: reason.text(),
            message: error.to_string(),
            ..finding
        },
        _ => finding,
    });
    let mut findings: Vec<Finding> = findings.collect();
    headline(&mut findings);
    Some(findings)
}

/// Partitions, and replicas of the one that has fewest; 0 of a topic that was there and is not; what was said last
/// where nobody knows.
fn counts(facts: &Facts) -> (Option<i32>, Option<i32>) {
    let before = &facts.object.status;
    let Cluster::Here(here) = &facts.cluster else { return (before.partitions, before.replicas) };
    let own = here.topic.as_ref().filter(|topic| topic.id.is_some() && topic.id == before.topic_id);
    match own {
        Some(topic) => {
            let fewest = topic.origins().iter().map(Vec::len).min().unwrap_or_default();
            (count(topic.partitions.len()), count(fewest))
        }
        None => (before.partitions.map(|_| 0), before.replicas.map(|_| 0)),
    }
}

fn count(number: usize) -> Option<i32> {
    i32::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::assignment::{Broker, Load};
    use crate::topic::facts::{Existing, Here, Object};

    fn facts(topic: Option<Existing>, status: TopicStatus) -> Facts {
        let spec = serde_json::json!({ "cluster": "main", "replicas": 2 });
        let object = Object {
            name: "t".to_owned(),
            generation: 1,
            is_deleted: false,
            has_finalizer: true,
            spec: serde_json::from_value(spec).unwrap(),
            status,
            elder: None,
        };
        let here = Here {
            is_paused: false,
            brokers: (1..=3).map(|id| Broker { id, rack: None }).collect(),
            away: Vec::new(),
            load: Load::default(),
            topic,
            problems: Vec::new(),
            throttle: "1".to_owned(),
            bytes_left: None,
        };
        Facts { object, cluster: Cluster::Here(Box::new(here)), fresh_id: "f".to_owned() }
    }

    fn existing() -> Existing {
        Existing {
            id: Some("f".to_owned()),
            partitions: vec![vec![1, 2], vec![2, 3, 1]],
            adding: BTreeMap::from([(1, vec![1])]),
            ..Existing::default()
        }
    }

    fn say(facts: &Facts) -> TopicStatus {
        status(facts, &decide::decide(facts), Timestamp::from_second(7).unwrap())
    }

    /// A topic counts once it is this object's: before, while it is there, once it is gone, while nobody answers.
    #[test]
    fn only_what_is_there_counts() {
        let new = say(&facts(None, TopicStatus::default()));
        assert_eq!((new.partitions, new.replicas, new.topic_id.clone()), (None, None, None));
        let new = named(new, "f");
        let there = say(&facts(Some(existing()), new));
        assert_eq!((there.partitions, there.replicas), (Some(2), Some(2)));
        let gone = say(&facts(None, there.clone()));
        assert_eq!((gone.partitions, gone.replicas), (Some(0), Some(0)));
        let another = named(gone, "g");
        assert_eq!((another.partitions, another.topic_id.as_deref()), (None, Some("g")));
        let away = Facts { cluster: Cluster::Away("why".to_owned()), ..facts(None, there.clone()) };
        assert_eq!(say(&away).partitions, there.partitions);
    }

    #[test]
    fn what_is_told_twice_is_equal() {
        let once = say(&facts(Some(existing()), TopicStatus::default()));
        let again = facts(Some(existing()), once.clone());
        let later = status(&again, &decide::decide(&again), Timestamp::from_second(8).unwrap());
        assert_eq!(later, once);
    }
}
