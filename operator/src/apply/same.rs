//! Whether an object is already as this operator would apply it. Pure.
//!
//! `managedFields` says which fields of an object a field manager applied last. An object is as wanted when every
//! wanted field is there with its value and is ours, and nothing is ours that is not wanted any more: then an apply
//! would change nothing, and none is sent. Where the two cannot be compared the answer is no: an apply too many does no
//! harm, one too few does.
//!
//! What the API server puts beside our fields (defaults, an object's status) belongs to nobody here and is not looked at.
//!
//! Source: Kubernetes, structured merge and `FieldsV1`: `f:` is a field, `k:` an item of a list by its keys, `v:` an
//! item of a set, `.` the container itself.

use serde_json::{Map, Value};

use crate::crd::quantity;

/// Fields of every object that say which one it is, not how it is.
const IDENTITY: [&str; 4] = ["name", "namespace", "uid", "resourceVersion"];

/// Maps of quantities, and fields that are one.
const QUANTITIES: [&str; 5] = ["requests", "limits", "capacity", "hard", "sizeLimit"];

/// Fields of the metadata into which everybody puts something of his own.
const SHARED: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// Whether `live` already is what `manager` would apply with `wanted`, to the object or to a `subresource` of it.
pub fn is_applied(live: &Value, wanted: &Value, manager: &str, subresource: &str) -> bool {
    let mut wanted = wanted.clone();
    if let Value::Object(fields) = &mut wanted {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    if let Some(Value::Object(metadata)) = wanted.get_mut("metadata") {
        metadata.retain(|name, _| !IDENTITY.contains(&name.as_str()));
        if metadata.is_empty()
            && let Value::Object(fields) = &mut wanted
        {
            fields.remove("metadata");
        }
    }
    let nothing = Map::new();
    let owned = owned(live, manager, subresource).unwrap_or(&nothing);
    same_object(owned, &wanted, live, false)
}

/// The fields that `manager` applied last.
fn owned<'a>(live: &'a Value, manager: &str, subresource: &str) -> Option<&'a Map<String, Value>> {
    let text = |entry: &Value, name: &str| {
        entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let entries = live.get("metadata")?.get("managedFields")?.as_array()?;
    let entry = entries.iter().find(|entry| {
        text(entry, "manager") == manager
            && text(entry, "operation") == "Apply"
            && text(entry, "subresource") == subresource
    })?;
    entry.get("fieldsV1")?.as_object()
}

fn same_object(owned: &Map<String, Value>, wanted: &Value, live: &Value, quantity: bool) -> bool {
    let (Value::Object(wanted), Value::Object(live)) = (wanted, live) else { return false };
    let wanted_is_there = wanted.iter().all(|(name, wanted)| {
        let quantity = quantity || QUANTITIES.contains(&name.as_str());
        let owned = owned.get(&format!("f:{name}"));
        let live = live.get(name);
        if is_void(wanted) {
            return is_void_kept(name, owned, live);
        }
        match (owned, live) {
            (Some(owned), Some(live)) => same(owned, wanted, live, quantity),
            // Nothing in it is ours, which is as wanted where nothing in it is wanted.
            (None, Some(live)) => same_object(&Map::new(), wanted, live, quantity),
            (_, None) => false,
        }
    });
    let nothing_is_left_over = owned.keys().all(|key| {
        key == "." || key.strip_prefix("f:").is_some_and(|name| wanted.contains_key(name))
    });
    wanted_is_there && nothing_is_left_over
}

fn same(owned: &Value, wanted: &Value, live: &Value, quantity: bool) -> bool {
    let Value::Object(owned) = owned else { return false };
    if owned.is_empty() {
        return covers(wanted, live, quantity);
    }
    match (wanted, live) {
        (Value::Object(_), Value::Object(_)) => same_object(owned, wanted, live, quantity),
        (Value::Array(wanted), Value::Array(live)) => same_list(owned, wanted, live),
        _ => false,
    }
}

/// Lists that are merged item by item. Whose order differs is the same: an apply would not mend it.
fn same_list(owned: &Map<String, Value>, wanted: &[Value], live: &[Value]) -> bool {
    let items = owned.iter().filter(|(key, _)| *key != ".");
    let mut count = 0;
    let all = items.into_iter().all(|(key, owned)| {
        count += 1;
        let Some((tag, json)) = key.split_once(':') else { return false };
        let Ok(named) = serde_json::from_str::<Value>(json) else { return false };
        match tag {
            "v" => wanted.contains(&named) && live.contains(&named),
            "k" => {
                let wanted = wanted.iter().find(|item| is_named(item, &named, true));
                let live = live.iter().find(|item| is_named(item, &named, false));
                wanted.zip(live).is_some_and(|(wanted, live)| same(owned, wanted, live, false))
            }
            _ => false,
        }
    });
    all && count == wanted.len()
}

/// Whether the keys of `item` are those of `keys`. A wanted item may leave out a key that has a default.
fn is_named(item: &Value, keys: &Value, may_leave_out: bool) -> bool {
    let Value::Object(keys) = keys else { return false };
    keys.iter().all(|(name, key)| item.get(name).map_or(may_leave_out, |value| value == key))
}

/// What is owned as a whole: the server may have put defaults into it.
fn covers(wanted: &Value, live: &Value, quantity: bool) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().all(|(name, wanted)| {
            let quantity = quantity || QUANTITIES.contains(&name.as_str());
            match live.get(name) {
                Some(live) => covers(wanted, live, quantity),
                None => is_void(wanted),
            }
        }),
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len()
                && wanted.iter().zip(live).all(|(wanted, live)| covers(wanted, live, quantity))
        }
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64()
        }
        (Value::String(one), Value::String(other)) => {
            one == other || quantity && quantity::are_equal(one, other)
        }
        (one, other) => one == other,
    }
}

/// Nothing, or an empty container: the server may leave it out.
fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether a field that is wanted empty has nothing of ours in it.
fn is_void_kept(name: &str, owned: Option<&Value>, live: Option<&Value>) -> bool {
    match owned {
        Some(Value::Object(owned)) => {
            let nothing_of_ours = owned.keys().all(|key| key == ".");
            // Owned as a whole, it must be empty as a whole.
            nothing_of_ours && (!owned.is_empty() || live.is_none_or(is_void))
        }
        Some(_) => false,
        None => SHARED.contains(&name) || live.is_none_or(is_void),
    }
}

#[cfg(test)]
mod tests;
