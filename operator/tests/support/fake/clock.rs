//! The time that the server writes: tokio's clock, which a test pauses, from a fixed date on.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::{self, Instant, Sleep};

/// 2026-01-01T00:00:00Z.
const FIRST_SECOND: i64 = 1_767_225_600;

/// Tells the time of the simulated cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// What had passed before.
    past: Duration,
}

impl Clock {
    /// Starts at the fixed date. Must be called in a runtime whose time is enabled.
    pub(crate) fn start() -> Self {
        Self::after_all(Duration::ZERO)
    }

    /// Goes on `past` later than the fixed date. Must be called in a runtime whose time is enabled.
    pub(crate) fn after_all(past: Duration) -> Self {
        Self { start: Instant::now(), past }
    }

    /// Lets time pass: of the paused clock, so nobody waits.
    pub(crate) fn pass(time: Duration) -> Sleep {
        time::sleep(time)
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.past + self.start.elapsed()
    }

    /// Returns the time now as an object shows it, in whole seconds.
    pub(crate) fn now(self) -> String {
        self.after(Duration::ZERO)
    }

    /// Returns the time `later` from now.
    pub(crate) fn after(self, later: Duration) -> String {
        let second = FIRST_SECOND + (self.elapsed() + later).as_secs() as i64;
        Timestamp::from_second(second).unwrap().to_string()
    }

    /// Returns how long ago `time` was, as an object shows it; zero for what is to come.
    pub(crate) fn since(self, time: &str) -> Duration {
        let Ok(time) = time.parse::<Timestamp>() else { return Duration::ZERO };
        let now = FIRST_SECOND + self.elapsed().as_secs() as i64;
        Duration::from_secs(u64::try_from(now - time.as_second()).unwrap_or_default())
    }
}
