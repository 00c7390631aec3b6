//! What is being worked on and what waits to be: for metrics, and for the health of the process.
//!
//! Concurrency: shared by all controllers; short locks.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::key::Key;
use crate::kind::Kind;

/// What all controllers do.
#[derive(Debug)]
pub struct Progress {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    begun: u64,
    running: BTreeMap<u64, (Kind, Instant, Timestamp)>,
    /// Objects that changed and were not looked at since. As many as there are objects, at most.
    waiting: HashSet<(Kind, Key)>,
}

impl Progress {
    /// Nothing runs, nothing waits.
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Takes in that an object waits to be looked at.
    pub fn queued(&self, kind: Kind, key: Key) {
        self.state.lock().waiting.insert((kind, key));
    }

    /// Takes in that an object is gone.
    pub fn gone(&self, kind: Kind, key: Key) {
        self.state.lock().waiting.remove(&(kind, key));
    }

    /// Takes in that nothing of `kind` is looked at any more.
    pub fn stopped(&self, kind: Kind) {
        self.state.lock().waiting.retain(|(waiting, _)| *waiting != kind);
    }

    /// Takes in that an object is looked at, until the answer is dropped.
    pub fn begin(self: &Arc<Self>, kind: Kind, key: Key) -> Running {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let mut state = self.state.lock();
        state.waiting.remove(&(kind, key));
        state.begun += 1;
        let id = state.begun;
        state.running.insert(id, (kind, now, wall));
        drop(state);
        Running { progress: Arc::clone(self), id, kind, since: now }
    }

    /// How many objects of `kind` wait.
    pub fn depth(&self, kind: Kind) -> usize {
        self.state.lock().waiting.iter().filter(|(waiting, _)| *waiting == kind).count()
    }

    /// When the oldest look at an object of `kind` began that has not ended.
    pub fn oldest(&self, kind: Kind) -> Option<Timestamp> {
        let state = self.state.lock();
        state.running.values().find(|(running, ..)| *running == kind).map(|(_, _, wall)| *wall)
    }

    /// Names a kind of which one object has been looked at for longer than `bound`.
    pub fn stuck(&self, bound: Duration) -> Option<Kind> {
        let now = self.clock.now();
        let state = self.state.lock();
        let is_stuck = |since: &Instant| now.saturating_duration_since(*since) > bound;
        state.running.values().find(|(_, since, _)| is_stuck(since)).map(|(kind, ..)| *kind)
    }
}

/// One look at one object; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    progress: Arc<Progress>,
    id: u64,
    kind: Kind,
    since: Instant,
}

impl Running {
    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.progress.clock.now().saturating_duration_since(self.since)
    }

    /// What it looks at.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.progress.state.lock().running.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("default".to_owned(), name.to_owned())
    }

    /// The oldest is told until it ends, and an object that changes twice waits once.
    #[tokio::test(start_paused = true)]
    async fn what_runs_longest_is_told() {
        let clock = Clock::starting_at(Timestamp::from_second(1_000).unwrap());
        let progress = Arc::new(Progress::new(clock));
        for name in ["a", "b", "a"] {
            progress.queued(Kind::Topic, key(name));
        }
        assert_eq!((progress.depth(Kind::Topic), progress.depth(Kind::Cluster)), (2, 0));
        let first = progress.begin(Kind::Topic, key("a"));
        tokio::time::advance(Duration::from_secs(7)).await;
        let second = progress.begin(Kind::Topic, key("c"));
        assert_eq!(progress.depth(Kind::Topic), 1);
        assert_eq!(progress.oldest(Kind::Topic).unwrap().as_second(), 1_000);
        assert_eq!(progress.stuck(Duration::from_secs(6)), Some(Kind::Topic));
        assert_eq!((first.elapsed().as_secs(), first.kind()), (7, Kind::Topic));
        drop(first);
        assert_eq!(progress.oldest(Kind::Topic).unwrap().as_second(), 1_007);
        assert_eq!(progress.stuck(Duration::from_secs(6)), None);
        drop(second);
        assert_eq!(progress.oldest(Kind::Topic), None);
        progress.stopped(Kind::Topic);
        assert_eq!(progress.depth(Kind::Topic), 0);
    }
}
