//! Every rule that the definitions have in CEL, each broken by an object that breaks no other.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use e2e::chart::render::NAMESPACE;
use e2e::kubernetes::Kubernetes;
use e2e::workspace;
use serde_json::{Value, json};

/// The kind and the field that a rule is of, `[]` for each element of a list, and what it says.
type Rule = (&'static str, String, String);

/// An object that breaks a rule: by itself, or as what another object is changed to.
struct Breach {
    kind: &'static str,
    name: String,
    before: Option<Value>,
    spec: Value,
    field: &'static str,
    words: &'static str,
}

/// Each breach is refused with the words of a rule at its field, and no rule is left that nothing breaks.
pub(super) fn are_said_when_broken(cluster: &Kubernetes) -> Result<()> {
    let mut left = rules("Cluster", "clusters")?;
    left.extend(rules("Topic", "topics")?);
    for breach in breaches() {
        let Breach { kind, name, before, spec, field, words } = &breach;
        let object = |spec: &Value| manifest(kind, name, spec);
        if let Some(before) = before {
            cluster.apply(&object(before)).with_context(|| format!("{field}: {words}"))?;
        }
        let dry = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        let said = match cluster.kubectl_within(60, &dry, &object(spec)) {
            Ok(_) => bail!("{field}: this was accepted: {spec}"),
            Err(error) => format!("{error:#}"),
        };
        if before.is_some() {
            cluster.kubectl(&["delete", kind, name, "-n", NAMESPACE])?;
        }
        let is_broken =
            |(of, path, message): &&Rule| of == kind && path == field && message.contains(words);
        let rule = left.iter().find(is_broken);
        let rule = rule.with_context(|| format!("no rule of {field} says {words:?}"))?.clone();
        let at = field.replace("[]", "[0]");
        ensure!(said.contains(&rule.2) && said.contains(&at), "{rule:?}, and not: {said}");
        left.remove(&rule);
    }
    ensure!(left.is_empty(), "nothing breaks these rules: {left:#?}");
    Ok(())
}

/// What the schema refuses is said once: no rule says of it what is not so.
pub(super) fn are_not_said_of_what_the_schema_refuses(cluster: &Kubernetes) -> Result<()> {
    let rules = rules("Cluster", "clusters")?;
    let refused = [
        ("spec.removed: duplicate", with(alone(), json!({ "removed": [0, 0] }))),
        ("spec.brokers", with(alone(), json!({ "brokers": 0 }))),
        ("spec.rebalance.throttle", with(alone(), json!({ "rebalance": { "throttle": "many" } }))),
    ];
    for (field, spec) in refused {
        let dry = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        match cluster.kubectl_within(60, &dry, &manifest("Cluster", "refused", &spec)) {
            Ok(_) => bail!("{field}: this was accepted: {spec}"),
            Err(error) => {
                let said = format!("{error:#}");
                let is_ruled = rules.iter().any(|(_, _, words)| said.contains(words));
                ensure!(said.contains(field) && !is_ruled, "{field}, and no rule: {said}");
            }
        }
    }
    Ok(())
}

/// A field that no definition has is an error, not something that is left out in silence.
pub(super) fn name_unknown_fields(cluster: &Kubernetes) -> Result<()> {
    let unknown = [
        ("Cluster", "colour", json!({ "colour": "red" })),
        ("Cluster", "sizes", json!({ "storage": { "volumes": [{ "name": "data", "sizes": 1 }] } })),
        ("Cluster", "servers", json!({ "zookeeper": { "servers": "a:2181" } })),
        ("Topic", "partition", json!({ "partition": 3 })),
    ];
    for (kind, field, more) in unknown {
        let spec = with(if kind == "Topic" { topic() } else { alone() }, more);
        let dry = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        match cluster.kubectl_within(60, &dry, &manifest(kind, "unknown", &spec)) {
            Ok(_) => bail!("{kind}: {field} was accepted"),
            Err(error) => {
                ensure!(format!("{error:#}").contains(&format!(".{field}")), "{error:#}");
            }
        }
    }
    Ok(())
}

fn manifest(kind: &str, name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "ottla.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": spec,
    })
    .to_string()
}

/// A spec with these fields instead of its own; null takes one away.
fn with(mut spec: Value, more: Value) -> Value {
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
        spec.retain(|_, value| !value.is_null());
    }
    spec
}

/// A `Cluster` of one broker.
fn alone() -> Value {
    json!({ "brokers": 1, "version": "0.1.0" })
}

fn managed(more: Value) -> Value {
    json!({ "brokers": 1, "version": "0.1.0", "zookeeper": { "managed": with(json!({ "replicas": 3 }), more) } })
}

fn topic() -> Value {
    json!({ "cluster": "orders", "replicas": 1, "partitions": 2 })
}

