//! The stateful set controller.
//!
//! Source: `updateStatefulSet` of Kubernetes 1.34. With `OnDelete` a new pod has the update revision, and
//! `status.currentRevision` stays what it was when the set was made: only a rolling update completes it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::deletion::Deletion;
use super::super::json::{number, put, take, text};
use super::super::selector::chooses;
use super::super::state::{State, Who};
use super::super::store::Key;
use super::condition::is_ready;
use super::pod_template::{ordinal_of, ordinals, pod};
use super::revision::{controlled, controller_of, revisions, template, truncate};
use super::{CONTROLLERS, claims, is_ending, listed};

const SETS: &str = "statefulsets.apps";

/// Moves every stateful set on.
pub(super) fn step(state: &mut State) {
    for (key, set) in listed(state, SETS, "") {
        if !is_ending(&set) {
            reconcile(state, &key, &set);
        }
    }
}

fn reconcile(state: &mut State, key: &Key, set: &Value) {
    let (current, update) = revisions(state, set);
    let pods = own_pods(state, set);
    let turn = Turn { set, current: &current, update: &update };
    turn.act(state, &pods);
    let pods = own_pods(state, set);
    turn.write_status(state, key, &pods);
    let of_pod = |(_, _, pod): &(i64, Key, Arc<Value>)| revision_of(pod).to_owned();
    let mut in_use: Vec<String> = pods.iter().map(of_pod).collect();
    in_use.extend([current.clone(), update.clone()]);
    truncate(state, set, &in_use.iter().map(String::as_str).collect::<Vec<_>>());
}

fn revision_of(pod: &Value) -> &str {
    text(pod, "/metadata/labels/controller-revision-hash")
}

/// Returns the pods of `set` by ordinal; those without a controller are taken over.
fn own_pods(state: &mut State, set: &Value) -> Vec<(i64, Key, Arc<Value>)> {
    let mut own = Vec::new();
    for (key, pod) in listed(state, "pods", text(set, "/metadata/namespace")) {
        let Some(ordinal) = ordinal_of(set, &key.name) else { continue };
        match controlled(&pod, set) {
            Some(true) => own.push((ordinal, key, pod)),
            None if chooses(&set["spec"]["selector"], &pod) && !is_ending(&pod) => {
                let adopted = state.update(&key, Who::whole(CONTROLLERS), |pod| {
                    put(pod, "/metadata/ownerReferences", json!([controller_of(set)]));
                    Ok(())
                });
                own.extend(adopted.map(|pod| (ordinal, key, pod)));
            }
            _ => {}
        }
    }
    own.sort_by_key(|(ordinal, ..)| *ordinal);
    own
}

/// One look at one set.
struct Turn<'a> {
    set: &'a Value,
    current: &'a str,
    update: &'a str,
}

impl Turn<'_> {
    fn act(&self, state: &mut State, pods: &[(i64, Key, Arc<Value>)]) {
        let is_ordered = text(self.set, "/spec/podManagementPolicy") == "OrderedReady";
        for ordinal in ordinals(self.set) {
            let found = pods.iter().find(|(known, ..)| *known == ordinal);
            let is_settled = self.replica(state, ordinal, found);
            if is_ordered && !is_settled {
                return;
            }
        }
        let wanted = ordinals(self.set);
        let condemned = pods.iter().rev().filter(|(ordinal, ..)| !wanted.contains(ordinal));
        for (ordinal, key, pod) in condemned {
            if !is_ending(pod) {
                claims::condemn(state, self.set, *ordinal, pod);
                let _ = state.delete(key, &Deletion::default(), false);
            }
            if is_ordered {
                return;
            }
        }
        if text(self.set, "/spec/updateStrategy/type") == "RollingUpdate" {
            self.roll(state, pods);
        }
    }

    /// Sees to one wanted pod; returns whether it runs, is ready and stays.
    fn replica(
        &self,
        state: &mut State,
        ordinal: i64,
        found: Option<&(i64, Key, Arc<Value>)>,
    ) -> bool {
        let are_claimed = claims::provide(state, self.set, ordinal);
        let Some((_, key, pod)) = found else {
            if are_claimed {
                self.create(state, ordinal);
            }
            return false;
        };
        let has_ended = ["Failed", "Succeeded"].contains(&text(pod, "/status/phase"));
        if has_ended && !is_ending(pod) {
            let _ = state.delete(key, &Deletion::default(), false);
            return false;
        }
        is_ready(pod) && !is_ending(pod)
    }

    fn create(&self, state: &mut State, ordinal: i64) {
        let namespace = text(self.set, "/metadata/namespace");
        let revision = if self.needs_current(ordinal) { self.current } else { self.update };
        let Some(template) = template(state, namespace, revision) else { return };
        let made = pod(self.set, &template, revision, ordinal);
        let kind = state.kind("pods");
        let _ = state.create(&kind, namespace, made, Who::whole(CONTROLLERS));
    }

    /// Whether a new pod of `ordinal` is still of the current revision.
    fn needs_current(&self, ordinal: i64) -> bool {
        let partition = number(self.set, "/spec/updateStrategy/rollingUpdate/partition");
        partition.is_some_and(|partition| ordinal < partition)
    }

    /// Deletes the highest pod that is not of the update revision, once those above it are well.
    fn roll(&self, state: &mut State, pods: &[(i64, Key, Arc<Value>)]) {
        let wanted = ordinals(self.set);
        let rolled = pods.iter().rev().filter(|(ordinal, ..)| wanted.contains(ordinal));
        for (ordinal, key, pod) in rolled {
            if self.needs_current(*ordinal) {
                return;
            }
            if revision_of(pod) != self.update && !is_ending(pod) {
                let _ = state.delete(key, &Deletion::default(), false);
                return;
            }
            if !is_ready(pod) || is_ending(pod) {
                return;
            }
        }
    }

    fn write_status(&self, state: &mut State, key: &Key, pods: &[(i64, Key, Arc<Value>)]) {
        let count = |fits: &dyn Fn(&Value) -> bool| {
            pods.iter().filter(|(_, _, pod)| fits(pod)).count() as u64
        };
        let lives = |pod: &Value| !is_ending(pod);
        let replicas = count(&|_| true);
        let ready = count(&|pod| is_ready(pod));
        let updated = count(&|pod| lives(pod) && revision_of(pod) == self.update);
        let is_rolling = text(self.set, "/spec/updateStrategy/type") == "RollingUpdate";
        let wanted = number(self.set, "/spec/replicas").unwrap_or(1) as u64;
        let is_complete =
            is_rolling && updated == replicas && ready == replicas && replicas == wanted;
        let current = if is_complete { self.update } else { self.current };
        let of_current = count(&|pod| lives(pod) && revision_of(pod) == current);
        // Counts of zero are left out, as the server leaves them out.
        let counts = [
            ("readyReplicas", ready),
            ("currentReplicas", of_current),
            ("updatedReplicas", updated),
        ];
        let _ = state.update(key, Who::status(CONTROLLERS), |set| {
            for (name, count) in counts {
                if count == 0 {
                    take(set, &format!("/status/{name}"));
                } else {
                    put(set, &format!("/status/{name}"), count);
                }
            }
            put(set, "/status/observedGeneration", self.set["metadata"]["generation"].clone());
            put(set, "/status/replicas", replicas);
            put(set, "/status/availableReplicas", ready);
            put(set, "/status/currentRevision", current);
            put(set, "/status/updateRevision", self.update);
            put(set, "/status/collisionCount", 0);
            Ok(())
        });
    }
}
