//! A spec that brokers do not start with harms one of them, whatever happens to the others meanwhile; and evictions wait for
//! brokers also where the spec changes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::orders::{edit, is_whole};
use super::stage::{self, Stage, pass};
use super::support::fake::Fake;
use super::support::fake::deletion::{Deletion, Propagation};
use super::support::fake::exhaustive::{End, Scenario};
use super::support::fake::rights::Rights;

/// Runs once what the user does with three brokers that have come to rest, and checks that nothing has happened that must
/// never happen.
fn play(stage: &Stage, user: &impl AsyncFn(&Fake)) -> End {
    let scenario = Scenario {
        world: || {
            let fake = stage.world();
            fake.restrict("first", Rights::of_chart());
            fake.create(stage::cluster(json!({})));
            let config = json!({ "config": { "min.insync.replicas": "2" } });
            fake.create(stage::topic("a", config));
            fake
        },
        operator: async |connection| stage.operate(connection).await,
        user: async |fake: Fake| {
            pass(120).await;
            is_whole(&fake);
            user(&fake).await;
        },
        before: Duration::ZERO,
        quiet: Duration::from_mins(2),
        ignored: &["events.events.k8s.io"],
    };
    let end = scenario.run(None);
    stage.model().assert_sound();
    end
}

/// The settings that the process of a broker was started with; none where it does not run.
fn partitions(stage: &Stage, broker: i32) -> Option<String> {
    stage.model().with(|state| {
        let settings = &state.processes.get(&broker)?.settings;
        Some(settings.get("num.partitions").cloned().unwrap_or_default())
    })
}

/// What a broker is made of: the revision of its set, and its files.
fn made_of(fake: &Fake, broker: i32) -> (Value, Value) {
    let name = format!("orders-{broker}");
    let of = |resource: &str| fake.get(resource, "default", &name).unwrap_or_default();
    let set = of("statefulsets");
    let annotations = &set["spec"]["template"]["metadata"]["annotations"];
    (annotations["ottla.dev/revision"].clone(), of("configmaps")["data"].clone())
}

/// Has the spec ask for what brokers do not start with; returns what each was made of before.
async fn break_first(stage: &Stage, fake: &Fake) -> Vec<(Value, Value)> {
    let before = [0, 1, 2].map(|broker| made_of(fake, broker)).to_vec();
    let refused = ("num.partitions".to_owned(), "7".to_owned());
    stage.model().with(|state| state.refused_settings.extend([refused]));
    edit(fake, "config", json!({ "num.partitions": "7" }));
    pass(60).await;
    assert_eq!(partitions(stage, 1), None, "it fails");
    assert_ne!(made_of(fake, 1), before[1]);
    before
}

fn ends_with(stage: &Stage, end: &End, wanted: &str) {
    is_whole(&end.fake);
    for broker in 0..3 {
        assert_eq!(partitions(stage, broker).as_deref(), Some(wanted), "broker {broker}");
        let text = made_of(&end.fake, broker).1["broker.properties"].to_string();
        assert!(text.contains(&format!("num.partitions={wanted}")), "broker {broker}: {text}");
    }
}

/// A pod that is deleted and a process that dies come back as they were, while the first broker fails.
#[test]
fn who_comes_back_in_mid_roll_is_what_he_was() {
    let stage = Stage::new(stage::controllers);
    let end = play(&stage, &async |fake| {
        let before = break_first(&stage, fake).await;
        stage.model().excuse(2);
        fake.delete("pods", "default", "orders-2-0");
        pass(60).await;
        assert_eq!(partitions(&stage, 2).as_deref(), Some(""), "it serves as before");
        stage.model().crash(0);
        pass(60).await;
        assert_eq!(partitions(&stage, 0).as_deref(), Some(""), "it serves as before");
        assert_eq!([made_of(fake, 0), made_of(fake, 2)], [before[0].clone(), before[2].clone()]);
        assert_eq!(partitions(&stage, 1), None);
        edit(fake, "config", json!({ "num.partitions": "4" }));
        pass(300).await;
    });
    ends_with(&stage, &end, "4");
}

