//! Time, behind a seam: decisions are handed a time, only what runs them asks for one.
//!
//! Two readings, never mixed: the monotonic one drives leases, back-off and durations, the wall one is only written
//! into objects and may jump. The monotonic reading is tokio's, so that a test that pauses its clock moves ours.

use std::time::Instant;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Where this process reads time. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The wall time at a monotonic one, where it is not the machine's.
    start: Option<(Timestamp, Instant)>,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self { start: None }
    }

    /// A clock whose wall time is `wall` now and moves with the monotonic one alone: tests know what it will be.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { start: Some((wall, Self::system().now())) }
    }

    /// Returns the monotonic time: for deadlines and durations.
    #[allow(clippy::unused_self, reason = "time is asked of the clock that was handed down")]
    pub fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Returns the wall time: for what is written, never for deadlines.
    pub fn wall(&self) -> Timestamp {
        match self.start {
            None => Timestamp::now(),
            Some((wall, start)) => {
                let passed = self.now().duration_since(start);
                SignedDuration::try_from(passed).map_or(wall, |passed| wall + passed)
            }
        }
    }
}

/// Waits until `deadline` by the monotonic clock. Cancel-safe.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline.into()).await;
}
