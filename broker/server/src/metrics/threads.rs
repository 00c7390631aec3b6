//! How busy the network threads are: the time that their runtimes were not parked.
//!
//! Kafka has network threads and request handlers; here one thread is both, so both of its idle
//! ratios are this one.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::snapshot::ThreadFacts;
use super::window::Window;

/// What the idle ratio looks back on: Kafka's two samples of thirty seconds.
const RECENT: Duration = Duration::from_mins(1);
const RECENT_STEP: Duration = Duration::from_secs(10);

/// The runtimes of the network threads. Shared.
#[derive(Debug)]
pub(super) struct Threads {
    runtimes: OnceLock<Vec<Handle>>,
    recent: Mutex<Window<Vec<Duration>>>,
}

impl Default for Threads {
    fn default() -> Self {
        let recent = Mutex::new(Window::new(RECENT, RECENT_STEP));
        Self { runtimes: OnceLock::new(), recent }
    }
}

impl Threads {
    pub(super) fn watch(&self, runtimes: Vec<Handle>) {
        // They are started once in a process; a second set is not this broker's.
        let _ = self.runtimes.set(runtimes);
    }

    pub(super) fn runtimes(&self) -> &[Handle] {
        self.runtimes.get().map_or(&[], Vec::as_slice)
    }

    /// Returns how busy each thread was since the start, and idle of late.
    pub(super) fn read(&self, now: Instant) -> Vec<ThreadFacts> {
        let busy: Vec<Duration> = self
            .runtimes()
            .iter()
            .map(|runtime| runtime.metrics().worker_total_busy_duration(0))
            .collect();
        let before = self.recent.lock().turn(now, &busy);
        let idle = |thread: usize, busy: Duration| {
            let (then, before) = before.as_ref()?;
            let passed = now.duration_since(*then).as_secs_f64();
            let worked = busy.saturating_sub(*before.get(thread)?).as_secs_f64();
            (passed > 0.0).then(|| (1.0 - worked / passed).clamp(0.0, 1.0))
        };
        let facts = busy.iter().enumerate().map(|(thread, busy)| ThreadFacts {
            busy_seconds: busy.as_secs_f64(),
            idle_ratio: idle(thread, *busy).unwrap_or(1.0),
        });
        facts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    /// A runtime that only waits is idle.
    #[test]
    fn a_runtime_that_waits_is_idle() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let threads = Threads::default();
        threads.watch(vec![runtime.handle().clone()]);
        let start = SystemClock.now();
        assert!((threads.read(start)[0].idle_ratio - 1.0).abs() < f64::EPSILON);
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        let facts = threads.read(start + Duration::from_secs(1));
        assert!(facts[0].idle_ratio > 0.9 && facts[0].idle_ratio <= 1.0);
    }
}