fn breaches() -> Vec<Breach> {
    let mut all = Vec::new();
    let listeners = |listeners: Value| with(alone(), json!({ "listeners": listeners }));
    let pods = |pods: Value| with(alone(), json!({ "podMetadata": pods }));
    let volumes = |volumes: Value| with(alone(), json!({ "storage": { "volumes": volumes } }));
    let servers = |pods: Value| managed(json!({ "podMetadata": pods }));
    let volume = |volume: Value| managed(json!({ "volume": volume }));
    let mut cluster = |field, words, before: Option<Value>, spec: Value| {
        all.push(Breach { kind: "Cluster", name: "broken".into(), before, spec, field, words });
    };
    let config = with(alone(), json!({ "config": { "broker.id": "1" } }));
    cluster("spec.config", "broker.id", None, config);
    let unbound = with(alone(), json!({ "rebalance": { "throttle": "0" } }));
    cluster("spec.rebalance.throttle", "1 byte", None, unbound);
    let own = json!([{ "name": "metrics", "port": 9092 }]);
    cluster("spec.listeners[].name", "own ports", None, listeners(own));
    let own = json!([{ "name": "brokers", "port": 9092 }]);
    cluster("spec.listeners[].name", "of Services", None, listeners(own));
    let own = json!([{ "name": "client", "port": 9091 }]);
    cluster("spec.listeners[].port", "own ports", None, listeners(own));
    let inside = json!([{ "name": "client", "port": 9092, "nodePort": 30000 }]);
    cluster("spec.listeners[]", "NodePort", None, listeners(inside));
    let twice = json!([{ "name": "a", "port": 9092 }, { "name": "b", "port": 9092 }]);
    cluster("spec", "one port", None, listeners(twice));
    let mark = json!({ "ottla.dev/mark": "x" });
    cluster("spec.podMetadata.annotations", "", None, pods(json!({ "annotations": mark })));
    cluster("spec.podMetadata.labels", "", None, pods(json!({ "labels": mark })));
    let field = "spec.zookeeper.managed.podMetadata.annotations";
    cluster(field, "", None, servers(json!({ "annotations": mark })));
    let field = "spec.zookeeper.managed.podMetadata.labels";
    cluster(field, "", None, servers(json!({ "labels": mark })));
    let (small, large) = (json!({ "name": "data" }), json!({ "name": "data", "size": "20Gi" }));
    let classy = json!({ "name": "data", "class": "fast" });
    let of = |one: &Value| Some(volumes(json!([one])));
    let field = "spec.storage.volumes[]";
    cluster(field, "class", of(&small), volumes(json!([classy])));
    cluster(field, "grow", of(&large), volumes(json!([small])));
    let two = volumes(json!([small, { "name": "more" }]));
    cluster("spec.storage", "added", of(&small), two);
    cluster("spec.storage", "renamed", of(&small), volumes(json!([{ "name": "other" }])));
    let field = "spec.zookeeper.managed.volume";
    cluster(field, "class", Some(volume(small.clone())), volume(classy));
    cluster(field, "grow", Some(volume(large)), volume(small));
    let field = "spec.zookeeper.managed";
    let renamed = volume(json!({ "name": "other" }));
    cluster(field, "renamed", Some(managed(json!({}))), renamed);
    let five = managed(json!({ "replicas": 5 }));
    cluster(field, "cannot be changed", Some(managed(json!({}))), five);
    cluster(field, "even", None, managed(json!({ "replicas": 2 })));
    let both = json!({ "zookeeper": { "managed": {}, "connect": "a:2181" } });
    cluster("spec.zookeeper", "either", None, with(alone(), both));
    let other = with(alone(), json!({ "zookeeper": { "connect": "a:2181" } }));
    cluster("spec.zookeeper", "the place", Some(managed(json!({}))), other.clone());
    cluster("spec", "need a zookeeper", None, with(alone(), json!({ "brokers": 3 })));
    cluster("spec", "given or taken", Some(other), alone());
    cluster("spec", "version or image", None, with(alone(), json!({ "version": null })));
    for (name, words) in [("a".repeat(41), "40 characters"), ("1st".to_owned(), "begins with")] {
        let (kind, spec, field) = ("Cluster", alone(), "");
        all.push(Breach { kind, name, before: None, spec, field, words });
    }
    all.extend(breaches_of_topics());
    all
}

fn breaches_of_topics() -> Vec<Breach> {
    let named = |name: &str| with(topic(), json!({ "topicName": name }));
    let assigned = |assignment: Value| with(topic(), json!({ "assignment": assignment }));
    let other = with(topic(), json!({ "cluster": "others" }));
    let fewer = with(topic(), json!({ "partitions": 1 }));
    let unwritable = json!({ "min.insync.replicas": "2" });
    let rows = [
        ("spec.cluster", "cannot be changed", Some(topic()), other),
        ("spec.partitions", "only be added", Some(topic()), fewer),
        ("spec.topicName", "cannot be changed", Some(named("a")), named("b")),
        ("spec.topicName", ". or ..", None, named("..")),
        ("spec.topicName", "begin with __", None, named("__own")),
        ("spec", "given or taken", Some(topic()), named("a")),
        ("spec", "every partition", None, assigned(json!([[0]]))),
        ("spec", "as many brokers", None, assigned(json!([[0, 1], [1, 0]]))),
        ("spec", "at most replicas", None, with(topic(), json!({ "config": unwritable }))),
    ];
    let breach = |(field, words, before, spec)| Breach {
        kind: "Topic",
        name: "broken".into(),
        before,
        spec,
        field,
        words,
    };
    let mut all: Vec<Breach> = rows.into_iter().map(breach).collect();
    let long = breach(("", "too long", None, topic()));
    all.push(Breach { name: "a".repeat(250), ..long });
    all
}

/// The rules of a definition.
fn rules(kind: &'static str, plural: &str) -> Result<BTreeSet<Rule>> {
    let path = workspace::root().join(format!("crds/{plural}.ottla.dev.yaml"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let definition: Value = serde_yaml::from_str(&text).context("read a definition")?;
    let mut found = BTreeSet::new();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    collect((kind, schema), "", &mut found);
    ensure!(!found.is_empty(), "{kind} has no rules");
    Ok(found)
}

fn collect((kind, schema): (&'static str, &Value), path: &str, found: &mut BTreeSet<Rule>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default().to_owned();
        found.insert((kind, path.to_owned(), message));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect((kind, field), &below, found);
    }
    if schema["items"].is_object() {
        collect((kind, &schema["items"]), &format!("{path}[]"), found);
    }
}
