//! Conditions whose time of transition changes with their status alone.

use serde_json::{Value, json};

use super::super::json::{items, put, text};

/// Says in `object` that the condition `name` has this status.
pub(crate) fn say(object: &mut Value, name: &str, is_true: bool, reason: &str, now: &str) {
    let status = if is_true { "True" } else { "False" };
    let mut conditions = items(object, "/status/conditions").to_vec();
    let mut said = json!({ "type": name, "status": status, "lastTransitionTime": now });
    if !reason.is_empty() {
        said["reason"] = reason.into();
    }
    match conditions.iter_mut().find(|known| text(known, "/type") == name) {
        Some(known) => {
            if text(known, "/status") == status {
                said["lastTransitionTime"] = known["lastTransitionTime"].clone();
            }
            *known = said;
        }
        None => conditions.push(said),
    }
    put(object, "/status/conditions", conditions);
}

/// Whether `object` says that the condition `name` is true.
pub(crate) fn is(object: &Value, name: &str) -> bool {
    let mut conditions = items(object, "/status/conditions").iter();
    conditions.any(|known| text(known, "/type") == name && text(known, "/status") == "True")
}

/// Whether a pod runs and is ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running" && is(pod, "Ready")
}
