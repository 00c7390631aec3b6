//! JSON patches (RFC 6902): `add`, `remove`, `replace` and `test`.

use serde_json::Value;

use super::json::text;
use super::refusal::Refusal;

/// Changes `object` by the operations given.
pub(crate) fn change(object: &mut Value, operations: &Value) -> Result<(), Refusal> {
    let operations =
        operations.as_array().ok_or_else(|| Refusal::bad_request("a list is expected"))?;
    for operation in operations {
        let (verb, path) = (text(operation, "/op"), text(operation, "/path"));
        let done = match verb {
            // A place that is not there is null, as the server has it.
            "test" => *object.pointer(path).unwrap_or(&Value::Null) == operation["value"],
            "add" => add(object, path, operation["value"].clone()),
            "replace" => {
                let place = object.pointer_mut(path);
                place.map(|place| *place = operation["value"].clone()).is_some()
            }
            "remove" => remove(object, path),
            _ => return Err(Refusal::bad_request(format!("unexpected kind: {verb}"))),
        };
        if !done {
            let said = "the server rejected our request due to an error in our request";
            let mut refusal = Refusal::bad_request(said);
            (refusal.code, refusal.reason) = (422, "Invalid");
            return Err(refusal);
        }
    }
    Ok(())
}

fn split<'a, 'p>(object: &'a mut Value, path: &'p str) -> Option<(&'a mut Value, String, &'p str)> {
    let (parent, name) = path.rsplit_once('/')?;
    Some((object.pointer_mut(parent)?, name.replace("~1", "/").replace("~0", "~"), name))
}

fn add(object: &mut Value, path: &str, value: Value) -> bool {
    let Some((parent, name, raw)) = split(object, path) else { return false };
    if let Some(map) = parent.as_object_mut() {
        map.insert(name, value);
        return true;
    }
    let Some(list) = parent.as_array_mut() else { return false };
    let at = if raw == "-" { Some(list.len()) } else { raw.parse().ok() };
    let Some(at) = at.filter(|&at| at <= list.len()) else { return false };
    list.insert(at, value);
    true
}

fn remove(object: &mut Value, path: &str) -> bool {
    let Some((parent, name, raw)) = split(object, path) else { return false };
    if let Some(map) = parent.as_object_mut() {
        return map.shift_remove(&name).is_some();
    }
    let Some(list) = parent.as_array_mut() else { return false };
    let at = raw.parse().ok().filter(|&at: &usize| at < list.len());
    at.map(|at| list.remove(at)).is_some()
}
