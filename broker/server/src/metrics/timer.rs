//! Durations of one kind of work that is too rare to be counted by thread: counted since the start, and
//! of the last minutes.
//!
//! Concurrency: shared. Recording is two relaxed additions; reading takes a short lock, at scrapes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::histogram::{Counts, Histogram};
use super::window::Window;

/// What quantiles look back on: as those of requests.
const RECENT: Duration = Duration::from_mins(5);
const RECENT_STEP: Duration = Duration::from_mins(1);

/// Counts durations. Shared.
#[derive(Debug)]
pub struct Timer {
    all: Histogram,
    total_nanos: AtomicU64,
    recent: Mutex<Window<Counts>>,
}

impl Default for Timer {
    fn default() -> Self {
        Self {
            all: Histogram::default(),
            total_nanos: AtomicU64::new(0),
            recent: Mutex::new(Window::new(RECENT, RECENT_STEP)),
        }
    }
}

/// What a timer has counted.
#[derive(Debug, Clone, Default)]
pub struct Durations {
    /// Since the start.
    pub all: Counts,
    /// All of them together.
    pub total_seconds: f64,
    /// Of the last minutes.
    pub recent: Counts,
}

impl Timer {
    /// Counts one that took `duration`.
    pub fn record(&self, duration: Duration) {
        let nanos = duration.as_nanos() as u64;
        self.all.record(nanos);
        self.total_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns what was counted.
    pub fn read(&self, now: Instant) -> Durations {
        let mut all = Counts::default();
        self.all.add_to(&mut all);
        let before = self.recent.lock().turn(now, &all);
        let recent = before.map_or_else(|| all.clone(), |(_, before)| all.since(&before));
        let total_seconds = self.total_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        Durations { all, total_seconds, recent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn quantiles_forget_what_counts_keep() {
        let (timer, start) = (Timer::default(), SystemClock.now());
        timer.record(Duration::from_secs(1));
        assert_eq!(timer.read(start).recent.total(), 1);
        timer.record(Duration::from_secs(2));
        let read = timer.read(start + RECENT);
        assert_eq!((read.all.total(), read.recent.total()), (2, 1));
        assert!((read.total_seconds - 3.0).abs() < 1e-9, "{}", read.total_seconds);
    }
}
