//! What clients bring about as fast as they like, and the log tells once in a while.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a warning is not repeated.
const PAUSE: Duration = Duration::from_mins(1);

/// When each warning was last given. Shared; the locks are short, and taken only where a request is refused.
#[derive(Debug, Default)]
pub(crate) struct Warned {
    /// That `acks=all` asks for more replicas than are in sync.
    pub(crate) below_min_isr: Seldom,
    /// That somebody wants transactions.
    pub(crate) transactions: Seldom,
}

/// One warning.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is to be given now; then it was.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock();
        let is_due = last.is_none_or(|last| now >= last + PAUSE);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use broker_protocol::quantity::TimestampMs;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn a_warning_is_given_once_a_minute() {
        let (seldom, now) = (Seldom::default(), ManualClock::starting_at(TimestampMs(0)).now());
        let given =
            [0, 1, 59, 60, 61, 119, 120].map(|s| seldom.is_due(now + Duration::from_secs(s)));
        assert_eq!(given, [true, false, false, true, false, false, true]);
    }
}
