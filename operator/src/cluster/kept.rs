//! The pod of a broker stays as it was rendered for as long as what it was rendered of stays the same: another release of
//! the operator may render it otherwise, and restarts nobody by that. Pure.
//!
//! What was rendered is kept at the StatefulSet, beside a digest of what it was rendered of. The digest is of the spec's
//! own words, in an order that no release changes, and leaves out what is empty: a field that is added later, and that a
//! spec does not have, changes none.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::build::revision;
use super::build::stateful_set::with_revision;
use super::validate::Valid;
use crate::crd::cluster::zookeeper::ManagedZooKeeper;
use crate::digest;
use crate::names::REVISION_ANNOTATION;

/// The annotation of a StatefulSet that has what was rendered.
pub const ANNOTATION: &str = "ottla.dev/kept";

/// What was rendered, and of what.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The digest of what it was rendered of.
    inputs: String,
    /// The pod.
    template: PodTemplateSpec,
    /// What it is called, but for what brokers speak; empty where it is not told apart.
    revision: String,
}

/// Has `wanted`, which was rendered of `inputs` now, keep the pod of `live` if that was rendered of the same.
///
/// # Errors
/// Where the pod cannot be written as JSON.
pub fn keep(
    wanted: &mut StatefulSet,
    live: Option<&StatefulSet>,
    inputs: &Value,
    protocol_version: Option<&str>,
) -> Result<(), serde_json::Error> {
    let inputs = fingerprint(inputs);
    let Some(spec) = &mut wanted.spec else { return Ok(()) };
    let before = live.and_then(read).filter(|kept| kept.inputs == inputs);
    let kept = before.unwrap_or_else(|| rendered(&spec.template, inputs));
    spec.template = kept.template.clone();
    if !kept.revision.is_empty() {
        let revision = revision::speaking(&kept.revision, protocol_version);
        spec.template = with_revision(kept.template.clone(), revision);
    }
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION.to_owned(), serde_json::to_string(&kept)?);
    Ok(())
}

/// Has `wanted` keep the pod of `live`, whatever that was rendered of.
pub fn hold(wanted: &mut StatefulSet, live: &StatefulSet) {
    let (Some(spec), Some(before)) = (&mut wanted.spec, &live.spec) else { return };
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    let text = live.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
    // As it was written: the server has filled in the other one.
    if let (Some(kept), Some(text)) = (read(live), text) {
        let told = called(&before.template);
        let revision = revision::speaking(&kept.revision, revision::parts(&told).1);
        spec.template = with_revision(kept.template, revision);
        annotations.insert(ANNOTATION.to_owned(), text.clone());
    } else {
        spec.template = before.template.clone();
        annotations.remove(ANNOTATION);
    }
}

fn rendered(template: &PodTemplateSpec, inputs: String) -> Kept {
    let revision = revision::parts(&called(template)).0.to_owned();
    let mut template = template.clone();
    if !revision.is_empty() {
        template = with_revision(template, revision.clone());
    }
    Kept { inputs, template, revision }
}

fn read(set: &StatefulSet) -> Option<Kept> {
    let text = set.metadata.annotations.as_ref()?.get(ANNOTATION)?;
    serde_json::from_str(text).ok()
}

/// What a pod is called.
pub fn called(template: &PodTemplateSpec) -> String {
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    let revision = annotations.and_then(|all| all.get(REVISION_ANNOTATION));
    revision.cloned().unwrap_or_default()
}

