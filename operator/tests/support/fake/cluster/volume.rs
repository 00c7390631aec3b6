//! Volumes: bound to claims, grown with them, gone after them.
//!
//! Source: the controllers `persistentvolume-binder`, `pvc-protection` and the resizer of Kubernetes 1.34. A claim is
//! bound when a pod that uses it is scheduled, as with `WaitForFirstConsumer`.

use serde_json::{Value, json};

use super::super::admit::{bytes, finalizers};
use super::super::deletion::Deletion;
use super::super::json::{items, put, text};
use super::super::state::{State, Who};
use super::super::store::Key;
use super::garbage::release;
use super::{CONTROLLERS, is_ending, listed};

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// Returns the claims that `pod` uses.
pub(super) fn claims_of(pod: &Value) -> Vec<Key> {
    let namespace = text(pod, "/metadata/namespace");
    let volumes = items(pod, "/spec/volumes").iter();
    let names = volumes.map(|volume| text(volume, "/persistentVolumeClaim/claimName"));
    names.filter(|name| !name.is_empty()).map(|name| Key::new(CLAIMS, namespace, name)).collect()
}

/// Lets unused claims and released volumes go, and grows what was asked to grow.
pub(super) fn step(state: &mut State) {
    let pods = listed(state, "pods", "");
    // Only a pod that has a node uses its claims.
    let runs = |pod: &Value| !text(pod, "/spec/nodeName").is_empty();
    let is_used =
        |claim: &Key| pods.iter().any(|(_, pod)| runs(pod) && claims_of(pod).contains(claim));
    for (key, claim) in listed(state, CLAIMS, "") {
        let is_protected = finalizers(&claim).iter().any(|name| name == PROTECTION);
        if is_ending(&claim) && is_protected && !is_used(&key) {
            release(state, &key, PROTECTION);
        } else if state.world.volumes_grow {
            grow(state, &key, &claim);
        }
    }
    for (key, volume) in listed(state, VOLUMES, "") {
        let claim = Key::new(
            CLAIMS,
            text(&volume, "/spec/claimRef/namespace"),
            text(&volume, "/spec/claimRef/name"),
        );
        let found = state.store.get(&claim).map(|claim| &claim["metadata"]["uid"]);
        if claim.name.is_empty() || found == Some(&volume["spec"]["claimRef"]["uid"]) {
            continue;
        }
        if text(&volume, "/spec/persistentVolumeReclaimPolicy") == "Delete" {
            let _ = state.delete(&key, &Deletion::now(), false);
        } else {
            let _ = state.update(&key, Who::status(CONTROLLERS), |volume| {
                put(volume, "/status/phase", "Released");
                Ok(())
            });
        }
    }
}

/// Gives a bound claim, and its volume, the size that it asks for.
fn grow(state: &mut State, key: &Key, claim: &Value) {
    let wanted = text(claim, "/spec/resources/requests/storage");
    let is_bound = text(claim, "/status/phase") == "Bound";
    if !is_bound || bytes(wanted) <= bytes(text(claim, "/status/capacity/storage")) {
        return;
    }
    let volume = Key::new(VOLUMES, "", text(claim, "/spec/volumeName"));
    let _ = state.update(&volume, Who::whole(CONTROLLERS), |volume| {
        put(volume, "/spec/capacity/storage", wanted);
        Ok(())
    });
    let _ = state.update(key, Who::status(CONTROLLERS), |claim| {
        put(claim, "/status/capacity/storage", wanted);
        Ok(())
    });
}

/// Binds the claim at `key` to a volume of its own; `false` where there is no such claim, or it is going away.
pub(super) fn bind(state: &mut State, key: &Key) -> bool {
    let Some(claim) = state.store.get(key).cloned().filter(|claim| !is_ending(claim)) else {
        return false;
    };
    if text(&claim, "/status/phase") == "Bound" {
        return true;
    }
    let class = text(&claim, "/spec/storageClassName");
    let class_key = Key::new("storageclasses.storage.k8s.io", "", class);
    let policy = state.store.get(&class_key).and_then(|class| class["reclaimPolicy"].as_str());
    let name = format!("pvc-{}", text(&claim, "/metadata/uid"));
    let size = claim["spec"]["resources"]["requests"]["storage"].clone();
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": size },
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": class,
            "persistentVolumeReclaimPolicy": policy.unwrap_or("Delete"),
            "claimRef": {
                "namespace": key.namespace,
                "name": key.name,
                "uid": claim["metadata"]["uid"],
            },
        },
    });
    let kind = state.kind(VOLUMES);
    let _ = state.create(&kind, "", volume, Who::whole(CONTROLLERS));
    let _ = state.update(&Key::new(VOLUMES, "", &name), Who::status(CONTROLLERS), |volume| {
        put(volume, "/status/phase", "Bound");
        Ok(())
    });
    let _ = state.update(key, Who::whole(CONTROLLERS), |claim| {
        put(claim, "/spec/volumeName", name);
        Ok(())
    });
    let bound = state.update(key, Who::status(CONTROLLERS), |claim| {
        put(claim, "/status/phase", "Bound");
        put(claim, "/status/capacity/storage", size);
        Ok(())
    });
    bound.is_ok()
}
