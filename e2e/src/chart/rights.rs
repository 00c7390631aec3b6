//! The table of rights, and the same as roles say it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{items, read, word};

/// What may be done with one verb.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// The verb.
    pub verb: String,
    /// The only object that it is about, if there is one.
    pub name: Option<String>,
}

/// Where a right of the table is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the namespaces that are looked after.
    Objects,
    /// In that of the release.
    Release,
    /// Of what has no namespace.
    Cluster,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Release => "release",
            Self::Cluster => "cluster",
        }
    }
}

/// The rights of the table at `place`; `lease` is the name of the Lease.
pub fn table(place: Place, lease: &str) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for row in items(&read("files/rights.yaml")?) {
        for field in ["where", "group", "resource", "why"] {
            ensure!(row[field].is_string(), "a row of files/rights.yaml has no {field}: {row}");
        }
        if row["where"] != place.name() {
            continue;
        }
        let name = row["named"].as_str().map(|_| lease.to_owned());
        for verb in items(&row["verbs"]) {
            rights.insert(Right {
                group: word(&row["group"]).to_owned(),
                resource: word(&row["resource"]).to_owned(),
                verb: word(verb).to_owned(),
                name: name.clone(),
            });
        }
    }
    Ok(rights)
}

/// The rights that `rules` give: of a role, or of an answer of the API server.
pub fn given(rules: &Value) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for rule in items(rules) {
        let words = |field: &str| items(&rule[field]).map(|one| word(one).to_owned());
        let names: Vec<Option<String>> = words("resourceNames").map(Some).collect();
        let names = if names.is_empty() { vec![None] } else { names };
        ensure!(words("verbs").next().is_some(), "a rule without verbs: {rule}");
        for group in words("apiGroups") {
            for resource in words("resources") {
                for verb in words("verbs") {
                    let right = |name: &Option<String>| Right {
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        name: name.clone(),
                    };
                    rights.extend(names.iter().map(right));
                }
            }
        }
    }
    Ok(rights)
}

/// Fails where a right is about everything of a kind, or about secrets.
pub fn modest(right: &Right) -> Result<()> {
    let words = [&right.group, &right.resource, &right.verb];
    ensure!(words.iter().all(|word| !word.contains('*')), "a wildcard: {right:?}");
    ensure!(!right.resource.starts_with("secrets"), "secrets: {right:?}");
    ensure!(right.group != "rbac.authorization.k8s.io", "roles: {right:?}");
    let escalating = ["impersonate", "bind", "escalate", "deletecollection"];
    ensure!(!escalating.contains(&right.verb.as_str()), "{right:?}");
    Ok(())
}
