//! Who owns which field: `metadata.managedFields`, kept as an update or an apply changes it.
//!
//! Source: structured-merge-diff `merge.Updater`; apimachinery `managedfields`.

use serde_json::{Value, json};

use super::fields::{Fields, Step};
use super::json::{items, put, take, text};
use super::kind::Kind;
use super::merge::{Difference, compare, fields_of, merge, prune};
use super::refusal::Refusal;
use super::shape::Shape;

/// Fields that nobody owns, for the server writes them.
const OF_THE_SERVER: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "managedFields",
    "generateName",
    "selfLink",
];

/// What one manager owns by one way of writing.
#[derive(Clone, Debug, PartialEq)]
struct Owner {
    manager: String,
    /// `Apply` or `Update`.
    operation: String,
    subresource: String,
    time: Value,
    fields: Fields,
}

impl Owner {
    /// Returns who it is as a conflict names it.
    fn name(&self, kind: &Kind) -> String {
        let through = match self.subresource.as_str() {
            "" => String::new(),
            subresource => format!(" with subresource \"{subresource}\""),
        };
        let using = match self.operation.as_str() {
            "Update" => format!(" using {}", kind.api_version()),
            _ => String::new(),
        };
        format!("\"{}\"{through}{using}", self.manager)
    }
}

/// A writer: the manager's name, and the subresource it writes through (empty for none).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    /// The time of the server.
    pub(crate) now: &'a str,
}

impl Writer<'_> {
    fn owner(&self, operation: &str, fields: Fields) -> Owner {
        Owner {
            manager: self.manager.to_owned(),
            operation: operation.to_owned(),
            subresource: self.subresource.to_owned(),
            time: self.now.into(),
            fields,
        }
    }

    fn is(&self, operation: &str, owner: &Owner) -> bool {
        owner.manager == self.manager
            && owner.operation == operation
            && owner.subresource == self.subresource
    }
}

fn read(object: &Value) -> Vec<Owner> {
    let owner = |entry: &Value| Owner {
        manager: text(entry, "/manager").to_owned(),
        operation: text(entry, "/operation").to_owned(),
        subresource: text(entry, "/subresource").to_owned(),
        time: entry["time"].clone(),
        fields: Fields::read(&entry["fieldsV1"]),
    };
    items(object, "/metadata/managedFields").iter().map(owner).collect()
}

fn write(object: &mut Value, kind: &Kind, mut owners: Vec<Owner>) {
    owners.retain(|owner| !owner.fields.is_empty());
    owners.sort_by(|a, b| {
        let order = |owner: &Owner| {
            (owner.operation.clone(), owner.manager.clone(), owner.subresource.clone())
        };
        order(a).cmp(&order(b))
    });
    let entry = |owner: Owner| {
        let mut entry = json!({
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": kind.api_version(),
            "time": owner.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": owner.fields.write(),
        });
        if !owner.subresource.is_empty() {
            entry["subresource"] = owner.subresource.into();
        }
        entry
    };
    let entries: Vec<Value> = owners.into_iter().map(entry).collect();
    if entries.is_empty() {
        take(object, "/metadata/managedFields");
    } else {
        put(object, "/metadata/managedFields", entries);
    }
}

/// Returns `object` without what nobody owns.
fn owned_part(object: &Value) -> Value {
    let mut part = object.clone();
    take(&mut part, "/apiVersion");
    take(&mut part, "/kind");
    for name in OF_THE_SERVER {
        take(&mut part, &format!("/metadata/{name}"));
    }
    if part["metadata"].as_object().is_none_or(serde_json::Map::is_empty) {
        take(&mut part, "/metadata");
    }
    part
}

fn field(name: &str) -> Step {
    Step::Field(name.to_owned())
}

/// Returns what a set has besides the places that are in every object.
fn without_roots(kind: &Kind, mut fields: Fields) -> Fields {
    fields.here = false;
    let is_typed = kind.schema.is_none();
    for (name, is_everywhere) in [("metadata", true), ("spec", is_typed), ("status", is_typed)] {
        let found = fields.below.get_mut(&field(name)).filter(|found| !found.below.is_empty());
        if let Some(found) = found.filter(|_| is_everywhere) {
            found.here = false;
        }
    }
    fields
}

fn changes(kind: &Kind, before: &Value, after: &Value) -> Difference {
    let shape = Shape::root(kind);
    let mut difference = compare(&owned_part(before), &owned_part(after), &shape);
    difference.added = without_roots(kind, difference.added);
    difference.removed = without_roots(kind, difference.removed);
    difference
}

/// Puts into `after` who owns what once `writer` has changed `before` into it by create, update or patch.
pub(crate) fn update(kind: &Kind, before: &Value, after: &mut Value, writer: Writer<'_>) {
    let difference = changes(kind, before, after);
    let mut owners = read(before);
    let won = difference.added.union(&difference.modified);
    let lost = won.union(&difference.removed);
    if lost.is_empty() {
        write(after, kind, owners);
        return;
    }
    if !owners.iter().any(|owner| writer.is("Update", owner)) {
        owners.push(writer.owner("Update", Fields::default()));
    }
    for owner in &mut owners {
        let mine = writer.is("Update", owner);
        let kept = owner.fields.difference(if mine { &difference.removed } else { &lost });
        let fields = if mine { kept.union(&won) } else { kept };
        if mine && fields != owner.fields {
            owner.time = writer.now.into();
        }
        owner.fields = fields;
    }
    write(after, kind, owners);
}

/// Returns `live` after `config` was applied to it, with who owns what.
///
/// # Errors
/// Without `force`, where another manager owns a field that would change.
pub(crate) fn apply(
    kind: &Kind,
    live: &Value,
    config: &Value,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, Refusal> {
    let shape = Shape::root(kind);
    let mut owners = read(live);
    let config_part = owned_part(config);
    let applied = without_roots(kind, fields_of(&config_part, &shape));
    let mut after = merge(live, &config_part, &shape);
    let mine = owners.iter().position(|owner| writer.is("Apply", owner));
    let gone = mine.map(|at| owners[at].fields.clone()).unwrap_or_default();
    match mine {
        Some(at) if owners[at].fields != applied => {
            owners[at] = writer.owner("Apply", applied.clone());
        }
        Some(_) => {}
        None => owners.push(writer.owner("Apply", applied.clone())),
    }
    let mut owned = owners.iter().fold(Fields::default(), |all, owner| all.union(&owner.fields));
    // Every object keeps its name.
    owned.insert(&[field("metadata"), field("name")]);
    prune(&mut after, &gone, &owned, &shape);

    let difference = changes(kind, live, &after);
    let won = difference.added.union(&difference.modified);
    let mut conflicts = Vec::new();
    for owner in owners.iter_mut().filter(|owner| !writer.is("Apply", owner)) {
        let taken = owner.fields.intersection(&won);
        let paths = taken.paths().into_iter();
        let who = owner.name(kind);
        conflicts.extend(paths.map(|path| (who.clone(), path)));
        owner.fields = owner.fields.difference(&taken).difference(&difference.removed);
    }
    if !force && !conflicts.is_empty() {
        return Err(Refusal::field_conflicts(&conflicts));
    }
    write(&mut after, kind, owners);
    Ok(after)
}