/// Sets and files that another hand deletes meanwhile come back as they were, too.
#[test]
fn what_is_deleted_in_mid_roll_comes_back_as_it_was() {
    let stage = Stage::new(stage::controllers);
    let end = play(&stage, &async |fake| {
        let before = break_first(&stage, fake).await;
        fake.delete("configmaps", "default", "orders-0");
        let alone = Deletion { propagation: Propagation::Orphan, ..Deletion::default() };
        fake.delete_with("statefulsets", "default", "orders-2", &alone);
        pass(60).await;
        assert_eq!([made_of(fake, 0), made_of(fake, 2)], [before[0].clone(), before[2].clone()]);
        // With its pod, this time.
        stage.model().excuse(2);
        fake.delete("statefulsets", "default", "orders-2");
        pass(60).await;
        assert_eq!(made_of(fake, 2), before[2]);
        assert_eq!(partitions(&stage, 2).as_deref(), Some(""), "it serves as before");
        let is_his = |words: &String| words.contains("broker 2 was taken away");
        stage.model().with(|state| state.violations.retain(|words| !is_his(words)));
        edit(fake, "config", json!({ "num.partitions": "4" }));
        pass(300).await;
    });
    ends_with(&stage, &end, "4");
}

/// Who comes back under the id of a broker that was taken away is not what that one was, while the first broker fails.
#[test]
fn a_broker_that_was_taken_away_is_not_remembered() {
    let stage = Stage::new(stage::controllers);
    let end = play(&stage, &async |fake| {
        edit(fake, "brokers", 4);
        pass(120).await;
        is_whole(fake);
        edit(fake, "brokers", 3);
        pass(120).await;
        is_whole(fake);
        break_first(&stage, fake).await;
        edit(fake, "brokers", 4);
        pass(60).await;
        let text = made_of(fake, 3).1["broker.properties"].to_string();
        assert!(text.contains("num.partitions=7"), "{text}");
        edit(fake, "config", json!({ "num.partitions": "4" }));
        pass(300).await;
    });
    ends_with(&stage, &end, "4");
}

/// Nothing is written while the first broker fails and the others wait.
#[test]
fn nothing_is_written_while_brokers_wait_for_their_turn() {
    let stage = Stage::new(stage::controllers);
    let end = play(&stage, &async |fake| {
        break_first(&stage, fake).await;
        pass(120).await;
        fake.forget_calls();
        pass(300).await;
        let writes: Vec<String> = fake.writes().iter().map(ToString::to_string).collect();
        assert!(writes.is_empty(), "{}", writes.join("\n"));
        edit(fake, "config", json!({}));
        pass(120).await;
    });
    is_whole(&end.fake);
    let starts = stage.model().starts();
    assert_eq!([starts[0], starts[2]], [(0, 1), (2, 1)], "nobody else was restarted");
}

/// No eviction takes a broker while another is away, though the cluster is paused, or its spec cannot be.
#[test]
fn evictions_wait_also_where_nothing_is_changed() {
    let changes = [
        ("paused", json!(true), json!(false)),
        ("config", json!({ "num.partition": "1" }), json!({})),
    ];
    for (field, value, back) in changes {
        let stage = Stage::new(stage::controllers);
        let end = play(&stage, &async |fake| {
            let most = || {
                let budget = fake.get("poddisruptionbudgets", "default", "orders-brokers");
                budget.unwrap_or_default()["spec"]["maxUnavailable"].clone()
            };
            edit(fake, field, value.clone());
            pass(60).await;
            assert_eq!(most(), 1, "{field}");
            stage.model().excuse(1);
            fake.delete("pods", "default", "orders-1-0");
            pass(6).await;
            assert_eq!(most(), 0, "{field}");
            pass(120).await;
            assert_eq!(most(), 1, "{field}: all serve again");
            fake.delete("poddisruptionbudgets", "default", "orders-brokers");
            fake.delete("services", "default", "orders");
            pass(60).await;
            assert_eq!(most(), 1, "{field}: it comes back");
            assert!(fake.get("services", "default", "orders").is_none(), "{field}: nothing else");
            edit(fake, field, back.clone());
            pass(120).await;
        });
        is_whole(&end.fake);
    }
}
