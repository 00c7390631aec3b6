//! Topics change: they grow, their replicas move, their settings are kept.

use std::time::Duration;

use serde_json::json;

use super::bed::{Bed, pass};

/// More partitions are spread over the brokers; what was there stays, and a broker that is cordoned gets nothing.
#[tokio::test(start_paused = true)]
async fn a_topic_grows_beside_what_is_there() {
    Bed::run(3, async |bed| {
        bed.topic("t", json!({ "partitions": 2 })).await;
        let before = bed.replicas("t").unwrap();
        bed.state(|state| drop(state.cordon(2, true)));
        pass(Duration::from_secs(10)).await;
        bed.set("t", "partitions", 6).await;
        bed.assert_ready("t");
        let after = bed.replicas("t").unwrap();
        assert_eq!((after.len(), &after[..2]), (6, &before[..]));
        assert!(after[2..].iter().all(|one| !one.contains(&2)), "{after:?}");
        assert_eq!(bed.said("t", "/partitions"), 6);
        assert_eq!(bed.events("PartitionsAdded").len(), 1);
    })
    .await;
}

/// Another replication factor is a reassignment: under the throttle, told while it lasts, and cleared up after it.
#[tokio::test(start_paused = true)]
async fn replicas_move_under_a_throttle_that_is_taken_away() {
    Bed::run(3, async |bed| {
        bed.state(|state| state.pace.partition_size = 10 << 20);
        bed.topic("t", json!({})).await;
        let throttle = "/spec/rebalance";
        let slow = json!({ "throttle": "1Mi" });
        bed.fake.edit("clusters", "default", "main", throttle, slow).unwrap();
        bed.fake.edit("topics", "default", "t", "/spec/replicas", 3).unwrap();
        pass(Duration::from_secs(7)).await;
        let [status, reason, message] = bed.condition("t", "Progressing");
        assert_eq!((&*status, &*reason), ("True", "Moving"));
        assert!(message.starts_with("replicas of 4 partitions move, "), "{message}");
        assert!(message.ends_with(" bytes are left, at 1Mi a second"), "{message}");
        assert_eq!(bed.said("t", "/replicas"), 2);
        let throttles = bed.state(|state| state.tree.broker_throttles.clone());
        assert_eq!(throttles.into_values().collect::<Vec<_>>(), [1 << 20; 3]);

        bed.rest().await;
        bed.assert_ready("t");
        assert_eq!(bed.condition("t", "Progressing")[..2], ["False", "Idle"]);
        assert_eq!(bed.said("t", "/replicas"), 3);
        assert!(bed.replicas("t").unwrap().iter().all(|one| one.len() == 3));
        let left =
            bed.state(|state| state.tree.broker_throttles.len() + state.tree.topic_throttles.len());
        assert_eq!(left, 0);
        assert_eq!((bed.events("ReplicasMoving").len(), bed.events("ReplicasMoved").len()), (1, 1));
        bed.set("t", "replicas", 1).await;
        assert!(bed.replicas("t").unwrap().iter().all(|one| one.len() == 1));
        bed.model.assert_sound();
    })
    .await;
}

/// What the spec says is set, what it does not say is as brokers have it; who changed it is named.
#[tokio::test(start_paused = true)]
async fn settings_are_kept_and_drift_has_a_name() {
    Bed::run(1, async |bed| {
        bed.topic("t", json!({ "replicas": 1, "config": { "retention.ms": "1000" } })).await;
        bed.set("t", "config", json!({ "retention.ms": "2000" })).await;
        assert_eq!(bed.setting("t", "retention.ms").as_deref(), Some("2000"));
        assert_eq!(bed.events("Configured"), ["retention.ms is 2000"]);
        bed.state(|state| {
            state.change_topic("t", |topic| {
                topic.settings.insert("retention.ms".to_owned(), "1".to_owned());
                topic.settings.insert("segment.bytes".to_owned(), "2097152".to_owned());
                topic.author = "User:ann".to_owned();
            });
        });
        pass(Duration::from_secs(10)).await;
        assert_eq!(bed.setting("t", "retention.ms").as_deref(), Some("2000"));
        assert_eq!(bed.setting("t", "segment.bytes"), None);
        let drift = bed.events("DriftReverted");
        assert_eq!(drift.len(), 1);
        assert!(
            drift[0].starts_with("User:ann had changed settings: retention.ms is 2000"),
            "{drift:?}"
        );
        bed.assert_ready("t");
    })
    .await;
}

/// A paused cluster has nothing changed; what would be is said, and done once it goes on.
#[tokio::test(start_paused = true)]
async fn a_paused_cluster_is_left_alone() {
    Bed::run(1, async |bed| {
        bed.topic("t", json!({ "replicas": 1 })).await;
        bed.fake.edit("clusters", "default", "main", "/spec/paused", true).unwrap();
        bed.set("t", "partitions", 5).await;
        bed.assert_said("t", ("True", "Paused"), "nothing is done");
        assert_eq!(bed.condition("t", "Paused")[..2], ["True", "Paused"]);
        assert_eq!(bed.said("t", "/plan/steps/0"), "add 1 partitions to the 4 that there are");
        bed.delete("t").await;
        assert_eq!(bed.replicas("t").unwrap().len(), 4);
        bed.fake.edit("clusters", "default", "main", "/spec/paused", false).unwrap();
        bed.rest().await;
        assert_eq!((bed.replicas("t"), bed.fake.list("topics", "").len()), (None, 0));
    })
    .await;
}

/// Partitions that another hand has added stay: the object says what to do.
#[tokio::test(start_paused = true)]
async fn more_partitions_than_wanted_are_told_and_all_else_is_kept() {
    Bed::run(1, async |bed| {
        bed.topic("t", json!({ "replicas": 1 })).await;
        bed.state(|state| {
            state.change_topic("t", |topic| topic.partitions.push(topic.partitions[0].clone()));
        });
        bed.set("t", "config", json!({ "retention.ms": "2000" })).await;
        bed.assert_said("t", ("True", "MorePartitions"), "set partitions to 5");
        assert_eq!(bed.condition("t", "Degraded")[..2], ["True", "MorePartitions"]);
        assert_eq!(bed.setting("t", "retention.ms").as_deref(), Some("2000"));
    })
    .await;
}
