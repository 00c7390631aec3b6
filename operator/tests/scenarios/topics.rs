//! Topics of brokers that are there.

use std::time::Duration;

use operator::topic;
use serde_json::json;

use super::bed::apply;
use super::stage::{self, Stage, condition, pass};
use super::support::brokers::state::Asked;
use super::support::fake::Fake;
use super::support::fake::exhaustive::{Scenario, kill_at_every_call};

fn stage() -> Stage {
    Stage::new(|pool| vec![topic::controller(pool)])
}

/// Longer than anything that is looked at again soon.
const QUIET: Duration = Duration::from_secs(40);

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
    let calls = kill_at_every_call(|disturbance| {
        let stage = stage();
        let scenario = Scenario {
            world: || world(&stage),
            operator: async |connection| stage.operate(connection).await,
            user,
            before: Duration::ZERO,
            quiet: QUIET,
            ignored: &["events.events.k8s.io"],
        };
        let end = scenario.run(disturbance);
        stage.model().assert_sound();
        assert_eq!(condition(&end.fake, "topics", "a", "Ready"), "True");
        stage.model().with(|state| {
            assert_eq!(state.tree.topics.keys().collect::<Vec<_>>(), ["a"]);
            assert_eq!(state.tree.topics["a"].partitions.len(), 3);
        });
        assert_eq!(stage.count("CreateTopic", |asked| asked.has_changed), 2);
        assert_eq!(stage.count("GrowTopic", |asked| asked.has_changed), 1);
        end
    });
    assert!((50..100).contains(&calls), "{calls} calls");
}

/// An operator that has lost its lease and does not know it yet changes nothing at the brokers once another has come.
#[test]
fn an_operator_that_was_replaced_changes_no_topic() {
    let stage = stage();
    let scenario = Scenario {
        world: || world(&stage),
        operator: async |connection| stage.operate(connection).await,
        user: async |fake: Fake| {
            pass(15).await;
            fake.create(stage::topic("a", json!({})));
            pass(10).await;
            let second = fake.connect("second");
            let edit = async {
                pass(5).await;
                stage.model().forget_calls();
                for partitions in [3, 4] {
                    let pointer = "/spec/partitions";
                    fake.edit("topics", "default", "a", pointer, partitions).unwrap();
                    pass(20).await;
                }
            };
            tokio::select! {
                () = stage.operate(second) => {}
                () = edit => {}
            }
        },
        before: Duration::ZERO,
        quiet: QUIET,
        ignored: &[],
    };
    let end = scenario.run(None);
    stage.model().assert_sound();
    let by = |client: &'static str| move |one: &Asked| one.client == client && one.has_changed;
    let asked = stage.model().asked();
    assert_eq!(asked.iter().filter(|one| by("first")(one)).count(), 0, "{asked:#?}");
    assert_eq!(stage.count("GrowTopic", by("second")), 2);
    stage.model().with(|state| assert_eq!(state.tree.topics["a"].partitions.len(), 4));
    drop(end);
}
