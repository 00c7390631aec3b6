//! A client is held to the rights of the chart, and what it needed is compared with what it was given.

use kube::api::{DeleteParams, ListParams, Patch, PostParams};
use serde_json::json;

use super::objects::{api, by, code, config_map, stateful_set};
use super::support::fake::Fake;
use super::support::fake::rights::{Right, Rights};

fn right(verb: &str, resource: &str) -> Right {
    Right { resource: resource.to_owned(), verb: verb.to_owned() }
}

/// Nothing is given that no server has, nothing to all, and nothing of secrets.
#[tokio::test(start_paused = true)]
async fn every_right_is_about_a_resource_that_there_is() {
    let fake = Fake::new();
    for definition in operator::crd::all() {
        fake.create(serde_json::to_value(definition).unwrap());
    }
    let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
    for right in Rights::of_chart().all() {
        let resource = right.resource.split('/').next().unwrap_or_default();
        assert!(fake.with(|state| state.kinds.get(resource).is_some()), "{right}");
        assert!(verbs.contains(&right.verb.as_str()) && resource != "secrets", "{right}");
    }
}

/// What it gives may be done, and nothing else.
#[tokio::test(start_paused = true)]
async fn what_the_chart_does_not_give_is_forbidden() {
    let fake = Fake::new();
    fake.restrict("operator", Rights::of_chart());
    let client = fake.connect("operator-1").client();
    let maps = api(&client, "", "v1", "ConfigMap");
    let map = config_map("m", &json!({ "a": "1" }));
    assert!(maps.patch("m", &by("a"), &Patch::Apply(&map)).await.is_ok());
    assert!(maps.list(&ListParams::default()).await.is_ok());
    let object = serde_json::from_value(config_map("n", &json!({}))).unwrap();
    assert!(maps.create(&PostParams::default(), &object).await.is_ok());
    assert_eq!(code(maps.replace("n", &PostParams::default(), &object).await), 403);
    assert_eq!(code(api(&client, "", "v1", "Secret").list(&ListParams::default()).await), 403);
    let accounts = api(&client, "", "v1", "ServiceAccount");
    assert_eq!(code(accounts.delete("n", &DeleteParams::default()).await), 403);
    // Somebody else may do everything.
    let other = api(&fake.connect("user").client(), "", "v1", "Secret");
    assert!(other.list(&ListParams::default()).await.is_ok());
}

/// An apply of what is not there yet is a creation, too.
#[tokio::test(start_paused = true)]
async fn an_apply_needs_the_right_to_create_what_is_not_there() {
    let fake = Fake::new();
    let client = fake.connect("operator").client();
    let sets = api(&client, "apps", "v1", "StatefulSet");
    let set = stateful_set(1, "OnDelete", "Parallel");
    let create = right("create", "statefulsets.apps");
    fake.restrict("operator", Rights::of_chart().without(&create));
    assert_eq!(code(sets.patch("broker", &by("a"), &Patch::Apply(&set)).await), 403);
    fake.restrict("operator", Rights::of_chart());
    assert!(sets.patch("broker", &by("a"), &Patch::Apply(&set)).await.is_ok());
    fake.restrict("operator", Rights::of_chart().without(&create));
    assert!(sets.patch("broker", &by("a"), &Patch::Apply(&set)).await.is_ok());
}

/// What is asked and not given is named, and so is what is given and never asked.
#[tokio::test(start_paused = true)]
async fn calls_are_compared_with_the_table() {
    let fake = Fake::new();
    let client = fake.connect("operator").client();
    let map = config_map("m", &json!({ "a": "1" }));
    let maps = api(&client, "", "v1", "ConfigMap");
    assert!(maps.patch("m", &by("a"), &Patch::Apply(&map)).await.is_ok());
    let secrets = api(&client, "", "v1", "Secret");
    assert!(secrets.list(&ListParams::default()).await.is_ok());
    let difference = Rights::of_chart().difference(&fake.calls());
    let has = |line: &str| difference.iter().any(|said| said == line);
    assert!(has("lacks list secrets") && has("never asked: delete pods"), "{difference:?}");
    assert!(!has("never asked: patch configmaps") && !has("never asked: create configmaps"));
    // No call shows it: an admission plugin asks for it.
    assert!(!has("never asked: update clusters.ottla.dev/finalizers"), "{difference:?}");
}