/// All that the pod of a broker is rendered of.
pub fn inputs_of_broker(valid: &Valid, broker: i32) -> Value {
    let spec = &valid.spec;
    let volumes: Vec<&str> = spec.storage.volumes.iter().map(|one| one.name.as_str()).collect();
    let listeners: Vec<Value> = valid
        .listeners
        .iter()
        .map(|one| json!({ "name": one.name, "port": one.port, "type": one.r#type }))
        .collect();
    json!({
        "image": valid.image.name,
        "file": valid.dynamic.file,
        "own": valid.broker_files.get(&broker),
        "zookeeper": spec.zookeeper.as_ref().map(|one| &one.connect),
        "managed": spec.zookeeper.as_ref().and_then(|one| Some(one.managed.as_ref()?.replicas)),
        "volumes": volumes,
        "listeners": listeners,
        "rack": spec.rack,
        "resources": spec.resources,
        "scheduling": spec.scheduling,
        "podMetadata": spec.pod_metadata,
        "token": spec.restarts.token,
    })
}

/// All that the pods of an ensemble are rendered of.
pub fn inputs_of_ensemble(managed: &ManagedZooKeeper) -> Value {
    json!({
        "replicas": managed.replicas,
        "image": managed.image,
        "volume": managed.volume.name,
        "resources": managed.resources,
        "scheduling": managed.scheduling,
        "podMetadata": managed.pod_metadata,
    })
}

fn fingerprint(inputs: &Value) -> String {
    digest::of(canonical(inputs).unwrap_or_default().to_string().bytes())
}

/// The value with its keys in order, and without what is empty; `None` where nothing is left.
fn canonical(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let field = |name: &String| Some((name.clone(), canonical(&fields[name])?));
            let fields: Map<String, Value> = names.into_iter().filter_map(field).collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        Value::Array(items) if items.is_empty() => None,
        // The place of an item says something, too.
        Value::Array(items) => {
            let items = items.iter().map(|item| canonical(item).unwrap_or_default());
            Some(Value::Array(items.collect()))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::build::stateful_set::stateful_set;
    use crate::cluster::build::tests::valid;

    fn set(valid: &Valid, live: Option<&StatefulSet>) -> StatefulSet {
        let mut set = stateful_set(valid, 1).unwrap().unwrap();
        let inputs = inputs_of_broker(valid, 1);
        keep(&mut set, live, &inputs, valid.protocol_version.as_deref()).unwrap();
        set
    }

    fn template(set: &StatefulSet) -> &PodTemplateSpec {
        &set.spec.as_ref().unwrap().template
    }

    /// What another release rendered stays until the spec says something else.
    #[test]
    fn what_was_rendered_stays_until_the_spec_says_something_else() {
        let mut before = set(&valid(&json!({})), None);
        let rendered = template(&before).clone();
        // Another release: another grace period, and so another name.
        let text = before.metadata.annotations.as_mut().unwrap().get_mut(ANNOTATION).unwrap();
        let mut other: Kept = serde_json::from_str(text).unwrap();
        other.template.spec.as_mut().unwrap().termination_grace_period_seconds = Some(7);
        other.revision = "of-another-release".to_owned();
        *text = serde_json::to_string(&other).unwrap();

        let same = set(&valid(&json!({ "brokers": 5, "paused": true })), Some(&before));
        assert_eq!(called(template(&same)), "of-another-release");
        let grace = template(&same).spec.as_ref().unwrap().termination_grace_period_seconds;
        assert_eq!(grace, Some(7));
        // It is kept further, too.
        assert_eq!(set(&valid(&json!({})), Some(&same)), same);
        let changed = valid(&json!({ "restarts": { "token": "again" } }));
        let changed = set(&changed, Some(&same));
        assert_ne!(called(template(&changed)), called(template(&same)));
        let back = set(&valid(&json!({})), Some(&changed));
        assert_eq!(template(&back), &rendered);
    }

    /// What brokers speak is told to pods that are kept, too.
    #[test]
    fn what_is_kept_is_called_by_what_brokers_speak() {
        let before = set(&valid(&json!({})), None);
        let after = set(&valid(&json!({ "protocolVersion": "3.8" })), Some(&before));
        assert_eq!(called(template(&after)), format!("{}/3.8", called(template(&before))));
    }

    /// No release of the operator may change this: all brokers would be restarted by an upgrade.
    #[test]
    fn the_digest_of_a_spec_is_that_of_every_release() {
        let given = json!({
            "config": { "num.partitions": "3" }, "rack": { "nodeLabel": "zone" },
            "podMetadata": { "labels": { "b": "1", "a": "2" } },
            "resources": { "requests": { "memory": "1Gi", "cpu": "1" } },
        });
        assert_eq!(fingerprint(&inputs_of_broker(&valid(&given), 1)), "4f636d8b5d271abf");
        let managed = serde_json::from_value(json!({})).unwrap();
        assert_eq!(fingerprint(&inputs_of_ensemble(&managed)), "834b5718411cc285");
    }

    #[test]
    fn what_is_empty_and_the_order_of_keys_change_no_digest() {
        let one = json!({ "a": 1, "b": [{ "d": 1, "c": 2 }], "e": {}, "f": null, "g": [] });
        let other = json!({ "b": [{ "c": 2, "d": 1, "x": null }], "a": 1 });
        assert_eq!(fingerprint(&one), fingerprint(&other));
        assert_ne!(fingerprint(&one), fingerprint(&json!({ "a": 1, "b": [{ "d": 1 }] })));
    }
}
