//! The rest of a cluster: controllers, scheduler and nodes, each a step that looks at the objects and moves them on.
//!
//! A step does what its component would do next, once, and nothing where nothing is to do; together they come to rest.

pub(crate) mod budget;
mod claims;
pub(crate) mod condition;
mod garbage;
mod node;
mod pod_template;
mod revision;
mod stateful_set;
mod volume;

use std::sync::Arc;

use serde_json::Value;

use super::json::{items, pairs};
use super::state::State;
use super::store::{Change, Key, Store};
use super::world::Sight;

/// Steps after which a cluster that still moves never rests.
const MOST_STEPS: usize = 2_000;

/// Who writes in the name of the controllers.
const CONTROLLERS: &str = "kube-controller-manager";

/// Lets every component do what it would do next; returns whether anything changed.
pub(crate) fn step(state: &mut State) -> bool {
    let before = state.store.revision;
    if state.world.is_frozen {
        return false;
    }
    let now = state.clock.elapsed();
    let State { world, store, .. } = state;
    world.companions.iter_mut().for_each(|companion| companion.step(store, now));
    // Besides objects, time moves something, and what the test says of pods and volumes.
    let is_disturbed = is_disturbed(state);
    for (number, (reads, hears, act)) in COMPONENTS.iter().enumerate() {
        let looked = std::mem::replace(&mut state.world.looked[number], state.store.revision);
        if has_changed(&state.store, looked, reads) || (*hears && is_disturbed) {
            act(state);
        }
    }
    let has_moved = state.store.revision != before;
    if !has_moved {
        state.world.seen = sight(state);
    }
    has_moved
}

/// How many components there are.
pub(crate) const COUNT: usize = 5;

/// What a component reads (nothing stands for owners of whatever kind), whether it hears of time and of what the test says, what it does.
type Component = (&'static [&'static str], bool, fn(&mut State));

const COMPONENTS: [Component; COUNT] = [
    (&[], false, garbage::step),
    (
        &["controllerrevisions.apps", "persistentvolumeclaims", "pods", "statefulsets.apps"],
        false,
        stateful_set::step,
    ),
    (&["persistentvolumeclaims", "persistentvolumes", "pods"], true, volume::step),
    (&["nodes", "persistentvolumeclaims", "pods"], true, node::step),
    (&[budget::BUDGETS, "pods", "statefulsets.apps"], true, budget::step),
];

/// Whether something of what a component reads was changed since it looked.
fn has_changed(store: &Store, looked: u64, reads: &[&str]) -> bool {
    let concerns = |change: &Change| {
        if reads.is_empty() { unsettles(change) } else { reads.contains(&&*change.key.resource) }
    };
    looked < store.floor || store.since(looked).iter().any(concerns)
}

/// Whether a change concerns owners, or what is owned: something goes, or has other owners.
fn unsettles(change: &Change) -> bool {
    let owners = |object: &Value| items(object, "/metadata/ownerReferences").to_vec();
    let Some(after) = &change.after else { return true };
    let before = change.before.as_ref().map_or_else(Vec::new, |before| owners(before));
    is_ending(after) || before != owners(after)
}

/// Whether pods are not what they were when the cluster came to rest, or time moves something.
fn is_disturbed(state: &mut State) -> bool {
    let has_pods = |budget: &Value| !pairs(budget, "/status/disruptedPods").is_empty();
    let is_timed = state.store.list(budget::BUDGETS, "").any(|(_, budget)| has_pods(budget))
        || state.store.list("pods", "").any(|(_, pod)| is_ending(pod));
    is_timed || sight(state) != state.world.seen
}

/// What the test says of every pod and of volumes.
fn sight(state: &mut State) -> Sight {
    let State { world, store, .. } = state;
    let pods = store.list("pods", "").map(|(_, pod)| world.pod_is(pod)).collect();
    (pods, world.volumes_grow)
}

/// Lets the cluster move until it rests.
pub(crate) fn settle(state: &mut State) {
    for _ in 0..MOST_STEPS {
        if !step(state) {
            return;
        }
    }
    panic!("the cluster does not come to rest");
}

/// Returns the objects of `resource` in `namespace` (of every one where it is empty).
fn listed(state: &State, resource: &str, namespace: &str) -> Vec<(Key, Arc<Value>)> {
    let listed = state.store.shared(resource, namespace);
    listed.map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
}

/// Whether `object` is being deleted.
fn is_ending(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}
