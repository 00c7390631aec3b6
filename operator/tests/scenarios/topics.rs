//! Topics of brokers that are there.

use std::time::{Duration, Instant};

use operator::topic;
use serde_json::json;

use super::bed::apply;
use super::stage::{self, Stage, condition, pass};
use super::support::fake::Fake;
use super::support::fake::exhaustive::{End, Scenario};

fn stage() -> Stage {
    Stage::new(|pool| vec![topic::controller(pool)])
}

/// Brokers without an operator of their own, and the object that names them.
fn world(stage: &Stage) -> Fake {
    let fake = stage.world();
    fake.create(stage::cluster(json!({})));
    apply(&fake, 3, "0.1.0", &[]);
    fake
}

/// Topics are made, changed and deleted.
async fn user(fake: Fake) {
    pass(15).await;
    fake.create(stage::topic("a", json!({ "config": { "min.insync.replicas": "2" } })));
    pass(10).await;
    fake.create(stage::topic("b", json!({ "partitions": 1, "replicas": 2 })));
    pass(20).await;
    assert_eq!(condition(&fake, "topics", "a", "Ready"), "True");
    fake.edit("topics", "default", "a", "/spec/partitions", 3).unwrap();
    fake.edit("topics", "default", "b", "/spec/replicas", 3).unwrap();
    pass(30).await;
    fake.delete("topics", "default", "b");
    pass(30).await;
}

#[test]
fn topics_are_as_their_objects_say_whenever_the_operator_dies() {
    let stage = stage();
    let scenario = Scenario {
        world: || world(&stage),
        operator: async |connection| stage.operate(connection).await,
        user,
        quiet: Duration::from_secs(60),
        ignored: &["events.events.k8s.io"],
    };
    let check = |end: &End| {
        stage.model().assert_sound();
        assert_eq!(condition(&end.fake, "topics", "a", "Ready"), "True");
        stage.model().with(|state| {
            assert_eq!(state.tree.topics.keys().collect::<Vec<_>>(), ["a"]);
            assert_eq!(state.tree.topics["a"].partitions.len(), 3);
        });
        assert_eq!(stage.count("CreateTopic", |asked| asked.has_changed), 2);
        assert_eq!(stage.count("GrowTopic", |asked| asked.has_changed), 1);
    };
    let start = Instant::now();
    let calls = scenario.kill_at_every_call(check);
    eprintln!("{calls} calls, {:?}", start.elapsed());
}

#[test]
fn once() {
    let stage = stage();
    let scenario = Scenario {
        world: || world(&stage),
        operator: async |connection| stage.operate(connection).await,
        user,
        quiet: Duration::from_secs(60),
        ignored: &["events.events.k8s.io"],
    };
    let start = Instant::now();
    let end = scenario.run(None);
    for call in end.fake.calls() {
        eprintln!("{call}");
    }
    eprintln!("{:?}", start.elapsed());
}
