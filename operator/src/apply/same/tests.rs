//! Objects with `managedFields` as an API server writes them, and made-up ones with one thing changed.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const OURS: &str = "ottla-operator/cluster";

fn live(fields: &Value, object: &Value) -> Value {
    let mut live = object.clone();
    live["metadata"]["managedFields"] = json!([
        { "manager": "kubectl", "operation": "Apply", "fieldsV1": { "f:data": { "f:other": {} } } },
        { "manager": OURS, "operation": "Update", "fieldsV1": { "f:data": { "f:other": {} } } },
        { "manager": OURS, "operation": "Apply", "subresource": "status", "fieldsV1": {} },
        { "manager": OURS, "operation": "Apply", "fieldsV1": fields },
    ]);
    live
}

fn service() -> (Value, Value, Value) {
    let wanted = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "kafka", "namespace": "default", "labels": { "app": "kafka" } },
        "spec": {
            "clusterIP": "None",
            "selector": { "app": "kafka" },
            "ports": [{ "name": "kafka", "port": 9092 }, { "name": "http", "port": 9404 }],
        },
    });
    let fields = json!({
        "f:metadata": { "f:labels": { "f:app": {} } },
        "f:spec": {
            "f:clusterIP": {},
            "f:selector": {},
            "f:ports": {
                "k:{\"port\":9092,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {}, "f:port": {} },
                "k:{\"port\":9404,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {}, "f:port": {} },
            },
        },
    });
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kafka", "namespace": "default", "uid": "1", "resourceVersion": "7",
            "labels": { "app": "kafka", "by-another": "x" },
        },
        "spec": {
            "clusterIP": "None", "clusterIPs": ["None"], "type": "ClusterIP",
            "selector": { "app": "kafka" },
            "ports": [
                { "name": "http", "port": 9404, "protocol": "TCP", "targetPort": 9404 },
                { "name": "kafka", "port": 9092, "protocol": "TCP", "targetPort": 9092 },
            ],
        },
        "status": { "loadBalancer": {} },
    });
    (wanted, fields, object)
}

/// Defaults, labels of others, another order and the status are nobody's business here.
#[test]
fn an_object_with_defaults_is_as_wanted() {
    let (wanted, fields, object) = service();
    assert!(is_applied(&live(&fields, &object), &wanted, OURS, ""));
    assert!(!is_applied(&live(&fields, &object), &wanted, "another", ""));
    assert!(!is_applied(&live(&fields, &object), &wanted, OURS, "status"));
    assert!(!is_applied(&object, &wanted, OURS, ""));
}

/// A row is (what differs, how).
#[test]
fn each_difference_is_seen() {
    type Change = fn(&mut Value, &mut Value, &mut Value);
    let cases: [(&str, Change); 9] = [
        ("another value", |_, _, object| object["spec"]["clusterIP"] = json!("10.0.0.1")),
        ("another label", |_, _, object| object["metadata"]["labels"]["app"] = json!("x")),
        ("an item is gone", |_, _, object| {
            object["spec"]["ports"].as_array_mut().unwrap().truncate(1);
        }),
        ("a value in an item", |_, _, object| object["spec"]["ports"][0]["name"] = json!("x")),
        ("wanted anew", |wanted, _, _| wanted["spec"]["type"] = json!("ClusterIP")),
        ("an item wanted anew", |wanted, _, _| {
            wanted["spec"]["ports"].as_array_mut().unwrap().push(json!({ "port": 1 }));
        }),
        ("not wanted any more", |wanted, _, _| wanted["metadata"]["labels"] = json!({})),
        ("an item is not wanted any more", |wanted, _, _| {
            wanted["spec"]["ports"].as_array_mut().unwrap().truncate(1);
        }),
        ("taken over by another", |_, fields, _| {
            fields["f:spec"].as_object_mut().unwrap().remove("f:selector");
        }),
    ];
    for (name, change) in cases {
        let (mut wanted, mut fields, mut object) = service();
        change(&mut wanted, &mut fields, &mut object);
        assert!(!is_applied(&live(&fields, &object), &wanted, OURS, ""), "{name}");
    }
}

/// The server writes quantities its own way; elsewhere `1k` is not `1000`.
#[test]
fn quantities_are_compared_by_their_size() {
    let wanted =
        json!({ "spec": { "resources": { "limits": { "memory": "1024Mi" } }, "x": "1k" } });
    let fields = json!({ "f:spec": {
        "f:resources": { "f:limits": { "f:memory": {} } }, "f:x": {} } });
    let there = |memory: &str, x: &str| {
        live(
            &fields,
            &json!({ "spec": { "resources": { "limits": { "memory": memory } }, "x": x } }),
        )
    };
    assert!(is_applied(&there("1Gi", "1k"), &wanted, OURS, ""));
    assert!(!is_applied(&there("1G", "1k"), &wanted, OURS, ""));
    assert!(!is_applied(&there("1Gi", "1000"), &wanted, OURS, ""));
}

