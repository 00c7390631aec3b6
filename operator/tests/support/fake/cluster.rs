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

use serde_json::Value;

use super::state::State;
use super::store::Key;

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
    // At rest only time moves something, and what the test says of pods and volumes.
    if state.world.rested_at != Some(before) {
        garbage::step(state);
        stateful_set::step(state);
    }
    let now = state.clock.elapsed();
    let super::state::State { world, store, .. } = state;
    world.companions.iter_mut().for_each(|companion| companion.step(store, now));
    volume::step(state);
    node::schedule(state);
    node::run(state);
    budget::step(state);
    let has_moved = state.store.revision != before;
    state.world.rested_at = (!has_moved).then_some(before);
    has_moved
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
fn listed(state: &State, resource: &str, namespace: &str) -> Vec<(Key, Value)> {
    let listed = state.store.list(resource, namespace);
    listed.map(|(key, object)| (key.clone(), object.clone())).collect()
}

/// Whether `object` is being deleted.
fn is_ending(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}
