//! The revisions of a stateful set: one `ControllerRevision` for each template that it has had.
//!
//! Source: `pkg/controller/history` of Kubernetes 1.34.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::deletion::Deletion;
use super::super::json::{digest, items, number, put, text};
use super::super::state::{State, Who};
use super::super::store::Key;
use super::{CONTROLLERS, listed};

const REVISIONS: &str = "controllerrevisions.apps";

/// Returns a reference that makes `set` the controller of another object.
pub(super) fn controller_of(set: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": set["metadata"]["name"],
        "uid": set["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether `object` has a controller, and whether that is `set`.
pub(super) fn controlled(object: &Value, set: &Value) -> Option<bool> {
    let mut references = items(object, "/metadata/ownerReferences").iter();
    let controller = references.find(|reference| reference["controller"] == true)?;
    Some(controller["uid"] == set["metadata"]["uid"])
}

/// Names the template of `set`: the same one has the same name.
fn revision_name(set: &Value) -> String {
    let hash = digest(&set["spec"]["template"]);
    format!("{}-{:08x}", text(set, "/metadata/name"), (hash >> 32) as u32 ^ hash as u32)
}

/// Returns the names of the current and of the update revision; makes the latter where it is new.
pub(super) fn revisions(state: &mut State, set: &Value) -> (String, String) {
    let namespace = text(set, "/metadata/namespace").to_owned();
    let update = revision_name(set);
    let own = own_revisions(state, set);
    let newest = own.iter().filter_map(|(_, revision)| number(revision, "/revision")).max();
    match own.iter().find(|(key, _)| key.name == update) {
        Some((key, revision)) if number(revision, "/revision") != newest => {
            // A template that was there before: it becomes the newest again.
            let _ = state.update(key, Who::whole(CONTROLLERS), |revision| {
                put(revision, "/revision", newest.unwrap_or(0) + 1);
                Ok(())
            });
        }
        Some(_) => {}
        None => {
            let kind = state.kind(REVISIONS);
            let mut template = set["spec"]["template"].clone();
            template["$patch"] = "replace".into();
            let object = json!({
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": update,
                    "labels": set["spec"]["template"]["metadata"]["labels"],
                    "ownerReferences": [controller_of(set)],
                },
                "data": { "spec": { "template": template } },
                "revision": newest.unwrap_or(0) + 1,
            });
            let _ = state.create(&kind, &namespace, object, Who::whole(CONTROLLERS));
        }
    }
    let current = text(set, "/status/currentRevision");
    let is_known = state.store.get(&Key::new(REVISIONS, &namespace, current)).is_some();
    let current = if is_known { current.to_owned() } else { update.clone() };
    (current, update)
}

/// Returns the template of a revision.
pub(super) fn template(state: &State, namespace: &str, revision: &str) -> Option<Value> {
    let revision = state.store.get(&Key::new(REVISIONS, namespace, revision))?;
    let mut template = revision.pointer("/data/spec/template")?.clone();
    template.as_object_mut()?.shift_remove("$patch");
    Some(template)
}

/// Deletes the oldest revisions that nothing uses, beyond the limit.
pub(super) fn truncate(state: &mut State, set: &Value, in_use: &[&str]) {
    let limit = number(set, "/spec/revisionHistoryLimit").unwrap_or(10) as usize;
    let mut unused = own_revisions(state, set);
    unused.retain(|(key, _)| !in_use.contains(&key.name.as_str()));
    unused.sort_by_key(|(_, revision)| number(revision, "/revision"));
    let surplus = unused.len().saturating_sub(limit);
    for (key, _) in &unused[..surplus] {
        let _ = state.delete(key, &Deletion::now(), false);
    }
}

/// Returns the revisions of `set`; those that lost their owner are taken over.
fn own_revisions(state: &mut State, set: &Value) -> Vec<(Key, Arc<Value>)> {
    let all = listed(state, REVISIONS, text(set, "/metadata/namespace"));
    let mut own = Vec::new();
    for (key, revision) in all {
        let fits = super::super::selector::chooses(&set["spec"]["selector"], &revision);
        match controlled(&revision, set) {
            Some(true) => own.push((key, revision)),
            None if fits => {
                let adopted = state.update(&key, Who::whole(CONTROLLERS), |revision| {
                    put(revision, "/metadata/ownerReferences", json!([controller_of(set)]));
                    Ok(())
                });
                own.extend(adopted.map(|revision| (key, revision)));
            }
            _ => {}
        }
    }
    own
}