/// Lists and maps that are owned as a whole may have defaults inside, but no other items.
#[test]
fn what_is_owned_as_a_whole_is_compared_as_a_whole() {
    let wanted = json!({ "spec": { "args": ["a", "b"], "from": { "path": "x" }, "empty": {} } });
    let fields = json!({ "f:spec": { "f:args": {}, "f:from": {}, "f:empty": {} } });
    let there = |args: Value, from: Value, empty: Value| {
        live(&fields, &json!({ "spec": { "args": args, "from": from, "empty": empty } }))
    };
    let from = || json!({ "path": "x", "apiVersion": "v1" });
    let args = || json!(["a", "b"]);
    assert!(is_applied(&there(args(), from(), json!({})), &wanted, OURS, ""));
    assert!(!is_applied(&there(json!(["b", "a"]), from(), json!({})), &wanted, OURS, ""));
    assert!(!is_applied(&there(json!(["a"]), from(), json!({})), &wanted, OURS, ""));
    assert!(!is_applied(&there(args(), json!({}), json!({})), &wanted, OURS, ""));
    assert!(!is_applied(&there(args(), from(), json!({ "x": 1 })), &wanted, OURS, ""));
}

/// The last finalizer of ours is taken away by wanting none; those of others are not ours to want.
#[test]
fn a_finalizer_that_is_not_wanted_any_more_is_seen() {
    let object = json!({ "metadata": { "finalizers": ["ottla.dev/topic", "other"] } });
    let fields =
        json!({ "f:metadata": { "f:finalizers": { ".": {}, "v:\"ottla.dev/topic\"": {} } } });
    let with = json!({ "metadata": { "name": "x", "finalizers": ["ottla.dev/topic"] } });
    let without = json!({ "metadata": { "name": "x", "finalizers": [] } });
    assert!(is_applied(&live(&fields, &object), &with, OURS, ""));
    assert!(!is_applied(&live(&fields, &object), &without, OURS, ""));
    let others = json!({ "metadata": { "finalizers": ["other"] } });
    assert!(is_applied(&live(&json!({}), &others), &without, OURS, ""));
}

/// Objects of objects, lists and scalars, without empty containers.
fn document() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<u16>().prop_map(Value::from),
        "[a-z]{1,4}".prop_map(Value::from),
    ];
    let node = scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::btree_map("[a-e]", inner.clone(), 1..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            proptest::collection::vec(inner, 1..3).prop_map(Value::Array),
        ]
    });
    proptest::collection::btree_map("[a-e]", node, 1..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// What an apply of `wanted` would own: lists as a whole.
fn fields_of(wanted: &Value) -> Value {
    match wanted {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (format!("f:{name}"), fields_of(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            json!({})
        }
    }
}

/// Every path to a scalar outside of lists.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, &format!("{path}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            found.push(path.to_owned());
        }
    }
}

fn remove(value: &mut Value, path: &str, prefix: &str) {
    let mut names: Vec<String> =
        path.split('/').skip(1).map(|name| format!("{prefix}{name}")).collect();
    let last = names.pop().unwrap();
    let parent = names.iter().fold(value, |value, name| &mut value[name]);
    let parent = parent.as_object_mut().unwrap();
    parent.remove(&last);
    if prefix == "f:" && parent.is_empty() {
        // Without it the field would be owned as a whole.
        parent.insert(".".to_owned(), json!({}));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What was applied is as wanted; with any one field changed, dropped or taken over it is not.
    #[test]
    fn any_one_difference_is_seen(wanted in document(), pick in any::<prop::sample::Index>()) {
        let fields = fields_of(&wanted);
        let mut object = wanted.clone();
        object["status"] = json!({ "by": "others" });
        prop_assert!(is_applied(&live(&fields, &object), &wanted, OURS, ""));

        let mut paths = Vec::new();
        leaves(&wanted, "", &mut paths);
        let path = pick.get(&paths);
        let mut changed = object.clone();
        *changed.pointer_mut(path).unwrap() = json!("changed to something else");
        prop_assert!(!is_applied(&live(&fields, &changed), &wanted, OURS, ""));

        let mut gone = object.clone();
        remove(&mut gone, path, "");
        prop_assert!(!is_applied(&live(&fields, &gone), &wanted, OURS, ""));

        let mut less = wanted.clone();
        remove(&mut less, path, "");
        prop_assert!(!is_applied(&live(&fields, &object), &less, OURS, ""));

        let mut taken = fields.clone();
        remove(&mut taken, path, "f:");
        prop_assert!(!is_applied(&live(&taken, &object), &wanted, OURS, ""));
    }
}
