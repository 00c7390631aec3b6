//! The life of an object: versions, generations, finalizers, owners, namespaces.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::objects::{api, code, config_map, stateful_set, value};
use super::support::fake::Fake;
use super::support::fake::deletion::{Deletion, Propagation};

/// A write of what was read too long ago is refused.
#[tokio::test(start_paused = true)]
async fn an_update_of_an_old_version_is_a_conflict() {
    let fake = Fake::new();
    let maps: Api<ConfigMap> = Api::namespaced(fake.connect("a").client(), "default");
    let map: ConfigMap = serde_json::from_value(config_map("m", &json!({ "a": "1" }))).unwrap();
    let mut read = maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(code(maps.create(&PostParams::default(), &map).await), 409);
    fake.edit("configmaps", "default", "m", "/data/a", "2").unwrap();
    read.data.as_mut().unwrap().insert("a".to_owned(), "3".to_owned());
    assert_eq!(code(maps.replace("m", &PostParams::default(), &read).await), 409);
    read.metadata.resource_version = None;
    assert!(maps.replace("m", &PostParams::default(), &read).await.is_ok(), "it overwrites");
    assert_eq!(code(maps.get("other").await), 404);
}

/// Generations count changes of the spec alone, and only real ones.
#[tokio::test(start_paused = true)]
async fn the_generation_counts_changes_of_the_spec() {
    let fake = Fake::new();
    let sets = api(&fake.connect("a").client(), "apps", "v1", "StatefulSet");
    fake.create(stateful_set(3, "OnDelete", "Parallel"));
    let patches = [
        (json!({ "metadata": { "labels": { "a": "b" } } }), 1),
        (json!({ "spec": { "replicas": 4 } }), 2),
        (json!({ "spec": { "replicas": 4 } }), 2),
        (json!({ "status": { "replicas": 4 } }), 2),
    ];
    for (patch, generation) in patches {
        let params = PatchParams::default();
        let after = sets.patch("broker", &params, &Patch::Merge(&patch)).await.unwrap();
        assert_eq!(after.metadata.generation, Some(generation), "{patch}");
        assert_eq!(value(&after)["status"]["replicas"], 0, "{patch}");
    }
    let status = json!({ "status": { "replicas": 4 } });
    let params = PatchParams::default();
    let after = sets.patch_status("broker", &params, &Patch::Merge(&status)).await.unwrap();
    assert_eq!(after.metadata.generation, Some(2));
    let refused = json!({ "spec": { "serviceName": "other" } });
    assert_eq!(code(sets.patch("broker", &params, &Patch::Merge(&refused)).await), 422);
}

/// An object with a finalizer stays until that is gone, and takes no new one.
#[tokio::test(start_paused = true)]
async fn a_finalizer_keeps_a_deleted_object() {
    let fake = Fake::new();
    let maps = api(&fake.connect("a").client(), "", "v1", "ConfigMap");
    let mut map = config_map("m", &json!({}));
    map["metadata"]["finalizers"] = json!(["ottla.dev/a"]);
    fake.create(map);
    let left = maps.delete("m", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(left.metadata.deletion_timestamp.is_some());
    let more = json!({ "metadata": { "finalizers": ["ottla.dev/a", "ottla.dev/b"] } });
    let params = PatchParams::default();
    assert_eq!(code(maps.patch("m", &params, &Patch::Merge(&more)).await), 422);
    let none = json!({ "metadata": { "finalizers": null } });
    maps.patch("m", &params, &Patch::Merge(&none)).await.unwrap();
    assert!(fake.get("configmaps", "default", "m").is_none());
}

/// A deletion with preconditions spares an object of the same name that is another one.
#[tokio::test(start_paused = true)]
async fn a_deletion_spares_what_is_not_meant() {
    let fake = Fake::new();
    let maps = api(&fake.connect("a").client(), "", "v1", "ConfigMap");
    let map = fake.create(config_map("m", &json!({})));
    let uid = |uid: &str| {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        DeleteParams::default().preconditions(preconditions)
    };
    assert_eq!(code(maps.delete("m", &uid("another")).await), 409);
    let uid = uid(map["metadata"]["uid"].as_str().unwrap());
    assert!(maps.delete("m", &uid).await.unwrap().is_right());
}

fn owned(name: &str, owner: &Value) -> Value {
    let mut map = config_map(name, &json!({}));
    map["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": true,
    }]);
    map
}

/// A row is (propagation, objects left by name).
#[tokio::test(start_paused = true)]
async fn dependents_go_as_the_deletion_says() {
    let cases: [(Propagation, &[&str]); 3] = [
        (Propagation::Background, &[]),
        (Propagation::Foreground, &[]),
        (Propagation::Orphan, &["dependent"]),
    ];
    for (propagation, expected) in cases {
        let fake = Fake::new();
        let owner = fake.create(config_map("owner", &json!({})));
        fake.create(owned("dependent", &owner));
        let how = Deletion { propagation, ..Deletion::default() };
        let stays = fake.delete_with("configmaps", "default", "owner", &how).is_some();
        assert_eq!(stays, propagation != Propagation::Background, "{propagation:?}");
        fake.settle();
        let left = fake.list("configmaps", "default");
        let names: Vec<&str> =
            left.iter().map(|map| map["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{propagation:?}");
        assert!(left.iter().all(|map| map["metadata"].get("ownerReferences").is_none()));
    }
}

/// A namespace that is deleted takes nothing new, and goes once everything in it has.
#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_what_is_in_it() {
    let fake = Fake::new();
    let mut map = config_map("m", &json!({}));
    map["metadata"]["finalizers"] = json!(["ottla.dev/a"]);
    fake.create(map);
    fake.delete("namespaces", "", "default");
    fake.settle();
    assert_eq!(fake.get("namespaces", "", "default").unwrap()["status"]["phase"], "Terminating");
    let refusal = fake.try_create(config_map("n", &json!({}))).unwrap_err();
    assert_eq!(refusal.code, 403);
    assert_eq!(refusal.details["causes"][0]["reason"], "NamespaceTerminating");
    fake.edit("configmaps", "default", "m", "/metadata/finalizers", json!([])).unwrap();
    fake.settle();
    assert!(fake.get("namespaces", "", "default").is_none());
    assert_eq!(fake.try_create(config_map("n", &json!({}))).unwrap_err().code, 404);
}
