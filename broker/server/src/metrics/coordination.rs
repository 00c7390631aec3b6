//! What sessions with the coordination tree tell: connections lost and made, sessions that ended, how long
//! requests take.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use broker_zookeeper::observer::Observer;

use super::Event;
use super::snapshot::CoordinationFacts;
use super::timer::Timer;
use crate::clock::{Clock, SystemClock};

/// How a session is, by the names of Kafka's `SessionState`.
pub const STATES: [&str; 3] = ["CONNECTED", "CONNECTING", "EXPIRED"];

/// Counts of all sessions of this process. Shared.
#[derive(Debug, Default)]
pub struct Coordination {
    connects: Event,
    disconnects: Event,
    expires: Event,
    auth_failures: Event,
    requests: Timer,
    /// An index of [`STATES`].
    state: AtomicU8,
}

impl Coordination {
    /// Returns what was counted.
    pub fn read(&self, now: Instant) -> CoordinationFacts {
        CoordinationFacts {
            state: STATES[usize::from(self.state.load(Ordering::Relaxed)) % STATES.len()],
            connects: self.connects.get(),
            disconnects: self.disconnects.get(),
            expires: self.expires.get(),
            auth_failures: self.auth_failures.get(),
            requests: self.requests.read(now),
        }
    }

    fn enter(&self, state: u8, event: &Event) {
        self.state.store(state, Ordering::Relaxed);
        event.count();
    }
}

impl Observer for Coordination {
    fn connected(&self) {
        self.enter(0, &self.connects);
    }

    fn disconnected(&self) {
        self.enter(1, &self.disconnects);
    }

    fn expired(&self) {
        self.enter(2, &self.expires);
    }

    fn refused(&self) {
        self.auth_failures.count();
    }

    fn sent(&self) -> Option<Instant> {
        Some(SystemClock.now())
    }

    fn answered(&self, sent: Instant) {
        self.requests.record(SystemClock.now() - sent);
    }
}
