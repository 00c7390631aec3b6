//! A set of field paths, as `metadata.managedFields` keeps one for each manager.
//!
//! Source: structured-merge-diff `fieldpath.Set` and its `FieldsV1` form: `f:` a field, `k:` the keys of an element, `v:`
//! an element of a set, `.` the place itself where something below it is in the set too.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::json::sorted;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Field(String),
    /// The keys of an element, as JSON with its names in order.
    Key(String),
    /// An element of a set, as JSON.
    Element(String),
}

impl Step {
    /// The step to the element of `map` that has these keys.
    pub(crate) fn key(map: Map<String, Value>) -> Self {
        Self::Key(sorted(&Value::Object(map)).to_string())
    }

    fn write(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Element(value) => format!("v:{value}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (tag, rest) = text.split_once(':')?;
        let rest = rest.to_owned();
        match tag {
            "f" => Some(Self::Field(rest)),
            "k" => Some(Self::Key(rest)),
            "v" => Some(Self::Element(rest)),
            _ => None,
        }
    }

    /// The step as messages show it: `.replicas`, `[name="a"]`.
    fn show(&self) -> String {
        match self {
            Self::Field(name) => format!(".{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> =
                    keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", pairs.join(","))
            }
            Self::Element(value) => format!("[={value}]"),
        }
    }
}

/// A tree of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// Whether this place is in the set.
    pub(crate) here: bool,
    pub(crate) below: BTreeMap<Step, Fields>,
}

impl Fields {
    /// Whether nothing is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        !self.here && self.below.values().all(Self::is_empty)
    }

    pub(crate) fn insert(&mut self, path: &[Step]) {
        match path.split_first() {
            None => self.here = true,
            Some((step, rest)) => self.below.entry(step.clone()).or_default().insert(rest),
        }
    }

    fn combine(&self, other: &Self, member: fn(bool, bool) -> bool) -> Self {
        let none = Self::default();
        let mut made = Self { here: member(self.here, other.here), below: BTreeMap::new() };
        for step in self.below.keys().chain(other.below.keys()) {
            if made.below.contains_key(step) {
                continue;
            }
            let (ours, theirs) =
                (self.below.get(step).unwrap_or(&none), other.below.get(step).unwrap_or(&none));
            let both = ours.combine(theirs, member);
            if !both.is_empty() {
                made.below.insert(step.clone(), both);
            }
        }
        made
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b)
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && b)
    }

    /// Returns each path of the set as messages show it.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        if self.here {
            paths.push(prefix.to_owned());
        }
        for (step, below) in &self.below {
            below.collect(&format!("{prefix}{}", step.show()), paths);
        }
    }

    /// Returns the set as `fieldsV1`.
    pub(crate) fn write(&self) -> Value {
        let mut map = Map::new();
        if self.here && !self.below.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, below) in &self.below {
            map.insert(step.write(), below.write());
        }
        Value::Object(map)
    }

    /// Reads a set from `fieldsV1`.
    pub(crate) fn read(value: &Value) -> Self {
        let mut fields = Self::read_below(value);
        // At the root an empty map is the empty set, not the place itself.
        fields.here = false;
        fields
    }

    fn read_below(value: &Value) -> Self {
        let empty = Map::new();
        let map = value.as_object().unwrap_or(&empty);
        let below = map
            .iter()
            .filter_map(|(text, below)| Some((Step::read(text)?, Self::read_below(below))));
        Self { here: map.is_empty() || map.contains_key("."), below: below.collect() }
    }
}
