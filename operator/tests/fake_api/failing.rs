//! Calls that are lost, clients that are killed or stale, and the ends of two runs compared.

use std::time::Duration;

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::objects::{api, by, code, config_map, stateful_set};
use super::support::fake::Fake;
use super::support::fake::connection::{Connection, Fault, Nth};
use super::support::fake::exhaustive::{Scenario, kill_at_every_call};

/// Three changes one after the other, each of which can be made again.
async fn operate(connection: Connection) {
    let client = connection.client();
    let maps = api(&client, "", "v1", "ConfigMap");
    let sets = api(&client, "apps", "v1", "StatefulSet");
    let who = by("operator").force();
    let map = config_map("m", &json!({ "a": "1" }));
    while maps.patch("m", &who, &Patch::Apply(&map)).await.is_err() {}
    let set = stateful_set(2, "OnDelete", "Parallel");
    while sets.patch("broker", &who, &Patch::Apply(&set)).await.is_err() {}
    let label = json!({ "metadata": { "labels": { "done": "yes" } } });
    let params = PatchParams::default();
    while maps.patch("m", &params, &Patch::Merge(&label)).await.is_err() {}
}

/// A call that is lost on its way did nothing; one whose answer is lost did everything.
#[tokio::test(start_paused = true)]
async fn a_lost_call_and_a_lost_answer_look_the_same() {
    // A row is (fault, whether it is done).
    for (fault, is_done) in [(Fault::Refused, false), (Fault::AnswerLost, true)] {
        let fake = Fake::new();
        let connection = fake.connect("a");
        connection.plan(Nth::Write(1), fault);
        let maps = api(&connection.client(), "", "v1", "ConfigMap");
        let map = config_map("m", &json!({}));
        let answer = maps.patch("m", &by("a"), &Patch::Apply(&map)).await;
        assert!(matches!(answer, Err(kube::Error::Service(_))), "{answer:?}");
        assert_eq!(fake.get("configmaps", "default", "m").is_some(), is_done, "{fault:?}");
        let call = &fake.calls()[0];
        assert_eq!((call.code.is_some(), call.has_changed), (is_done, is_done), "{call}");
        assert!(maps.patch("m", &by("a"), &Patch::Apply(&map)).await.is_ok());
    }
    let fake = Fake::new();
    let connection = fake.connect("a");
    connection.plan(Nth::Call(2), Fault::Code(503));
    let maps = api(&connection.client(), "", "v1", "ConfigMap");
    assert_eq!(code(maps.get("m").await), 404);
    assert_eq!(code(maps.get("m").await), 503);
}

/// An operator that is killed at any call, before or after it is done, and a new one after it, end where an undisturbed
/// one ends.
#[test]
fn an_operator_killed_at_any_call_is_followed_by_another() {
    let scenario = Scenario {
        world: Fake::new,
        operator: operate,
        user: async |_| {},
        before: Duration::ZERO,
        quiet: Duration::from_secs(30),
        ignored: &[],
    };
    let calls = kill_at_every_call(|disturbance| {
        let end = scenario.run(disturbance);
        let set = end.fake.get("statefulsets", "default", "broker").unwrap();
        assert_eq!(set["status"]["readyReplicas"], 2);
        assert_eq!(set["metadata"]["generation"], 1);
        end
    });
    assert_eq!(calls, 3);
}

/// The same scenario is the same run: every call, its body and its answer, and every object with its times.
#[test]
fn a_run_is_the_same_run_every_time() {
    let run = || {
        let scenario = Scenario {
            world: Fake::new,
            operator: operate,
            user: async |_| {},
            before: Duration::ZERO,
            quiet: Duration::from_secs(30),
            ignored: &[],
        };
        let end = scenario.run(Some((2, Fault::KilledAfter)));
        let calls: Vec<String> = end.fake.calls().iter().map(ToString::to_string).collect();
        let set = end.fake.get("statefulsets", "default", "broker").unwrap();
        (calls, set.to_string(), end.snapshot.json())
    };
    assert_eq!(run(), run());
}

/// One that makes its object anew where the first of it was lost ends elsewhere, and is found out.
#[test]
#[should_panic(expected = "only in the second")]
fn an_operator_that_leaves_something_behind_is_found_out() {
    let scenario = Scenario {
        world: Fake::new,
        operator: async |connection: Connection| {
            let maps = api(&connection.client(), "", "v1", "ConfigMap");
            let mut map = config_map("", &json!({}));
            map["metadata"] = json!({ "generateName": "m-" });
            let map = serde_json::from_value(map).unwrap();
            maps.create(&PostParams::default(), &map).await.unwrap();
        },
        user: async |_| {},
        before: Duration::ZERO,
        quiet: Duration::from_secs(30),
        ignored: &[],
    };
    kill_at_every_call(|disturbance| scenario.run(disturbance));
}

/// The difference of two ends names the object, the field and both values.
#[tokio::test(start_paused = true)]
async fn a_difference_is_told_in_words() {
    let make = |data: &str, other: &str| {
        let fake = Fake::new();
        fake.create(config_map("m", &json!({ "a": data })));
        fake.create(config_map(other, &json!({})));
        fake.snapshot(&["nodes"])
    };
    let difference = make("1", "x").difference(&make("2", "y"));
    let expected = [
        r#"configmaps default/m: .data.a: "1" | "2""#,
        "configmaps default/x: only in the first",
        "configmaps default/y: only in the second",
    ];
    assert_eq!(difference, expected);
}

/// A client that is cut off can do nothing, and after it is mended it goes on; another one is not touched.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_off_can_do_nothing() {
    let fake = Fake::new();
    let (stale, other) = (fake.connect("stale"), fake.connect("other"));
    let map = config_map("m", &json!({}));
    let patch = async |connection: &Connection| {
        let maps = api(&connection.client(), "", "v1", "ConfigMap");
        maps.patch("m", &by("a"), &Patch::Apply(&map)).await.is_ok()
    };
    stale.cut();
    assert!(!patch(&stale).await);
    assert!(patch(&other).await);
    stale.mend();
    assert!(patch(&stale).await);
    stale.kill();
    let silent = tokio::time::timeout(Duration::from_hours(1), patch(&stale)).await;
    assert!(silent.is_err(), "a dead client hears nothing");
    assert_eq!(fake.writes().iter().filter(|call| call.has_changed).count(), 1);
}
