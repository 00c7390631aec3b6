//! Reading and writing JSON by pointer, as the rest of the fake does all day.

use serde_json::{Map, Value};

/// Returns the text at `pointer`; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the whole number at `pointer`.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// Returns the elements of the list at `pointer`; none where there is no list.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the map at `pointer` as pairs of texts; what is no text is left out.
pub(crate) fn pairs<'a>(object: &'a Value, pointer: &str) -> Vec<(&'a str, &'a str)> {
    let map = object.pointer(pointer).and_then(Value::as_object);
    let pair = |(name, value): (&'a String, &'a Value)| Some((name.as_str(), value.as_str()?));
    map.map_or_else(Vec::new, |map| map.iter().filter_map(pair).collect())
}

/// Puts `value` at `pointer`; the maps on the way are made where they are missing.
pub(crate) fn put(object: &mut Value, pointer: &str, value: impl Into<Value>) {
    let mut at = object;
    for name in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = at.as_object_mut().unwrap().entry(name.replace("~1", "/")).or_insert(Value::Null);
    }
    *at = value.into();
}

/// Puts `value` at `pointer` where there is nothing.
pub(crate) fn put_default(object: &mut Value, pointer: &str, value: impl Into<Value>) {
    if object.pointer(pointer).is_none_or(Value::is_null) {
        put(object, pointer, value);
    }
}

/// Removes what is at `pointer`, and returns it.
pub(crate) fn take(object: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, name) = pointer.rsplit_once('/')?;
    object.pointer_mut(parent)?.as_object_mut()?.shift_remove(name)
}

/// Puts what `from` has at `pointer` into `object`; removes it where `from` has nothing.
pub(crate) fn copy(object: &mut Value, from: &Value, pointer: &str) {
    match from.pointer(pointer) {
        Some(value) => put(object, pointer, value.clone()),
        None => drop(take(object, pointer)),
    }
}

/// Removes every `null`, as a typed object loses them.
pub(crate) fn drop_nulls(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, below| !below.is_null());
        map.values_mut().for_each(drop_nulls);
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(drop_nulls);
    }
}

/// Maps that a typed object loses where they are empty.
const OMITTED_MAPS: [&str; 9] = [
    "annotations",
    "binaryData",
    "data",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
    "stringData",
];

/// Removes the lists and maps that a typed object loses where they are empty.
pub(crate) fn drop_empty(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.values_mut().for_each(drop_empty);
        let is_empty_map = |name: &str, below: &Value| {
            OMITTED_MAPS.contains(&name) && below.as_object().is_some_and(Map::is_empty)
        };
        let is_empty_list = |below: &Value| below.as_array().is_some_and(Vec::is_empty);
        map.retain(|name, below| !is_empty_list(below) && !is_empty_map(name, below));
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(drop_empty);
    }
}

/// Changes `target` by a merge patch (RFC 7386).
pub(crate) fn merge_patch(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let map = target.as_object_mut().unwrap();
    for (name, change) in changes {
        if change.is_null() {
            map.shift_remove(name);
        } else {
            merge_patch(map.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// Returns `value` with the names of every map in order.
pub(crate) fn sorted(value: &Value) -> Value {
    if let Some(map) = value.as_object() {
        let mut names: Vec<&String> = map.keys().collect();
        names.sort_unstable();
        Value::Object(names.into_iter().map(|name| (name.clone(), sorted(&map[name]))).collect())
    } else if let Some(list) = value.as_array() {
        Value::Array(list.iter().map(sorted).collect())
    } else {
        value.clone()
    }
}

/// Returns a number that stands for `value`: the same in every run, and for every order of names.
pub(crate) fn digest(value: &Value) -> u64 {
    // FNV-1a.
    sorted(value).to_string().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
