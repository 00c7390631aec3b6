//! The claims of a stateful set's pods: made before the pod, kept or deleted with it as the set says.
//!
//! Source: `createPersistentVolumeClaims` and `UpdatePodClaimForRetentionPolicy` of Kubernetes 1.34.

use serde_json::{Value, json};

use super::super::json::{items, put, take, text};
use super::super::state::{State, Who};
use super::super::store::Key;
use super::pod_template::{claim, claim_name};
use super::revision::controller_of;
use super::{CONTROLLERS, is_ending};

const CLAIMS: &str = "persistentvolumeclaims";

fn keys(set: &Value, ordinal: i64) -> Vec<(Key, &Value)> {
    let namespace = text(set, "/metadata/namespace");
    let templates = items(set, "/spec/volumeClaimTemplates").iter();
    let key = |template| Key::new(CLAIMS, namespace, &claim_name(set, template, ordinal));
    templates.map(|template| (key(template), template)).collect()
}

/// Makes the claims of `ordinal` that are missing; `false` where one is still going away.
pub(super) fn provide(state: &mut State, set: &Value, ordinal: i64) -> bool {
    let kind = state.kind(CLAIMS);
    let mut are_there = true;
    for (key, template) in keys(set, ordinal) {
        if let Some(found) = state.store.get(&key) {
            are_there &= !is_ending(found);
        } else {
            let made = claim(set, template, ordinal);
            let namespace = key.namespace.clone();
            are_there &= state.create(&kind, &namespace, made, Who::whole(CONTROLLERS)).is_ok();
        }
        own(state, set, &key);
    }
    are_there
}

/// Makes the set own the claim where that goes with it, and takes the claim from the set where it stays.
fn own(state: &mut State, set: &Value, key: &Key) {
    let policy = "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted";
    let goes_with_set = text(set, policy) == "Delete";
    let Some(found) = state.store.get(key) else { return };
    let is_owner = |reference: &Value| reference["uid"] == set["metadata"]["uid"];
    let has_owner = items(found, "/metadata/ownerReferences").iter().any(is_owner);
    if has_owner == goes_with_set {
        return;
    }
    let _ = state.update(key, Who::whole(CONTROLLERS), |claim| {
        let mut references = items(claim, "/metadata/ownerReferences").to_vec();
        references.retain(|reference| !is_owner(reference));
        if goes_with_set {
            let mut owner = controller_of(set);
            owner.as_object_mut().unwrap().shift_remove("blockOwnerDeletion");
            references.push(owner);
        }
        if references.is_empty() {
            take(claim, "/metadata/ownerReferences");
        } else {
            put(claim, "/metadata/ownerReferences", references);
        }
        Ok(())
    });
}

/// Gives the claims of a pod that is scaled away to the pod, where they go with it.
pub(super) fn condemn(state: &mut State, set: &Value, ordinal: i64, pod: &Value) {
    if text(set, "/spec/persistentVolumeClaimRetentionPolicy/whenScaled") != "Delete" {
        return;
    }
    for (key, _) in keys(set, ordinal) {
        let owner = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        });
        let _ = state.update(&key, Who::whole(CONTROLLERS), |claim| {
            put(claim, "/metadata/ownerReferences", json!([owner]));
            Ok(())
        });
    }
}
