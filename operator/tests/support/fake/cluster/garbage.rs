//! The garbage collector, and the end of namespaces.
//!
//! Source: the controllers `garbagecollector` and `namespace` of Kubernetes 1.34.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::super::admit::finalizers;
use super::super::deletion::Deletion;
use super::super::json::{items, put, take, text};
use super::super::state::{State, Who};
use super::super::store::Key;
use super::{is_ending, listed};

const COLLECTOR: &str = "kube-controller-manager";

/// Deletes what has lost every owner, lets owners go whose dependents are gone, and empties namespaces.
pub(super) fn step(state: &mut State) {
    let uids: BTreeSet<String> =
        state.store.all().map(|(_, object)| text(object, "/metadata/uid").to_owned()).collect();
    let concerned = |object: &Value| {
        is_ending(object) || !items(object, "/metadata/ownerReferences").is_empty()
    };
    let all: Vec<(Key, Arc<Value>)> = state
        .store
        .all_shared()
        .filter(|(_, object)| concerned(object))
        .map(|(key, object)| (key.clone(), Arc::clone(object)))
        .collect();
    for (key, object) in &all {
        collect(state, key, object, &uids);
    }
    for (key, owner) in all.iter().filter(|(_, object)| is_ending(object)) {
        let waits_for = finalizers(owner);
        let uid = text(owner, "/metadata/uid");
        let dependents = all.iter().filter(|(_, object)| owner_of(object, uid).is_some());
        if waits_for.iter().any(|name| name == "orphan") {
            for (key, _) in dependents {
                disown(state, key, &|reference| text(reference, "/uid") == uid);
            }
            release(state, key, "orphan");
        } else if waits_for.iter().any(|name| name == "foregroundDeletion") {
            let mut is_blocked = false;
            for (key, object) in dependents {
                is_blocked |= owner_of(object, uid).unwrap()["blockOwnerDeletion"] == true;
                if !is_ending(object) {
                    let _ = state.delete(key, &Deletion::default(), false);
                }
            }
            if !is_blocked {
                release(state, key, "foregroundDeletion");
            }
        }
    }
    end_namespaces(state);
}

fn owner_of<'a>(object: &'a Value, uid: &str) -> Option<&'a Value> {
    let mut references = items(object, "/metadata/ownerReferences").iter();
    references.find(|reference| text(reference, "/uid") == uid)
}

/// Deletes `object` where all its owners are gone, and drops the owners that are gone where some are not.
fn collect(state: &mut State, key: &Key, object: &Value, uids: &BTreeSet<String>) {
    let references = items(object, "/metadata/ownerReferences");
    let is_gone = |reference: &Value| !uids.contains(text(reference, "/uid"));
    if references.is_empty() || !references.iter().any(is_gone) {
        return;
    }
    if !references.iter().all(is_gone) {
        disown(state, key, &is_gone);
    } else if !is_ending(object) {
        let uid = Some(text(object, "/metadata/uid").to_owned());
        let _ = state.delete(key, &Deletion { uid, ..Deletion::default() }, false);
    }
}

fn disown(state: &mut State, key: &Key, is_dropped: &dyn Fn(&Value) -> bool) {
    let _ = state.update(key, Who::whole(COLLECTOR), |object| {
        let mut left = items(object, "/metadata/ownerReferences").to_vec();
        left.retain(|reference| !is_dropped(reference));
        if left.is_empty() {
            take(object, "/metadata/ownerReferences");
        } else {
            put(object, "/metadata/ownerReferences", left);
        }
        Ok(())
    });
}

/// Takes a finalizer from the object at `key`.
pub(super) fn release(state: &mut State, key: &Key, finalizer: &str) {
    let _ = state.update(key, Who::whole(COLLECTOR), |object| {
        let mut left = finalizers(object);
        left.retain(|name| name != finalizer);
        if left.is_empty() {
            take(object, "/metadata/finalizers");
        } else {
            put(object, "/metadata/finalizers", left);
        }
        Ok(())
    });
}

fn end_namespaces(state: &mut State) {
    let namespaces = listed(state, "namespaces", "");
    for (key, _) in namespaces.iter().filter(|(_, namespace)| is_ending(namespace)) {
        let content: Vec<(Key, bool)> = state
            .store
            .all()
            .filter(|(inside, _)| inside.namespace == key.name)
            .map(|(inside, object)| (inside.clone(), is_ending(object)))
            .collect();
        for (inside, is_ending) in &content {
            if !is_ending {
                let _ = state.delete(inside, &Deletion::default(), false);
            }
        }
        let left = state.store.all().any(|(inside, _)| inside.namespace == key.name);
        if !left && finalizers(state.store.get(key).unwrap()).is_empty() {
            state.store.remove(key);
        }
    }
}
