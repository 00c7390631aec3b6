//! Time, behind a seam: handlers and pure state machines are handed a time, they never ask for one.
//!
//! Two readings, never mixed: the monotonic one drives timeouts and order, the wall one is only
//! written into records, checkpoints and logs, and may jump.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker_protocol::quantity::TimestampMs;
use parking_lot::Mutex;

/// Where this process reads time.
pub trait Clock: Debug + Send + Sync {
    /// Returns the monotonic time: for deadlines and durations.
    fn now(&self) -> Instant;

    /// Returns the wall time in milliseconds since the Unix epoch: for data, never for timeouts.
    fn wall(&self) -> TimestampMs;
}

/// The clock that everything is handed.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn wall(&self) -> TimestampMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        TimestampMs(since_epoch.as_millis() as i64)
    }
}

/// A clock that moves only when told to: tests of timeouts and retention run on it.
#[derive(Debug)]
pub struct ManualClock {
    readings: Mutex<(Instant, TimestampMs)>,
}

impl ManualClock {
    /// Makes a clock whose wall time starts at `wall`.
    pub fn starting_at(wall: TimestampMs) -> Self {
        Self { readings: Mutex::new((SystemClock.now(), wall)) }
    }

    /// Moves both readings forward by `step`.
    pub fn advance(&self, step: Duration) {
        let mut readings = self.readings.lock();
        readings.0 += step;
        readings.1 = TimestampMs(readings.1.0 + step.as_millis() as i64);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.readings.lock().0
    }

    fn wall(&self) -> TimestampMs {
        self.readings.lock().1
    }
}
