//! Waiting with an end: every wait of the harness goes through a [`Deadline`].

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a poll waits before it looks again; short, since what is polled for is usually there.
const POLL: Duration = Duration::from_millis(20);

/// A point in time after which a wait has failed.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
}

impl Deadline {
    /// Ends `after` from now.
    pub fn after(after: Duration) -> Self {
        Self { end: Instant::now() + after }
    }

    /// Ends `seconds` from now.
    pub fn seconds(seconds: u64) -> Self {
        Self::after(Duration::from_secs(seconds))
    }

    /// The time that is left, zero when it has passed.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// Calls `look` until it finds something, and says that `what` was missing when time is up.
    pub fn poll<T>(&self, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if self.passed() {
                bail!("waited in vain for {what}");
            }
            thread::sleep(POLL);
        }
    }
}

/// Lets `time` pass: for how long a fault lasts, and how often a load comes. Not for waiting.
pub fn pass(time: Duration) {
    thread::sleep(time);
}

/// A running stopwatch.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    start: Instant,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
