//! Server-side apply: who owns what, conflicts, what goes when nobody says it any more.

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::objects::{api, by, code, config_map, container, stateful_set, value};
use super::support::fake::Fake;

async fn apply(api: &Api<kube::api::DynamicObject>, who: &PatchParams, object: &Value) -> Value {
    let name = object["metadata"]["name"].as_str().unwrap();
    value(&api.patch(name, who, &Patch::Apply(object)).await.unwrap())
}

/// Applying the same twice stores nothing: neither a version nor a time changes.
#[tokio::test(start_paused = true)]
async fn the_same_again_changes_nothing() {
    let fake = Fake::new();
    let sets = api(&fake.connect("a").client(), "apps", "v1", "StatefulSet");
    let set = stateful_set(3, "OnDelete", "Parallel");
    let first = apply(&sets, &by("operator"), &set).await;
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    let second = apply(&sets, &by("operator"), &set).await;
    assert_eq!(first, second);
    assert_eq!(first["metadata"]["generation"], 1);
    assert_eq!(first["spec"]["template"]["spec"]["restartPolicy"], "Always", "a default");
    let codes: Vec<Option<u16>> = fake.calls().iter().map(|call| call.code).collect();
    assert_eq!(codes, [Some(201), Some(200)]);
    assert!(!fake.calls()[1].has_changed);
}

