//! What a cluster was at a moment, for runs that begin there: objects, definitions, time. Clients, watches, calls and what
//! runs in pods are not part of it.

use std::time::Duration;

use super::clock::Clock;
use super::kind::Kinds;
use super::state::State;
use super::store::Store;
use super::watch::Watches;
use super::world::World;

/// A moment of a cluster. Objects are shared with the clusters that began there, and never changed.
pub(crate) struct Moment {
    kinds: Kinds,
    store: Store,
    passed: Duration,
    ids: u64,
    addresses: u32,
}

impl Moment {
    pub(super) fn of(state: &State) -> Self {
        Self {
            kinds: state.kinds.clone(),
            store: state.store.present(),
            passed: state.clock.elapsed(),
            ids: state.ids,
            addresses: state.world.addresses,
        }
    }

    pub(super) fn state(&self) -> State {
        State {
            kinds: self.kinds.clone(),
            store: self.store.present(),
            clock: Clock::after_all(self.passed),
            watches: Watches::default(),
            world: World { addresses: self.addresses, ..World::default() },
            ids: self.ids,
        }
    }
}
