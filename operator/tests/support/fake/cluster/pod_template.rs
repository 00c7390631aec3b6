//! The pod of one ordinal of a stateful set.
//!
//! Source: `newStatefulSetPod`, `updateIdentity` and `updateStorage` of Kubernetes 1.34.

use serde_json::{Value, json};

use super::super::json::{items, number, put, text};
use super::revision::controller_of;

/// Returns the first ordinal and the count of `set`.
pub(super) fn ordinals(set: &Value) -> std::ops::Range<i64> {
    let start = number(set, "/spec/ordinals/start").unwrap_or(0);
    start..start + number(set, "/spec/replicas").unwrap_or(1)
}

/// Returns the name of the pod of `ordinal`.
pub(super) fn pod_name(set: &Value, ordinal: i64) -> String {
    format!("{}-{ordinal}", text(set, "/metadata/name"))
}

/// Returns the ordinal in a pod's name, where it is one of `set`.
pub(super) fn ordinal_of(set: &Value, pod: &str) -> Option<i64> {
    let (parent, ordinal) = pod.rsplit_once('-')?;
    if parent == text(set, "/metadata/name") { ordinal.parse().ok() } else { None }
}

/// Returns the name of the claim that `ordinal` has of the claim template `template`.
pub(super) fn claim_name(set: &Value, template: &Value, ordinal: i64) -> String {
    format!("{}-{}", text(template, "/metadata/name"), pod_name(set, ordinal))
}

/// Returns the pod of `ordinal` made of `template`, which is that of `revision`.
pub(super) fn pod(set: &Value, template: &Value, revision: &str, ordinal: i64) -> Value {
    let name = pod_name(set, ordinal);
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "spec": template["spec"],
    });
    put(&mut pod, "/metadata/name", name.clone());
    put(&mut pod, "/metadata/generateName", format!("{}-", text(set, "/metadata/name")));
    put(&mut pod, "/metadata/ownerReferences", json!([controller_of(set)]));
    put(&mut pod, "/metadata/labels/controller-revision-hash", revision);
    put(&mut pod, "/metadata/labels/apps.kubernetes.io~1pod-index", ordinal.to_string());
    put(&mut pod, "/metadata/labels/statefulset.kubernetes.io~1pod-name", name.clone());
    put(&mut pod, "/spec/hostname", name);
    if let Some(service) = set["spec"].get("serviceName") {
        put(&mut pod, "/spec/subdomain", service.clone());
    }
    let mut volumes = items(&pod, "/spec/volumes").to_vec();
    for template in items(set, "/spec/volumeClaimTemplates") {
        let claim = claim_name(set, template, ordinal);
        volumes.retain(|volume| volume["name"] != template["metadata"]["name"]);
        volumes.push(json!({
            "name": template["metadata"]["name"],
            "persistentVolumeClaim": { "claimName": claim },
        }));
    }
    if !volumes.is_empty() {
        put(&mut pod, "/spec/volumes", volumes);
    }
    pod
}

/// Returns the claim that `ordinal` has of `template`.
pub(super) fn claim(set: &Value, template: &Value, ordinal: i64) -> Value {
    let mut labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    for (name, value) in super::super::json::pairs(set, "/spec/selector/matchLabels") {
        labels[name] = value.into();
    }
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": claim_name(set, template, ordinal), "labels": labels },
        "spec": template["spec"],
    });
    if let Some(annotations) = template.pointer("/metadata/annotations") {
        put(&mut claim, "/metadata/annotations", annotations.clone());
    }
    claim
}