/// Another value for another's field is a conflict that names both; force takes the field over.
#[tokio::test(start_paused = true)]
async fn a_field_of_another_manager_is_a_conflict_without_force() {
    let fake = Fake::new();
    let maps = api(&fake.connect("a").client(), "", "v1", "ConfigMap");
    apply(&maps, &by("first"), &config_map("m", &json!({ "a": "1", "b": "1" }))).await;
    let same = apply(&maps, &by("second"), &config_map("m", &json!({ "a": "1" }))).await;
    assert_eq!(same["data"], json!({ "a": "1", "b": "1" }), "the same value is shared");

    let other = config_map("m", &json!({ "a": "2" }));
    let answer = maps.patch("m", &by("second"), &Patch::Apply(&other)).await;
    let Err(kube::Error::Api(status)) = answer else { panic!("no conflict: {answer:?}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let causes = &status.details.as_ref().unwrap().causes;
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].field, ".data.a");
    assert!(causes[0].message.contains("\"first\""), "{status:?}");

    let forced = apply(&maps, &by("second").force(), &other).await;
    assert_eq!(forced["data"], json!({ "a": "2", "b": "1" }));
    let entries = forced["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries[0]["manager"], "first");
    assert_eq!(entries[0]["fieldsV1"], json!({ "f:data": { "f:b": {} } }));
    assert_eq!(entries[1]["fieldsV1"], json!({ "f:data": { "f:a": {} } }));
}

/// What a manager no longer applies goes, unless another owns it too.
#[tokio::test(start_paused = true)]
async fn what_nobody_applies_any_more_goes() {
    let fake = Fake::new();
    let maps = api(&fake.connect("a").client(), "", "v1", "ConfigMap");
    apply(&maps, &by("first"), &config_map("m", &json!({ "a": "1", "b": "1" }))).await;
    apply(&maps, &by("second"), &config_map("m", &json!({ "b": "1" }))).await;
    let left = apply(&maps, &by("first"), &config_map("m", &json!({}))).await;
    assert_eq!(left["data"], json!({ "b": "1" }), "the second still owns b");
    let left = apply(&maps, &by("second"), &config_map("m", &json!({}))).await;
    assert!(left.get("data").is_none_or(|data| *data == json!({})), "{left}");
}

/// Elements of a list with keys are merged: each manager has its own containers, ports and variables.
#[tokio::test(start_paused = true)]
async fn lists_are_merged_by_their_keys() {
    let fake = Fake::new();
    let sets = api(&fake.connect("a").client(), "apps", "v1", "StatefulSet");
    let mut set = stateful_set(3, "OnDelete", "Parallel");
    apply(&sets, &by("operator"), &set).await;
    let sidecar = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": "broker", "namespace": "default" },
        "spec": { "template": { "spec": { "containers": [
            { "name": "sidecar", "image": "localhost/sidecar:1" },
            { "name": "broker", "env": [{ "name": "C", "value": "3" }] },
        ] } } },
    });
    apply(&sets, &by("injector"), &sidecar).await;

    let mut changed = container("2");
    changed["env"] = json!([{ "name": "A", "value": "9" }]);
    set["spec"]["template"]["spec"]["containers"] = json!([changed]);
    let after = apply(&sets, &by("operator"), &set).await;
    let containers = after["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<&Value> = containers.iter().map(|container| &container["name"]).collect();
    assert_eq!(names, ["sidecar", "broker"], "the order of the last who applied both");
    assert_eq!(containers[1]["image"], "localhost/broker:2");
    let env = json!([{ "name": "A", "value": "9" }, { "name": "C", "value": "3" }]);
    assert_eq!(containers[1]["env"], env, "B went, C is the injector's");
    assert_eq!(after["metadata"]["generation"], 3);
    let text = after["metadata"]["managedFields"].to_string();
    assert!(text.contains(r#"k:{\"containerPort\":9092,\"protocol\":\"TCP\"}"#), "{text}");
}

/// A field that someone updates is theirs: applying another value is a conflict, leaving it out keeps their value.
#[tokio::test(start_paused = true)]
async fn an_update_takes_fields_over() {
    let fake = Fake::new();
    let sets = api(&fake.connect("a").client(), "apps", "v1", "StatefulSet");
    let mut set = stateful_set(3, "OnDelete", "Parallel");
    apply(&sets, &by("operator"), &set).await;
    fake.edit("statefulsets", "default", "broker", "/spec/replicas", 5).unwrap();
    assert_eq!(code(sets.patch("broker", &by("operator"), &Patch::Apply(&set)).await), 409);
    set["spec"].as_object_mut().unwrap().shift_remove("replicas");
    assert_eq!(apply(&sets, &by("operator"), &set).await["spec"]["replicas"], 5);
}

/// Status and spec have owners of their own; a status in an apply of the whole is ignored, and the reverse.
#[tokio::test(start_paused = true)]
async fn each_part_is_applied_through_its_own_path() {
    let fake = Fake::new();
    let sets = api(&fake.connect("a").client(), "apps", "v1", "StatefulSet");
    let mut set = stateful_set(3, "OnDelete", "Parallel");
    set["status"] = json!({ "replicas": 7 });
    let made = apply(&sets, &by("operator"), &set).await;
    assert_eq!(made["status"], json!({ "replicas": 0, "availableReplicas": 0 }));
    set["spec"]["replicas"] = json!(4);
    let after = sets.patch_status("broker", &by("operator"), &Patch::Apply(&set)).await.unwrap();
    let after = value(&after);
    assert_eq!((&after["spec"]["replicas"], &after["status"]["replicas"]), (&json!(3), &json!(7)));
    assert_eq!(after["metadata"]["generation"], 1);
    let entries = after["metadata"]["managedFields"].as_array().unwrap();
    let parts: Vec<&Value> = entries.iter().map(|entry| &entry["subresource"]).collect();
    assert_eq!(parts, [&Value::Null, &json!("status")]);
}

/// A row is (live, applied, merged), each by the names of containers: the applied order holds, others keep their place.
#[tokio::test(start_paused = true)]
async fn the_applied_order_of_a_list_holds() {
    let cases: [(&[&str], &[&str], &[&str]); 5] = [
        (&["a"], &["b", "a"], &["b", "a"]),
        (&["x", "a"], &["a"], &["x", "a"]),
        (&["a", "b", "x"], &["b", "a"], &["b", "x", "a"]),
        (&["a", "x", "b"], &["a", "b"], &["a", "x", "b"]),
        (&["x"], &["a", "b"], &["x", "a", "b"]),
    ];
    let containers = |names: &[&str]| {
        let mut set = stateful_set(1, "OnDelete", "Parallel");
        let container = |name: &&str| json!({ "name": name, "image": "localhost/a:1" });
        let containers: Vec<Value> = names.iter().map(container).collect();
        set["spec"]["template"]["spec"]["containers"] = containers.into();
        set
    };
    for (live, applied, expected) in cases {
        let fake = Fake::new();
        fake.create(containers(live));
        let sets = api(&fake.connect("a").client(), "apps", "v1", "StatefulSet");
        // By force: claim templates are one value, and with their defaults another one than applied.
        let merged = apply(&sets, &by("operator").force(), &containers(applied)).await;
        let merged = merged["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        let names: Vec<&str> =
            merged.iter().map(|container| container["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{live:?} {applied:?}");
    }
}

/// A dry run answers what would be, and stores nothing.
#[tokio::test(start_paused = true)]
async fn a_dry_run_stores_nothing() {
    let fake = Fake::new();
    let maps = api(&fake.connect("a").client(), "", "v1", "ConfigMap");
    let made =
        apply(&maps, &by("operator").dry_run(), &config_map("m", &json!({ "a": "1" }))).await;
    assert_eq!(made["data"]["a"], "1");
    assert!(fake.get("configmaps", "default", "m").is_none());
}
