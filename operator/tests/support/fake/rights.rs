//! What the operator may ask of the API server: the table that the chart makes its roles of, and what was asked.
//!
//! A test has the server hold a client to the table ([`super::Fake::restrict`]), takes a right away ([`Rights::without`])
//! to see that it is missed, or compares what a run needed with all that is given ([`Rights::difference`]). Namespaces and
//! names are not looked at: those the chart's tests check against a real server.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::record::Call;

/// What may be done to objects of one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    /// `statefulsets.apps`, `topics.ottla.dev/status`.
    pub(crate) resource: String,
    /// As RBAC has it.
    pub(crate) verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)
    }
}

/// All that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    given: BTreeSet<Right>,
    /// Those of them that no call shows to be needed; the table says why.
    unseen: BTreeSet<Right>,
}

impl Rights {
    /// Reads the chart's table.
    #[allow(clippy::disallowed_methods, reason = "it reads the file that is the table")]
    pub(crate) fn of_chart() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(root.join("../charts/ottla/files/rights.yaml")).unwrap();
        let rows: Vec<Value> = serde_yaml::from_str(&text).unwrap();
        let mut rights = Self { given: BTreeSet::new(), unseen: BTreeSet::new() };
        for row in &rows {
            let of = |field: &str| row[field].as_str().unwrap().to_owned();
            let resource = full(&of("resource"), &of("group"));
            for verb in row["verbs"].as_array().unwrap() {
                let verb = verb.as_str().unwrap().to_owned();
                let right = Right { resource: resource.clone(), verb };
                if row.get("unseen").is_some() {
                    rights.unseen.insert(right.clone());
                }
                rights.given.insert(right);
            }
        }
        rights
    }

    /// Returns every right, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Right> {
        self.given.iter()
    }

    /// Returns every right that some call must show to be needed.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &Right> {
        self.given.difference(&self.unseen)
    }

    /// Returns the rights but this one.
    pub(crate) fn without(mut self, right: &Right) -> Self {
        self.given.remove(right);
        self
    }

    /// Returns which right is missing for what is asked.
    pub(crate) fn missing(&self, asked: impl IntoIterator<Item = Right>) -> Option<Right> {
        asked.into_iter().find(|right| !self.given.contains(right))
    }

    /// Compares the table with what calls needed: what is asked and not given, what is given and never asked.
    pub(crate) fn difference<'a>(&self, calls: impl IntoIterator<Item = &'a Call>) -> Vec<String> {
        let asked: BTreeSet<Right> = calls.into_iter().flat_map(needed).collect();
        let seen: BTreeSet<Right> = self.seen().cloned().collect();
        let lacks = asked.difference(&self.given).map(|right| format!("lacks {right}"));
        let idle = seen.difference(&asked).map(|right| format!("never asked: {right}"));
        lacks.chain(idle).collect()
    }
}

/// Returns what a call needs; one that the server did not understand needs nothing.
pub(crate) fn needed(call: &Call) -> Vec<Right> {
    if call.verb.is_empty() {
        return Vec::new();
    }
    let is_new = call.code == Some(201);
    asked(call.verb, &call.resource, &call.subresource, is_new)
}

/// Returns what is asked for; an apply that would make an object creates it.
pub(super) fn asked(verb: &str, resource: &str, subresource: &str, is_new: bool) -> Vec<Right> {
    let slash = if subresource.is_empty() { "" } else { "/" };
    let resource = format!("{resource}{slash}{subresource}");
    let right = |verb: &str| Right { resource: resource.clone(), verb: verb.to_owned() };
    let mut all = vec![right(verb)];
    if verb == "patch" && is_new {
        all.push(right("create"));
    }
    all
}

/// Returns `topics.ottla.dev/status` for `topics/status` in the group `ottla.dev`.
fn full(resource: &str, group: &str) -> String {
    let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let dot = if group.is_empty() { "" } else { "." };
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{plural}{dot}{group}{slash}{subresource}")
}
