//! Typed values: which fields one has, what differs between two, two merged, and fields taken away.
//!
//! Source: structured-merge-diff `typed`: `ToFieldSet`, `Compare`, `Merge`, `RemoveItems`.

use serde_json::{Map, Value};

use super::fields::{Fields, Step};
use super::shape::{List, Shape};

/// What differs between two objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    pub(crate) added: Fields,
    pub(crate) modified: Fields,
    pub(crate) removed: Fields,
}

/// What is below a value, or that it is one value.
enum Parts<'v, 's> {
    Leaf,
    Below(Vec<(Step, &'v Value, Shape<'s>)>),
}

fn parts<'v, 's>(value: &'v Value, shape: &Shape<'s>) -> Parts<'v, 's> {
    if let Some(map) = value.as_object() {
        if map.is_empty() || shape.is_atomic_map() {
            return Parts::Leaf;
        }
        let field = |(name, below): (&String, &'v Value)| {
            (Step::Field(name.clone()), below, shape.field(name))
        };
        return Parts::Below(map.iter().map(field).collect());
    }
    let (Some(list), how) = (value.as_array(), shape.list()) else { return Parts::Leaf };
    if how == List::Atomic || list.is_empty() {
        return Parts::Leaf;
    }
    let element = |value: &'v Value| (how.step(value).unwrap(), value, shape.element());
    Parts::Below(list.iter().map(element).collect())
}

/// Returns the fields that a manager owns who applies `value`.
pub(crate) fn fields_of(value: &Value, shape: &Shape<'_>) -> Fields {
    match parts(value, shape) {
        Parts::Leaf => Fields { here: true, ..Fields::default() },
        Parts::Below(parts) => {
            let mut fields = Fields::default();
            for (step, value, shape) in parts {
                let mut below = fields_of(value, &shape);
                // An element belongs to whoever names it, even where others fill it.
                below.here |= !matches!(step, Step::Field(_));
                fields.below.insert(step, below);
            }
            fields
        }
    }
}

/// Returns every place that `value` has, those on the way included.
fn places_of(value: &Value, shape: &Shape<'_>) -> Fields {
    let mut fields = Fields { here: true, ..Fields::default() };
    if let Parts::Below(parts) = parts(value, shape) {
        for (step, value, shape) in parts {
            fields.below.insert(step, places_of(value, &shape));
        }
    }
    fields
}

/// Returns what differs between `old` and `new`.
pub(crate) fn compare(old: &Value, new: &Value, shape: &Shape<'_>) -> Difference {
    let mut difference = Difference::default();
    compare_at(old, new, shape, &mut Vec::new(), &mut difference);
    difference
}

fn graft(into: &mut Fields, path: &[Step], what: Fields) {
    match path.split_first() {
        None => *into = into.union(&what),
        Some((step, rest)) => graft(into.below.entry(step.clone()).or_default(), rest, what),
    }
}

fn compare_at(
    old: &Value,
    new: &Value,
    shape: &Shape<'_>,
    path: &mut Vec<Step>,
    difference: &mut Difference,
) {
    let (before, after) = match (parts(old, shape), parts(new, shape)) {
        (Parts::Below(before), Parts::Below(after)) => (before, after),
        (Parts::Leaf, Parts::Leaf) => {
            if old != new {
                difference.modified.insert(path);
            }
            return;
        }
        // From empty to filled, or back: the place stays.
        (Parts::Leaf, Parts::Below(after)) => (Vec::new(), after),
        (Parts::Below(before), Parts::Leaf) => (before, Vec::new()),
    };
    for (step, old, shape) in &before {
        path.push(step.clone());
        match after.iter().find(|(other, ..)| other == step) {
            Some((_, new, _)) => compare_at(old, new, shape, path, difference),
            None => graft(&mut difference.removed, path, places_of(old, shape)),
        }
        path.pop();
    }
    for (step, new, shape) in &after {
        if !before.iter().any(|(other, ..)| other == step) {
            path.push(step.clone());
            graft(&mut difference.added, path, places_of(new, shape));
            path.pop();
        }
    }
}

/// Returns `live` with what `config` says.
pub(crate) fn merge(live: &Value, config: &Value, shape: &Shape<'_>) -> Value {
    if let (Some(live), Some(config)) = (live.as_object(), config.as_object()) {
        if shape.is_atomic_map() {
            return Value::Object(config.clone());
        }
        let mut merged: Map<String, Value> = live.clone();
        for (name, wanted) in config {
            let value = match live.get(name) {
                Some(old) => merge(old, wanted, &shape.field(name)),
                None => wanted.clone(),
            };
            merged.insert(name.clone(), value);
        }
        return Value::Object(merged);
    }
    let (Some(old), Some(wanted)) = (live.as_array(), config.as_array()) else {
        return config.clone();
    };
    let how = shape.list();
    if how == List::Atomic {
        return config.clone();
    }
    Value::Array(merge_lists(old, wanted, &how, shape))
}

/// Merges two lists by their keys. The applied order holds; what is only in the live list stays before the element that
/// it stood before.
fn merge_lists(live: &[Value], applied: &[Value], how: &List, shape: &Shape<'_>) -> Vec<Value> {
    let steps = |list: &[Value]| list.iter().map(|element| how.step(element)).collect::<Vec<_>>();
    let (old, new) = (steps(live), steps(applied));
    let merged = |at: usize| match old.iter().position(|step| *step == new[at]) {
        Some(known) => merge(&live[known], &applied[at], &shape.element()),
        None => applied[at].clone(),
    };
    let mut list = Vec::new();
    let (mut in_old, mut in_new) = (0, 0);
    while in_old < old.len() || in_new < new.len() {
        let next_shared = new[in_new..].iter().find(|step| old.contains(step));
        if let Some(step) = old.get(in_old) {
            if !new.contains(step) {
                list.push(live[in_old].clone());
                in_old += 1;
                continue;
            }
            let is_met = new.get(in_new) == Some(step);
            if is_met || next_shared != Some(step) {
                // Met here, or taken before, or due later in the applied order.
                in_old += 1;
            }
            if !is_met && next_shared != Some(step) {
                continue;
            }
        }
        list.push(merged(in_new));
        in_new += 1;
    }
    list
}

/// Takes from `value` what `gone` names and nobody in `owned` has, nor anything below it.
pub(crate) fn prune(value: &mut Value, gone: &Fields, owned: &Fields, shape: &Shape<'_>) {
    let none = Fields::default();
    let fate = |step: &Step| {
        let left = gone.below.get(step).filter(|left| !left.is_empty())?;
        Some((left, owned.below.get(step).unwrap_or(&none)))
    };
    if let Some(map) = value.as_object_mut() {
        map.retain(|name, below| match fate(&Step::Field(name.clone())) {
            Some((_, owners)) if owners.is_empty() => false,
            Some((left, owners)) => {
                prune(below, left, owners, &shape.field(name));
                true
            }
            None => true,
        });
    } else if let Some(list) = value.as_array_mut() {
        let how = shape.list();
        list.retain_mut(|element| match how.step(element).as_ref().and_then(&fate) {
            Some((_, owners)) if owners.is_empty() => false,
            Some((left, owners)) => {
                prune(element, left, owners, &shape.element());
                true
            }
            None => true,
        });
    }
}
