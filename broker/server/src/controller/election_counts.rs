//! What controllers of this process have elected, over all their terms: for metrics.
//!
//! An election is a change of the leader of a partition that had one or lost it; the first leader of a
//! new partition is none. All that follow from one event are timed together, their writes included.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::state::Elected;
use crate::metrics::Event;
use crate::metrics::timer::Timer;

/// Counts of elections. Shared.
#[derive(Debug, Default)]
pub struct Elections {
    /// Leaders elected.
    pub leaders: Event,
    /// Those of them that were not in sync.
    pub unclean: Event,
    /// How long the elections of one event took.
    pub durations: Timer,
    load_nanos: AtomicU64,
}

impl Elections {
    /// Counts what an event, which took `duration`, added to what a term had elected.
    pub(super) fn count(&self, before: Elected, after: Elected, duration: Duration) {
        if after.leaders > before.leaders {
            self.leaders.add(after.leaders - before.leaders);
            self.unclean.add(after.unclean - before.unclean);
            self.durations.record(duration);
        }
    }

    /// Says how long a controller that took office needed to read the cluster.
    pub(super) fn loaded(&self, duration: Duration) {
        self.load_nanos.store(duration.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Returns how long that took the last time, in seconds; 0 if no controller was here.
    pub fn load_seconds(&self) -> f64 {
        self.load_nanos.load(Ordering::Relaxed) as f64 / 1e9
    }
}
