//! What the broker tells of itself: counters that the hot path feeds, and the pages made of them.
//!
//! Reading path: `requests` and `connections` (what the network side records, the only part that a
//! request pays for), `collect` (one look at every owner, into a plain `snapshot`), `catalogue`
//! (every family: name, type, labels, page), `render` (snapshot in, text out, pure).
//!
//! Nothing is computed before somebody scrapes. The families of the JMX exporter and of
//! kafka_exporter are a compatibility surface: never extended; our own facts are `ottla_*`.
//! Labels come from closed sets, or are capped, with `other` for the rest.
//!
//! Concurrency: shared; relaxed atomics, and short locks at connects and scrapes only.

pub mod catalogue;
pub mod collect;
pub mod connections;
pub mod coordination;
pub mod health;
pub mod histogram;
mod lag;
mod process;
pub mod render;
pub mod requests;
pub mod snapshot;
mod threads;
pub mod timer;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use connections::Connections;
use coordination::Coordination;
use health::Health;
use requests::Recorder;
use threads::Threads;

/// Everything that is counted outside the owners of partitions and groups. Shared.
#[derive(Debug)]
pub struct Metrics {
    /// Requests: how many, how long, which errors.
    pub requests: Recorder,
    /// Open connections.
    pub connections: Connections,
    /// Sessions with the coordination tree.
    pub coordination: Arc<Coordination>,
    /// How far the broker has come.
    pub health: Arc<Health>,
    threads: Threads,
    recent: requests::Recent,
}

impl Metrics {
    /// Makes an empty set for `network_threads` threads.
    pub fn new(network_threads: usize, health: Arc<Health>) -> Arc<Self> {
        Arc::new(Self {
            requests: Recorder::new(network_threads),
            connections: Connections::default(),
            coordination: Arc::default(),
            health,
            threads: Threads::default(),
            recent: requests::Recent::default(),
        })
    }

    /// Tells which runtimes serve connections, in order. To be called once, when they run.
    pub fn watch_threads(&self, runtimes: Vec<Handle>) {
        self.threads.watch(runtimes);
    }

    /// Returns the runtimes that serve connections.
    pub(crate) fn network_runtimes(&self) -> &[Handle] {
        self.threads.runtimes()
    }
}

/// A count of rare events, increased by whoever makes them happen.
#[derive(Debug, Default)]
pub struct Event(AtomicU64);

impl Event {
    /// Counts one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Counts `times`.
    pub fn add(&self, times: u64) {
        self.0.fetch_add(times, Ordering::Relaxed);
    }

    /// Returns how many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
