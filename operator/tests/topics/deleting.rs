//! Objects go: with their topics or without, and always.

use kube::Api;
use kube::api::{Patch, PatchParams};
use operator::crd::topic::Topic;
use serde_json::{Value, json};

use super::bed::Bed;

fn tombstones(bed: &Bed) -> Vec<Value> {
    let cluster = bed.fake.get("clusters", "default", "main").unwrap();
    cluster["status"]["tombstones"].as_array().cloned().unwrap_or_default()
}

fn objects(bed: &Bed) -> usize {
    bed.fake.list("topics", "").len()
}

#[tokio::test(start_paused = true)]
async fn a_topic_goes_with_its_object_unless_that_says_otherwise() {
    Bed::run(2, async |bed| {
        bed.topic("gone", json!({})).await;
        bed.topic("kept", json!({ "deletionPolicy": "Retain" })).await;
        bed.topic("safe", json!({ "deletionPolicy": "Protect" })).await;
        for name in ["gone", "kept", "safe"] {
            bed.delete(name).await;
        }
        assert_eq!(bed.replicas("gone"), None);
        assert!(bed.replicas("kept").is_some() && bed.replicas("safe").is_some());
        assert_eq!(objects(bed), 1);
        bed.assert_said("safe", ("False", "Protected"), "set it to Delete or Retain");
        assert_eq!(bed.events("TopicDeleted").len(), 1);
        bed.set("safe", "deletionPolicy", "Delete").await;
        assert_eq!((bed.replicas("safe"), objects(bed)), (None, 0));
    })
    .await;
}

/// Nobody waits for brokers that are away: the topic goes once they are back, and one of its name that is another stays.
#[tokio::test(start_paused = true)]
async fn a_topic_is_deleted_later_where_nobody_answers() {
    Bed::run(2, async |bed| {
        bed.topic("t", json!({})).await;
        bed.topic("other", json!({})).await;
        bed.topic("replaced", json!({})).await;
        let id = bed.said("t", "/topicId");
        bed.end().await;
        bed.assert_said("other", ("Unknown", "ClusterUnreachable"), "no broker");
        assert_eq!(bed.said("other", "/partitions"), 4, "what was known of it");
        bed.delete("t").await;
        bed.delete("replaced").await;
        assert_eq!(objects(bed), 1);
        assert_eq!(tombstones(bed).len(), 2);
        assert!(tombstones(bed).contains(&json!({ "topicName": "t", "topicId": id })));
        assert_eq!(bed.events("DeletionDeferred").len(), 2);
        bed.state(|state| {
            state.change_topic("replaced", |topic| topic.id = "ZZZZZZZZZZZZZZZZZZZZZZ".to_owned());
        });
        bed.begin();
        bed.rest().await;
        assert_eq!((bed.replicas("t"), tombstones(bed).len()), (None, 0));
        assert!(bed.replicas("replaced").is_some() && bed.replicas("other").is_some());
        bed.assert_ready("other");
        assert_eq!(bed.events("TopicDeleted").len(), 2);
    })
    .await;
}

/// A new object of the name waits for the old topic to go, and has one of its own.
#[tokio::test(start_paused = true)]
async fn a_name_is_free_again_once_its_tombstone_is_served() {
    Bed::run(1, async |bed| {
        bed.topic("t", json!({ "replicas": 1 })).await;
        let id = bed.said("t", "/topicId");
        bed.end().await;
        bed.delete("t").await;
        bed.topic("t", json!({ "replicas": 1, "adopt": true })).await;
        bed.begin();
        bed.rest().await;
        bed.assert_ready("t");
        assert_ne!(bed.said("t", "/topicId"), id);
        assert_eq!(tombstones(bed), [] as [Value; 0]);
    })
    .await;
}

