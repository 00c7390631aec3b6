//! The whole state without what differs from run to run, so that the ends of two runs can be compared.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{sorted, take, text};
use super::store::Store;
use super::world::Companion;

/// Fields that hold a time, or count what was written.
const VOLATILE: [&str; 15] = [
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
    "lastProbeTime",
    "startTime",
    "startedAt",
    "finishedAt",
    "time",
    "acquireTime",
    "renewTime",
    "eventTime",
    "firstTimestamp",
    "lastTimestamp",
];

/// Every object, by `resource namespace/name`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    objects: BTreeMap<String, Value>,
}

impl Snapshot {
    /// Takes what `store` has, but for `ignored` resources (`leases.coordination.k8s.io`), and what `companions` say.
    pub(super) fn of(store: &Store, companions: &[Box<dyn Companion>], ignored: &[&str]) -> Self {
        // A uid stands in names and references: what it names stands there instead.
        let uids = store.all().filter(|(key, _)| key.resource != "persistentvolumes").map(
            |(key, object)| {
                let identity = format!("<{} {}/{}>", key.resource, key.namespace, key.name);
                (text(object, "/metadata/uid").to_owned(), identity)
            },
        );
        let others = companions.iter().flat_map(|companion| companion.names());
        let uids: Vec<(String, String)> = uids.chain(others).collect();
        let named = |mut text: String| {
            for (uid, identity) in &uids {
                if text.contains(uid.as_str()) {
                    text = text.replace(uid, identity);
                }
            }
            text
        };
        let mut objects = BTreeMap::new();
        for (key, object) in store.all() {
            if ignored.contains(&key.resource.as_str()) {
                continue;
            }
            let mut object = sorted(object);
            take(&mut object, "/metadata/uid");
            strip(&mut object, VOLATILE.as_slice());
            if key.resource == "poddisruptionbudgets.policy" {
                // It follows who is well, as often as somebody looks.
                strip(&mut object, &["generation", "observedGeneration"]);
            }
            let object = serde_json::from_str(&named(object.to_string())).unwrap();
            let name = named(format!("{} {}/{}", key.resource, key.namespace, key.name));
            objects.insert(name, object);
        }
        for (name, said) in companions.iter().map(|companion| companion.snapshot()) {
            let said = serde_json::from_str(&named(sorted(&said).to_string())).unwrap();
            objects.insert(name, said);
        }
        Self { objects }
    }

    /// Returns each place where `other` differs, as a line.
    pub(crate) fn difference(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, object) in &self.objects {
            match other.objects.get(name) {
                Some(second) => compare(name, "", object, second, &mut lines),
                None => lines.push(format!("{name}: only in the first")),
            }
        }
        let new = other.objects.keys().filter(|name| !self.objects.contains_key(*name));
        lines.extend(new.map(|name| format!("{name}: only in the second")));
        lines
    }

    /// Returns the canonical JSON of everything.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(&self.objects).unwrap()
    }
}

fn strip(value: &mut Value, names: &[&str]) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|name, below| !names.contains(&name.as_str()) || below.is_object());
        map.values_mut().for_each(|below| strip(below, names));
    } else if let Some(list) = value.as_array_mut() {
        for below in list.iter_mut() {
            strip(below, names);
        }
    }
}

fn compare(name: &str, path: &str, first: &Value, second: &Value, lines: &mut Vec<String>) {
    if first == second {
        return;
    }
    if let (Some(first), Some(second)) = (first.as_object(), second.as_object()) {
        let mut fields: Vec<&String> = first.keys().chain(second.keys()).collect();
        fields.sort_unstable();
        fields.dedup();
        for field in fields {
            let path = format!("{path}.{field}");
            let of = |map: &serde_json::Map<String, Value>| {
                map.get(field).cloned().unwrap_or(Value::Null)
            };
            compare(name, &path, &of(first), &of(second), lines);
        }
    } else if let (Some(ours), Some(theirs)) = (first.as_array(), second.as_array())
        && ours.len() == theirs.len()
    {
        for (index, (first, second)) in ours.iter().zip(theirs).enumerate() {
            compare(name, &format!("{path}[{index}]"), first, second, lines);
        }
    } else if first != second {
        lines.push(format!("{name}: {path}: {first} | {second}"));
    }
}
