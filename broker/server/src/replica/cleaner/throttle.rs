//! The cleaner's share of the disk: bytes a second, over all threads together.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A rate above this is none: more than any disk gives.
const UNBOUNDED: f64 = 1e15;

/// A wait below this is put off: sleeping for less costs more than it saves.
const WAIT_MIN: Duration = Duration::from_millis(20);

/// The longest that one charge may put off the next, so that no sum of times overflows.
const COST_MAX: Duration = Duration::from_hours(1);

/// Tells how long to wait so that a rate is not exceeded. Shared.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    paid: Mutex<Option<Paid>>,
}

#[derive(Debug, Clone, Copy)]
struct Paid {
    /// The rate that was charged.
    rate: f64,
    /// When all bytes so far are within it.
    until: Instant,
}

impl Throttle {
    /// Charges `bytes` at `rate` bytes a second; returns how long to wait before the next.
    ///
    /// A new rate forgets what the old one still asked for.
    pub(super) fn charge(&self, bytes: u64, rate: f64, now: Instant) -> Duration {
        if rate.is_nan() || rate > UNBOUNDED {
            return Duration::ZERO;
        }
        let cost = Duration::try_from_secs_f64(bytes as f64 / rate.max(f64::MIN_POSITIVE));
        let cost = cost.unwrap_or(COST_MAX).min(COST_MAX);
        let mut paid = self.paid.lock();
        let last = paid.filter(|last| last.rate.total_cmp(&rate).is_eq() && last.until > now);
        let until = last.map_or(now, |last| last.until) + cost;
        *paid = Some(Paid { rate, until });
        let wait = until - now;
        if wait < WAIT_MIN { Duration::ZERO } else { wait }
    }

    #[cfg(test)]
    pub(super) fn is_charged(&self) -> bool {
        self.paid.lock().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use broker_protocol::quantity::TimestampMs;

    #[test]
    fn bytes_are_spread_over_time_at_the_rate_in_force() {
        let clock = ManualClock::starting_at(TimestampMs(0));
        let throttle = Throttle::default();
        let second = Duration::from_secs(1);
        assert_eq!(throttle.charge(10, 1000.0, clock.now()), Duration::ZERO, "put off");
        assert_eq!(throttle.charge(990, 1000.0, clock.now()), second);
        assert_eq!(throttle.charge(1000, 1000.0, clock.now()), 2 * second, "another thread");
        clock.advance(second);
        assert_eq!(throttle.charge(0, 1000.0, clock.now()), second, "what is left");
        assert_eq!(throttle.charge(0, 1e6, clock.now()), Duration::ZERO, "a new rate");
        clock.advance(10 * second);
        assert_eq!(throttle.charge(1000, 1000.0, clock.now()), second, "idle time is not saved");
        assert_eq!(throttle.charge(1 << 40, f64::MAX, clock.now()), Duration::ZERO);
        assert!(throttle.charge(1, 0.0, clock.now()) >= COST_MAX);
    }
}
