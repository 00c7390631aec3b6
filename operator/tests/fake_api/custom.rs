//! Custom resources: served as their definitions say, with defaults, pruning, checks and subresources.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::objects::{api, by, code, value};
use super::support::fake::Fake;

fn definition() -> Value {
    let condition = json!({
        "type": "object",
        "required": ["type", "status"],
        "properties": { "type": { "type": "string" }, "status": { "type": "string" } },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "things.example.dev" },
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": { "plural": "things", "singular": "thing", "kind": "Thing" },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.brokers",
                        "statusReplicasPath": ".status.brokers",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "selectableFields": [{ "jsonPath": ".spec.color" }],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object",
                            "properties": {
                                "brokers": { "type": "integer", "minimum": 1, "default": 3 },
                                "color": { "type": "string", "enum": ["red", "blue"] },
                            },
                        },
                        "status": {
                            "type": "object",
                            "properties": {
                                "brokers": { "type": "integer" },
                                "selector": { "type": "string" },
                                "conditions": {
                                    "type": "array",
                                    "x-kubernetes-list-type": "map",
                                    "x-kubernetes-list-map-keys": ["type"],
                                    "items": condition,
                                },
                            },
                        },
                    },
                } },
            }],
        },
    })
}

fn thing(spec: &Value) -> Value {
    json!({
        "apiVersion": "example.dev/v1",
        "kind": "Thing",
        "metadata": { "name": "t", "namespace": "default" },
        "spec": spec,
    })
}

/// What the schema does not know goes, what it gives a default gets it, what it forbids is refused.
#[tokio::test(start_paused = true)]
async fn objects_are_held_against_their_schema() {
    let fake = Fake::new();
    assert_eq!(fake.try_create(thing(&json!({}))).unwrap_err().code, 404);
    fake.create(definition());
    let made = fake.create(thing(&json!({ "color": "red", "taste": "sweet" })));
    assert_eq!(made["spec"], json!({ "color": "red", "brokers": 3 }));
    for (pointer, wrong) in [("/spec/brokers", json!(0)), ("/spec/color", json!("green"))] {
        assert_eq!(fake.edit("things", "default", "t", pointer, wrong).unwrap_err().code, 422);
    }
    let things = api(&fake.connect("a").client(), "example.dev", "v1", "Thing");
    let red = kube::api::ListParams::default().fields("spec.color=red");
    assert_eq!(things.list(&red).await.unwrap().items.len(), 1);
    let crd = fake.get("customresourcedefinitions", "", "things.example.dev").unwrap();
    assert_eq!(crd["status"]["conditions"][1]["type"], "Established");
}

/// Two controllers own a condition each; the status changes no generation, and is checked too.
#[tokio::test(start_paused = true)]
async fn conditions_have_owners_each() {
    let fake = Fake::new();
    fake.create(definition());
    fake.create(thing(&json!({})));
    let things = api(&fake.connect("a").client(), "example.dev", "v1", "Thing");
    let say = |name: &str, status: Option<&str>| {
        let mut object = thing(&json!({}));
        object["status"] = json!({ "conditions": [{ "type": name, "status": status }] });
        object
    };
    for (manager, name) in [("one", "Ready"), ("two", "Rolling")] {
        let object = say(name, Some("True"));
        things.patch_status("t", &by(manager), &Patch::Apply(&object)).await.unwrap();
    }
    let object = value(&things.get("t").await.unwrap());
    assert_eq!(object["status"]["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(object["metadata"]["generation"], 1);
    let wrong = say("Ready", None);
    assert_eq!(code(things.patch_status("t", &by("one"), &Patch::Apply(&wrong)).await), 422);
    let nothing = thing(&json!({}));
    let left = things.patch_status("t", &by("one"), &Patch::Apply(&nothing)).await.unwrap();
    let left = value(&left);
    assert_eq!(left["status"]["conditions"][0]["type"], "Rolling");
}

/// An apply is stricter than other writes: an unknown field is an error of the server, a null where a value must be is
/// invalid.
#[tokio::test(start_paused = true)]
async fn an_apply_must_fit_the_schema() {
    let fake = Fake::new();
    fake.create(definition());
    fake.create(thing(&json!({})));
    let things = api(&fake.connect("a").client(), "example.dev", "v1", "Thing");
    let unknown = thing(&json!({ "taste": "sweet" }));
    assert_eq!(code(things.patch("t", &by("a"), &Patch::Apply(&unknown)).await), 500);
    let mut null = thing(&json!({}));
    null["status"] = json!({ "brokers": null });
    assert_eq!(code(things.patch_status("t", &by("a"), &Patch::Apply(&null)).await), 422);
    let params = PatchParams::default();
    assert!(things.patch("t", &params, &Patch::Merge(&unknown)).await.is_ok(), "it is pruned");
}

/// `scale` reads and writes where the definition says.
#[tokio::test(start_paused = true)]
async fn scale_is_another_view() {
    let fake = Fake::new();
    fake.create(definition());
    fake.create(thing(&json!({})));
    let things = api(&fake.connect("a").client(), "example.dev", "v1", "Thing");
    assert_eq!(things.get_scale("t").await.unwrap().spec.unwrap().replicas, Some(3));
    let five = json!({ "spec": { "replicas": 5 } });
    let scale = things.patch_scale("t", &PatchParams::default(), &Patch::Merge(&five)).await;
    assert_eq!(scale.unwrap().spec.unwrap().replicas, Some(5));
    let after = fake.get("things", "default", "t").unwrap();
    assert_eq!(
        (&after["spec"]["brokers"], &after["metadata"]["generation"]),
        (&json!(5), &json!(2))
    );
    let zero = json!({ "spec": { "replicas": 0 } });
    let refused = things.patch_scale("t", &PatchParams::default(), &Patch::Merge(&zero)).await;
    assert_eq!(code(refused), 422);
}

/// Every definition of the operator can be served.
#[tokio::test(start_paused = true)]
async fn what_the_operator_defines_is_served() {
    let fake = Fake::new();
    for definition in operator::crd::all() {
        fake.create(serde_json::to_value(definition).unwrap());
    }
    let topic = json!({
        "apiVersion": "ottla.dev/v1alpha1",
        "kind": "Topic",
        "metadata": { "name": "orders", "namespace": "default" },
        "spec": { "cluster": "main", "partitions": 3, "replicas": 3 },
    });
    let made = fake.create(topic);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(fake.list("topics", "default").len(), 1);
}