/// Without its cluster, or in a namespace that goes, an object goes, whatever its policy and however wrong its spec.
#[tokio::test(start_paused = true)]
async fn objects_go_with_their_cluster_and_their_namespace() {
    Bed::run(1, async |bed| {
        bed.topic("safe", json!({ "replicas": 1, "deletionPolicy": "Protect" })).await;
        let config = json!({ "no.such.setting": "1" });
        bed.topic("wrong", json!({ "replicas": 1, "config": config })).await;
        bed.delete("wrong").await;
        assert_eq!(objects(bed), 1, "it never had a topic");
        bed.topic("t", json!({ "replicas": 1 })).await;
        bed.end().await;
        bed.fake.delete("namespaces", "", "default");
        bed.rest().await;
        assert_eq!(objects(bed), 0);
        assert_eq!(bed.fake.get("namespaces", "", "default"), None);
    })
    .await;
}

/// A cluster that is protected does not go when it is deleted, and its topics have all that they had.
#[tokio::test(start_paused = true)]
async fn a_protected_cluster_keeps_its_topics() {
    Bed::run(1, async |bed| {
        bed.fake.edit("clusters", "default", "main", "/spec/deletionProtection", true).unwrap();
        bed.fake
            .edit(
                "clusters",
                "default",
                "main",
                "/metadata/finalizers",
                json!(["ottla.dev/cluster"]),
            )
            .unwrap();
        bed.topic("t", json!({ "replicas": 1 })).await;
        bed.fake.delete("clusters", "default", "main");
        bed.rest().await;
        bed.set("t", "partitions", 6).await;
        bed.assert_ready("t");
        bed.delete("t").await;
        assert_eq!((bed.replicas("t"), objects(bed)), (None, 0));
    })
    .await;
}

/// A topic that brokers do not delete now is in nobody else's way.
#[tokio::test(start_paused = true)]
async fn tombstones_are_served_each_by_itself() {
    Bed::run(1, async |bed| {
        for name in ["a", "b", "c"] {
            bed.topic(name, json!({ "replicas": 1 })).await;
        }
        bed.end().await;
        for name in ["a", "b", "c"] {
            bed.delete(name).await;
        }
        bed.state(|state| state.refused_deletions.insert("b".to_owned()));
        bed.begin();
        bed.rest().await;
        let left: Vec<_> = tombstones(bed).iter().map(|one| one["topicName"].clone()).collect();
        assert_eq!(left, ["b"]);
        assert!(bed.replicas("a").is_none() && bed.replicas("c").is_none());
        assert_eq!(bed.events("TopicDeleted").len(), 2);
        bed.state(|state| state.refused_deletions.clear());
        bed.rest().await;
        assert_eq!((bed.replicas("b"), tombstones(bed).len()), (None, 0));
    })
    .await;
}

/// Of a cluster that is gone nothing is waited for.
#[tokio::test(start_paused = true)]
async fn an_object_outlives_its_cluster_and_goes() {
    Bed::run(1, async |bed| {
        bed.topic("safe", json!({ "replicas": 1, "deletionPolicy": "Protect" })).await;
        bed.fake.delete("clusters", "default", "main");
        bed.rest().await;
        bed.assert_said("safe", ("False", "ClusterNotFound"), "no Cluster main");
        bed.delete("safe").await;
        assert_eq!(objects(bed), 0);
    })
    .await;
}

/// Whoever applies a copy of the object with its finalizer does not hold it back for ever.
#[tokio::test(start_paused = true)]
async fn a_finalizer_that_others_applied_too_goes() {
    Bed::run(1, async |bed| {
        bed.topic("t", json!({ "replicas": 1 })).await;
        let topics: Api<Topic> = Api::namespaced(bed.fake.connect("user").client(), "default");
        let copy = json!({
            "apiVersion": "ottla.dev/v1alpha1", "kind": "Topic",
            "metadata": { "name": "t", "finalizers": ["ottla.dev/topic"] },
        });
        let by = PatchParams::apply("user");
        topics.patch("t", &by, &Patch::Apply(&copy)).await.unwrap();
        bed.delete("t").await;
        assert_eq!((objects(bed), bed.replicas("t")), (0, None));
    })
    .await;
}
