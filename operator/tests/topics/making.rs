//! Topics come to be: made, taken over, refused, planned.

use std::time::Duration;

use serde_json::json;

use super::bed::{Bed, pass};

/// From an object to a topic: the finalizer, the id, replicas on all brokers, and then nothing is written.
#[tokio::test(start_paused = true)]
async fn a_topic_is_made_and_left_alone() {
    Bed::run(3, async |bed| {
        bed.topic("t", json!({ "replicas": 3, "config": { "retention.ms": "1000" } })).await;
        bed.assert_ready("t");
        assert_eq!(bed.said("t", "/partitions"), 4);
        assert_eq!(bed.said("t", "/replicas"), 3);
        let id = bed.state(|state| state.tree.topics["t"].id.clone());
        assert_eq!(bed.said("t", "/topicId"), id);
        assert_eq!(bed.setting("t", "retention.ms").as_deref(), Some("1000"));
        let led: Vec<i32> = bed.replicas("t").unwrap().iter().map(|one| one[0]).collect();
        assert_eq!(led, [0, 1, 2, 0], "leaders are spread");
        let object = bed.fake.get("topics", "default", "t").unwrap();
        assert_eq!(object["metadata"]["finalizers"], json!(["ottla.dev/topic"]));
        assert_eq!(bed.events("TopicCreated").len(), 1);

        // Nothing of what follows has to do with pods.
        bed.fake.freeze(true);
        bed.fake.forget_calls();
        pass(Duration::from_hours(1)).await;
        let writes: Vec<String> = bed.fake.writes().iter().map(ToString::to_string).collect();
        assert!(writes.is_empty(), "{writes:?}");
        assert!(bed.counted("ottla_operator_writes_while_converged_total").abs() < 0.5);
        bed.model.assert_sound();
    })
    .await;
}

/// An object before its cluster, and a cluster before its brokers: what is waited for is said.
#[tokio::test(start_paused = true)]
async fn a_topic_waits_for_its_cluster() {
    let bed = Bed::new(1);
    let story = async {
        bed.topic("t", json!({ "replicas": 1 })).await;
        bed.assert_said("t", ("False", "ClusterNotFound"), "no Cluster main");
        let spec = json!({ "brokers": 1, "version": "0.1.0" });
        bed.create("Cluster", "main", &spec);
        bed.rest().await;
        bed.assert_said(
            "t",
            ("Unknown", "ClusterUnreachable"),
            "no broker of Cluster main answers",
        );
        bed.begin();
        bed.rest().await;
        bed.assert_ready("t");
    };
    tokio::select! {
        () = bed.fake.run() => {}
        () = bed.operator() => {}
        () = story => {}
    }
}

/// What cannot be is said in the broker's words, and heals with the spec.
#[tokio::test(start_paused = true)]
async fn an_invalid_spec_is_told_in_words() {
    Bed::run(1, async |bed| {
        let config = json!({ "retention.mss": "1", "segment.bytes": "x" });
        bed.topic("t", json!({ "replicas": 1, "config": config })).await;
        bed.assert_said("t", ("False", "InvalidSpec"), "spec.config.retention.mss: ");
        bed.assert_said("t", ("False", "InvalidSpec"), "spec.config.segment.bytes: ");
        assert_eq!(bed.events("InvalidSpec").len(), 1);
        assert_eq!(bed.replicas("t"), None);
        bed.topic("wide", json!({ "replicas": 2 })).await;
        bed.assert_said(
            "wide",
            ("False", "TooFewBrokers"),
            "2 replicas are wanted, and there are 1",
        );
        bed.set("t", "config", json!({ "retention.ms": "1" })).await;
        bed.assert_ready("t");
    })
    .await;
}

/// A topic that is there is taken over only where the object says so; then it is changed to what the object says.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_there_is_not_taken_by_accident() {
    Bed::run(2, async |bed| {
        bed.topic("t", json!({ "deletionPolicy": "Retain" })).await;
        let id = bed.said("t", "/topicId");
        bed.delete("t").await;
        assert_eq!(bed.events("TopicRetained").len(), 1);
        bed.topic("t", json!({ "partitions": 6, "config": { "retention.ms": "5" } })).await;
        bed.assert_said("t", ("False", "TopicExists"), "set adopt to have it taken over");
        assert_eq!(bed.replicas("t").unwrap().len(), 4);
        assert_eq!(bed.said("t", "/partitions"), json!(null));
        bed.set("t", "adopt", true).await;
        bed.assert_ready("t");
        assert_eq!((bed.said("t", "/topicId"), bed.replicas("t").unwrap().len()), (id, 6));
        assert_eq!(bed.setting("t", "retention.ms").as_deref(), Some("5"));
        assert_eq!(bed.events("TopicAdopted").len(), 1);
    })
    .await;
}

/// Nothing is done that is only planned, or not approved by its digest.
#[tokio::test(start_paused = true)]
async fn plans_are_told_and_approved() {
    Bed::run(2, async |bed| {
        bed.topic("t", json!({ "dryRun": true })).await;
        bed.assert_said("t", ("False", "DryRun"), "status.plan says");
        assert_eq!(bed.said("t", "/plan/steps/0"), "create t with 4 partitions of 2 replicas");
        assert_eq!(bed.replicas("t"), None);
        bed.set("t", "approval", json!({})).await;
        bed.set("t", "dryRun", false).await;
        let digest = bed.said("t", "/plan/digest");
        bed.assert_said("t", ("False", "AwaitingApproval"), digest.as_str().unwrap());
        bed.set("t", "approval", json!({ "digest": "0000000000000000" })).await;
        assert_eq!(bed.replicas("t"), None);
        bed.set("t", "approval", json!({ "digest": digest })).await;
        bed.assert_ready("t");
        assert_eq!(bed.said("t", "/plan"), json!(null));
        bed.set("t", "partitions", 6).await;
        bed.assert_said("t", ("True", "AwaitingApproval"), "set approval.digest to");
        assert_eq!(bed.replicas("t").unwrap().len(), 4, "that was another plan");
    })
    .await;
}

/// Two objects of one topic: the older has it and the younger says so, until the older is gone.
#[tokio::test(start_paused = true)]
async fn the_older_of_two_objects_has_the_topic() {
    Bed::run(1, async |bed| {
        bed.topic("old", json!({ "replicas": 1, "topicName": "t" })).await;
        let young = json!({ "replicas": 1, "topicName": "t", "partitions": 9 });
        bed.topic("young", young).await;
        bed.assert_ready("old");
        bed.assert_said("young", ("False", "TopicTaken"), "Topic old is older");
        assert_eq!(bed.events("TopicTaken").len(), 1);
        assert_eq!(bed.replicas("t").unwrap().len(), 4);
        bed.delete("old").await;
        bed.assert_ready("young");
        assert_eq!(bed.replicas("t").unwrap().len(), 9);
    })
    .await;
}

/// Whoever deletes a topic behind the operator's back finds another one, which has another id.
#[tokio::test(start_paused = true)]
async fn a_topic_that_another_hand_deleted_is_made_anew() {
    Bed::run(1, async |bed| {
        bed.topic("t", json!({ "replicas": 1 })).await;
        let id = bed.said("t", "/topicId");
        bed.state(|state| {
            state.change_topic("t", |_| {});
            state.tree.topics.remove("t");
            state.touch();
        });
        bed.rest().await;
        bed.assert_ready("t");
        assert_ne!(bed.said("t", "/topicId"), id);
        assert_eq!(bed.replicas("t").unwrap().len(), 4);
    })
    .await;
}
