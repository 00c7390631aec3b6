//! Objects that the tests put into the server.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Returns a stateful set of `replicas` pods with a claim each.
pub(crate) fn stateful_set(replicas: u32, strategy: &str, management: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": "broker", "namespace": "default" },
        "spec": {
            "replicas": replicas,
            "serviceName": "brokers",
            "podManagementPolicy": management,
            "updateStrategy": { "type": strategy },
            "selector": { "matchLabels": { "app": "broker" } },
            "template": {
                "metadata": { "labels": { "app": "broker" } },
                "spec": { "containers": [container("1")] },
            },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "standard",
                    "resources": { "requests": { "storage": "1Gi" } },
                },
            }],
        },
    })
}

/// Returns the broker's container, with the tag of its image.
pub(crate) fn container(tag: &str) -> Value {
    json!({
        "name": "broker",
        "image": format!("localhost/broker:{tag}"),
        "ports": [{ "name": "kafka", "containerPort": 9092 }],
        "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
    })
}

/// Returns a budget that lets `most` brokers be away.
pub(crate) fn budget(most: u32) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": { "name": "brokers", "namespace": "default" },
        "spec": {
            "maxUnavailable": most,
            "selector": { "matchLabels": { "app": "broker" } },
        },
    })
}

/// Returns a config map with this data.
pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": data,
    })
}

/// Returns the API of a kind in `default`, of objects as JSON.
pub(crate) fn api(client: &Client, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), "default", &resource)
}

/// Returns what an apply by `manager` says besides the object.
pub(crate) fn by(manager: &str) -> PatchParams {
    PatchParams::apply(manager)
}

/// Returns an object of a reply as JSON.
pub(crate) fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}

/// Returns the code of an answer that is an error.
pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, kube::Error>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("no answer of the server: {other:?}"),
    }
}
