//! Clusters of Ottla brokers in this process, which run in the pods of the fake API server and serve the contract of
//! `broker/admin` without a socket.
//!
//! Under tokio's paused clock every run is the same run. Calls to brokers count among the calls of their client, so that
//! an operator is killed at any of either. What must never happen is noticed by itself: [`Model::assert_sound`].
//!
//! ```text
//! operator -> dial -> port (faults, order of calls) -> state (tree, permits, processes)
//!                                                        ^ look (pods, sets, claims of the fake API server)
//! ```
//!
//! Concurrency: one lock around a cluster's state, never held over an `await`. It may be taken under the fake's lock,
//! never the other way round.
//! Not here: records, clients, ZooKeeper, what a release does differently.

mod describe;
mod dial;
mod files;
mod moves;
pub(crate) mod permit;
mod pods;
mod port;
pub(crate) mod process;
mod replication;
pub(crate) mod state;
mod topics;
pub(crate) mod tree;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use dial::dial;
use state::{Asked, State};

use super::fake::Fake;
use super::fake::clock::Clock;
use super::fake::store::Store;
use super::fake::world::{Companion, PodIs};

/// One cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    clock: Clock,
    /// The count of changes, for whoever watches.
    revision: watch::Sender<u64>,
    /// The server side of connections.
    connections: Mutex<JoinSet<()>>,
}

impl Model {
    /// The brokers of the `Cluster` `name`: each pod of it is one.
    pub(crate) fn new(fake: &Fake, namespace: &str, name: &str) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self::at(fake, State { namespace, name, ..State::default() })
    }

    /// Brokers that go on from `state`, which was that of others.
    pub(crate) fn at(fake: &Fake, state: State) -> Self {
        let shared = Shared {
            state: Mutex::new(state),
            clock: fake.clock(),
            revision: watch::Sender::new(0),
            connections: Mutex::default(),
        };
        let model = Self { shared: Arc::new(shared) };
        fake.accompany(model.clone());
        model
    }

    /// Does something with the state as it is now; watches are told after it.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let now = self.shared.clock.elapsed();
        let mut state = self.shared.state.lock().unwrap();
        state.advance(now);
        let result = act(&mut state);
        let revision = state.revision;
        drop(state);
        self.shared
            .revision
            .send_if_modified(|known| std::mem::replace(known, revision) != revision);
        result
    }

    /// Returns every call so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.with(|state| state.asked.clone())
    }

    /// Forgets the calls so far.
    pub(crate) fn forget_calls(&self) {
        self.with(|state| state.asked.clear());
    }

    /// Has the process of a broker die, and start again in its pod.
    pub(crate) fn crash(&self, broker: i32) {
        self.with(|state| state.end(broker));
    }

    /// Blames nobody for the next end of a broker: the test ends its pod.
    pub(crate) fn excuse(&self, broker: i32) {
        self.with(|state| state.excused.insert(broker));
    }

    /// Returns how often each broker was started.
    pub(crate) fn starts(&self) -> Vec<(i32, u32)> {
        self.with(|state| state.starts.iter().map(|(broker, count)| (*broker, *count)).collect())
    }

    /// Panics where something has happened that must never happen, with all of it.
    pub(crate) fn assert_sound(&self) {
        let violations = self.shared.state.lock().unwrap().violations.clone();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }
}

impl Companion for Model {
    fn step(&mut self, store: &Store, now: Duration) {
        self.with(|state| state.look(store, now));
    }

    fn pod(&self, pod: &Value) -> Option<PodIs> {
        self.shared.state.lock().unwrap().pod_is(pod)
    }

    fn has_ended(&self, pod: &Value) -> Option<bool> {
        self.shared.state.lock().unwrap().has_ended(pod)
    }

    fn revision(&self) -> u64 {
        self.shared.state.lock().unwrap().revision
    }

    fn snapshot(&self) -> (String, Value) {
        let state = self.shared.state.lock().unwrap();
        (format!("brokers {}/{}", state.namespace, state.name), state.snapshot())
    }

    fn names(&self) -> Vec<(String, String)> {
        let state = self.shared.state.lock().unwrap();
        let topics = state.tree.topics.iter();
        topics.map(|(name, topic)| (topic.id.clone(), format!("<topic {name}>"))).collect()
    }
}
