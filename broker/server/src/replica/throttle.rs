//! How much of replication's bytes pass while it is throttled (KIP-73). Pure but for a short lock: times
//! are handed in.
//!
//! A rate is what the samples of the last `replication.quota.window.num` windows hold, over the time
//! since the oldest of them began. Whoever is above it passes nothing until it is below again; what passed
//! at once may be more than a window's share, and is made up for by the wait after it.
//!
//! Only partitions that a topic's `*.replication.throttled.replicas` names are measured, so replication
//! that is not throttled costs nothing here.
//!
//! Source: Kafka 3.9 `ReplicationQuotaManager`, `SampledStat`, `SimpleRate`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker_config::broker::BrokerConfig;
use parking_lot::Mutex;

use super::counters::Counter;

/// The shortest wait: less is not worth a round.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// What may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Absent if all may.
    bytes_per_second: Option<u64>,
    window: Duration,
    windows: u32,
}

impl Quota {
    /// Makes a quota of `rate` bytes a second, measured over `windows` of `seconds` each.
    pub fn new(rate: i64, windows: i32, seconds: i32) -> Self {
        Self {
            bytes_per_second: (rate != i64::MAX).then_some(rate.max(0) as u64),
            window: Duration::from_secs(seconds.max(1) as u64),
            windows: windows.max(1) as u32,
        }
    }

    /// Returns what this broker may send to replicas that are out of sync.
    pub fn of_leader(config: &BrokerConfig) -> Self {
        Self::of_replication(config.leader_replication_throttled_rate, config)
    }

    /// Returns what this broker may copy while it is out of sync.
    pub fn of_follower(config: &BrokerConfig) -> Self {
        Self::of_replication(config.follower_replication_throttled_rate, config)
    }

    /// Returns what may be copied between the log directories of this broker.
    pub fn of_moves(config: &BrokerConfig) -> Self {
        let rate = config.replica_alter_log_dirs_io_max_bytes_per_second;
        let windows = config.alter_log_dirs_replication_quota_window_num;
        Self::new(rate, windows, config.alter_log_dirs_replication_quota_window_size_seconds)
    }

    fn of_replication(rate: i64, config: &BrokerConfig) -> Self {
        let windows = config.replication_quota_window_num;
        Self::new(rate, windows, config.replication_quota_window_size_seconds)
    }

    fn life(self) -> Duration {
        self.window.saturating_mul(self.windows)
    }
}

/// The bytes of replicas that are throttled, in one direction. Shared.
#[derive(Debug, Default)]
pub struct Throttle {
    samples: Mutex<VecDeque<Sample>>,
    /// All bytes that were recorded.
    pub bytes: Counter,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    begin: Instant,
    bytes: u64,
}

impl Throttle {
    /// Records that `bytes` passed.
    pub fn record(&self, bytes: u64, quota: Quota, now: Instant) {
        self.bytes.add(bytes);
        let mut samples = self.samples.lock();
        drop_old(&mut samples, quota, now);
        match samples.back_mut() {
            Some(last) if now.saturating_duration_since(last.begin) < quota.window => {
                last.bytes += bytes;
            }
            Some(_) | None => samples.push_back(Sample { begin: now, bytes }),
        }
    }

    /// Returns when to look again, if more has passed than may; at most a window from now, since the quota
    /// may change.
    pub fn over_until(&self, quota: Quota, now: Instant) -> Option<Instant> {
        let allowed = quota.bytes_per_second?;
        let mut samples = self.samples.lock();
        drop_old(&mut samples, quota, now);
        let oldest = samples.front()?.begin;
        let passed: u64 = samples.iter().map(|sample| sample.bytes).sum();
        let elapsed = now.saturating_duration_since(oldest).max(quota.window);
        if passed as f64 <= allowed as f64 * elapsed.as_secs_f64() {
            return None;
        }
        let needed = Duration::try_from_secs_f64(passed as f64 / allowed as f64);
        let within = needed.map_or(quota.life(), |needed| needed.min(quota.life()));
        let until = (oldest + within).min(now + quota.window);
        Some(until.max(now + WAIT_MIN))
    }
}

/// The throttles of a broker.
#[derive(Debug, Default)]
pub struct Throttles {
    /// What it sends as a leader.
    pub leader: Throttle,
    /// What it copies as a follower.
    pub follower: Throttle,
}

fn drop_old(samples: &mut VecDeque<Sample>, quota: Quota, now: Instant) {
    let is_old = |sample: &Sample| now.saturating_duration_since(sample.begin) > quota.life();
    while samples.front().is_some_and(is_old) {
        samples.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use broker_protocol::quantity::TimestampMs;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_passes_above_the_rate_until_time_has_made_up_for_it() {
        let clock = ManualClock::starting_at(TimestampMs(0));
        let (throttle, quota) = (Throttle::default(), Quota::new(1000, 11, 1));
        assert_eq!(throttle.over_until(quota, clock.now()), None, "nothing has passed");
        throttle.record(1000, quota, clock.now());
        assert_eq!(throttle.over_until(quota, clock.now()), None, "a window's share");
        throttle.record(2000, quota, clock.now());
        let began = clock.now();
        assert_eq!(throttle.over_until(quota, began), Some(began + SECOND), "a window at a time");
        clock.advance(SECOND * 2 + SECOND / 2);
        assert_eq!(throttle.over_until(quota, clock.now()), Some(began + 3 * SECOND));
        clock.advance(SECOND / 2);
        assert_eq!(throttle.over_until(quota, clock.now()), None);
        assert_eq!(throttle.bytes.get(), 3000);
    }

    #[test]
    fn what_is_older_than_all_windows_is_forgotten_and_the_rate_may_change() {
        let clock = ManualClock::starting_at(TimestampMs(0));
        let (throttle, quota) = (Throttle::default(), Quota::new(1, 3, 2));
        throttle.record(1 << 40, quota, clock.now());
        clock.advance(6 * SECOND);
        assert!(throttle.over_until(quota, clock.now()).is_some());
        let wider = Quota::new(1 << 40, 3, 2);
        assert_eq!(throttle.over_until(wider, clock.now()), None);
        assert_eq!(throttle.over_until(Quota::new(i64::MAX, 3, 2), clock.now()), None, "no limit");
        clock.advance(Duration::from_millis(1));
        assert_eq!(throttle.over_until(quota, clock.now()), None);
        throttle.record(1, Quota::new(0, 3, 2), clock.now());
        assert!(
            throttle.over_until(Quota::new(0, 3, 2), clock.now()).is_some(),
            "nothing may pass"
        );
    }

    /// Whoever sends 300 bytes whenever it may, looking as often as it is told to, comes to the rate.
    #[test]
    fn over_time_as_much_passes_as_the_rate_says() {
        let clock = ManualClock::starting_at(TimestampMs(0));
        let (throttle, quota) = (Throttle::default(), Quota::new(1000, 11, 1));
        let end = clock.now() + 60 * SECOND;
        while clock.now() < end {
            match throttle.over_until(quota, clock.now()) {
                Some(until) => clock.advance(until - clock.now()),
                None => throttle.record(300, quota, clock.now()),
            }
        }
        let passed = throttle.bytes.get();
        assert!((58_000..=63_000).contains(&passed), "{passed} bytes in 60 s at 1000 a second");
    }
}
