//! A custom resource held against its structural schema: unknown fields pruned, defaults put in, values checked.
//!
//! Rules in CEL and patterns are not evaluated: a real server does that in other tests.

use serde_json::Value;

use super::json::{items, text};

/// A field, and what is wrong with it.
pub(crate) type Wrong = (String, String);

/// Returns the first field of an applied `config` that the schema does not know.
pub(crate) fn undeclared(config: &Value, schema: &Value, path: &str) -> Option<String> {
    if let Some(list) = config.as_array() {
        return list.iter().find_map(|element| undeclared(element, &schema["items"], path));
    }
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let properties = schema["properties"].as_object().filter(|_| !is_open)?;
    config.as_object()?.iter().find_map(|(name, below)| {
        let is_root =
            path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str());
        let path = format!("{path}.{name}");
        match properties.get(name) {
            _ if is_root => None,
            Some(schema) => undeclared(below, schema, &path),
            None => Some(path),
        }
    })
}

/// Returns the nulls of an applied `config` where the schema wants a value: there they are not read as nothing.
pub(crate) fn nulls(config: &Value, schema: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    if let Some(list) = config.as_array() {
        for (index, element) in list.iter().enumerate() {
            nulls(element, &schema["items"], &format!("{path}[{index}]"), wrong);
        }
    }
    for (name, below) in config.as_object().into_iter().flatten() {
        let declared =
            schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
        let Some(schema) = declared else { continue };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if below.is_null() && schema["nullable"] != true && schema.get("default").is_none() {
            let wanted = text(schema, "/type");
            let why = format!(
                "Invalid value: \"null\": {path} in body must be of type {wanted}: \"null\""
            );
            wrong.push((path, why));
        } else {
            nulls(below, schema, &path, wrong);
        }
    }
}

/// Makes `object` what the server stores; returns what is wrong with it.
pub(crate) fn conform(object: &mut Value, schema: &Value) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let Some(map) = object.as_object_mut() else { return wrong };
    let known = |name: &String| {
        ["apiVersion", "kind", "metadata"].contains(&name.as_str())
            || schema["properties"].get(name).is_some()
    };
    map.retain(|name, _| known(name));
    let Some(properties) = schema["properties"].as_object() else { return wrong };
    for (name, below) in properties {
        if !["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            field(map, name, below, "", &mut wrong);
        }
    }
    check_required(object, schema, "", &mut wrong);
    // Messages name fields without the dot before the first.
    wrong.into_iter().map(|(path, why)| (path[1..].to_owned(), why)).collect()
}

fn field(
    map: &mut serde_json::Map<String, Value>,
    name: &str,
    schema: &Value,
    path: &str,
    wrong: &mut Vec<Wrong>,
) {
    let nullable = schema["nullable"] == true;
    if map.get(name).is_some_and(Value::is_null) && !nullable {
        map.shift_remove(name);
    }
    if let (None, Some(default)) = (map.get(name), schema.get("default")) {
        map.insert(name.to_owned(), default.clone());
    }
    if let Some(value) = map.get_mut(name).filter(|value| !value.is_null()) {
        walk(value, schema, &format!("{path}.{name}"), wrong);
    }
}

fn walk(value: &mut Value, schema: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    check(value, schema, path, wrong);
    if let Some(map) = value.as_object_mut() {
        let properties = schema["properties"].as_object();
        let additional = schema.get("additionalProperties").filter(|below| below.is_object());
        let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
        if let Some(properties) = properties {
            if !keeps_unknown && additional.is_none() {
                map.retain(|name, _| properties.contains_key(name));
            }
            for (name, below) in properties {
                field(map, name, below, path, wrong);
            }
        } else if let Some(below) = additional {
            let names: Vec<String> = map.keys().cloned().collect();
            for name in &names {
                field(map, name, below, path, wrong);
            }
        }
    } else if let Some(list) = value.as_array_mut() {
        for (index, element) in list.iter_mut().enumerate() {
            walk(element, &schema["items"], &format!("{path}[{index}]"), wrong);
        }
    }
    check_required(value, schema, path, wrong);
}

fn check_required(value: &Value, schema: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let Some(map) = value.as_object() else { return };
    for name in items(schema, "/required").iter().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            wrong.push((format!("{path}.{name}"), "Required value".to_owned()));
        }
    }
}

fn check(value: &Value, schema: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let mut find = |why: String| wrong.push((path.to_owned(), why));
    let fits = match text(schema, "/type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    if !fits {
        find(format!("Invalid value: {value}: must be of type {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        find(format!("Unsupported value: {value}: supported values: {allowed:?}"));
    }
    let size = value.as_f64().map(|number| (number, "minimum", "maximum"));
    let size = size
        .or(value.as_str().map(|text| (text.chars().count() as f64, "minLength", "maxLength")))
        .or(value.as_array().map(|list| (list.len() as f64, "minItems", "maxItems")))
        .or(value.as_object().map(|map| (map.len() as f64, "minProperties", "maxProperties")));
    let Some((size, least, most)) = size else { return };
    let (name, what) = (&path[1..], if value.is_number() { "" } else { "the size of " });
    if schema[least].as_f64().is_some_and(|least| size < least) {
        let bound = &schema[least];
        find(format!(
            "Invalid value: {value}: {what}{name} in body should be greater than or equal to {bound}"
        ));
    }
    if schema[most].as_f64().is_some_and(|most| size > most) {
        let bound = &schema[most];
        find(format!(
            "Invalid value: {value}: {what}{name} in body should be less than or equal to {bound}"
        ));
    }
}
