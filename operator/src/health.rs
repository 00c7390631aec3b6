//! Whether this process is well and ready, as probes ask.
//!
//! Well: the election gets to run, and no look at an object takes longer than [`STUCK`]. A process that is not well is
//! to be started again. Ready: the custom resources are served and, where this operator leads, its caches are full;
//! one that does not lead keeps none, and is ready to take over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::progress::Progress;

/// How long one look at one object may take. Its requests to the API server end after 30 seconds each, its calls of brokers
/// after 10, some of them one after the other.
pub const STUCK: Duration = Duration::from_mins(10);

/// How long the election may do nothing. It waits for 3 seconds at most between two looks at its Lease, and 3 for
/// each answer.
const SILENT: Duration = Duration::from_secs(30);

/// What is known of the health of this process.
#[derive(Debug)]
pub struct Health {
    clock: Clock,
    progress: Arc<Progress>,
    beat: Mutex<Instant>,
    served: AtomicBool,
    /// Caches of controllers that run, and whether each is full.
    caches: Mutex<BTreeMap<(&'static str, String), bool>>,
}

impl Health {
    /// A process that has just begun.
    pub fn new(clock: Clock, progress: Arc<Progress>) -> Self {
        Self {
            clock,
            progress,
            beat: Mutex::new(clock.now()),
            served: AtomicBool::new(false),
            caches: Mutex::default(),
        }
    }

    /// Takes in that the election was there at `now`.
    pub fn beat(&self, now: Instant) {
        *self.beat.lock() = now;
    }

    /// Takes in that the API server serves every custom resource.
    pub fn served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    /// Takes in that a controller fills its cache of `objects` in `namespace`, or has filled it.
    pub fn cache(&self, objects: &'static str, namespace: &str, is_full: bool) {
        self.caches.lock().insert((objects, namespace.to_owned()), is_full);
    }

    /// Takes in that no controller runs.
    pub fn no_caches(&self) {
        self.caches.lock().clear();
    }

    /// Says why this process should be started again, or `None`.
    pub fn sickness(&self) -> Option<String> {
        let silent = self.clock.now().saturating_duration_since(*self.beat.lock());
        if silent > SILENT {
            return Some(format!("the election has done nothing for {} s", silent.as_secs()));
        }
        let kind = self.progress.stuck(STUCK)?.name();
        Some(format!("a reconcile of a {kind} takes longer than {} s", STUCK.as_secs()))
    }

    /// Says what is waited for before this process is ready, or `None`.
    pub fn unready(&self) -> Option<String> {
        if !self.served.load(Ordering::Relaxed) {
            return Some("the custom resource definitions are waited for".to_owned());
        }
        let caches = self.caches.lock();
        let ((objects, _), _) = caches.iter().find(|(_, is_full)| !**is_full)?;
        Some(format!("the cache of every {objects} is filled"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    fn health() -> Health {
        let clock = Clock::system();
        Health::new(clock, Arc::new(Progress::new(clock)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_election_and_a_stuck_reconcile_are_sick() {
        let health = health();
        let key = ("default".to_owned(), "orders".to_owned());
        let stuck = health.progress.begin(Kind::Topic, key);
        tokio::time::advance(SILENT + Duration::from_secs(1)).await;
        assert!(health.sickness().unwrap().contains("election has done nothing for 31 s"));
        health.beat(health.clock.now());
        assert_eq!(health.sickness(), None);
        tokio::time::advance(STUCK).await;
        health.beat(health.clock.now());
        assert!(health.sickness().unwrap().contains("reconcile of a Topic"));
        drop(stuck);
        assert_eq!(health.sickness(), None);
    }

    #[tokio::test]
    async fn ready_is_who_could_act_at_once() {
        let health = health();
        assert!(health.unready().unwrap().contains("definitions"));
        health.served();
        assert_eq!(health.unready(), None);
        health.cache("Topic", "", false);
        assert!(health.unready().unwrap().contains("Topic"));
        health.cache("Topic", "", true);
        assert_eq!(health.unready(), None);
        health.cache("Cluster", "", false);
        health.no_caches();
        assert_eq!(health.unready(), None);
    }
}
