//! Durations counted in buckets that grow with the duration: eight to each power of two, so a
//! quantile is off by 6 % at most, from 128 ns up to four and a half minutes.
//!
//! Recording is one relaxed addition. Reading sums up shards, subtracts what was before, and asks
//! for quantiles.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds of the smallest bucket, as a power of two.
const UNIT_BITS: u32 = 7;

/// Buckets of each power of two, as a power of two.
const SUB_BITS: u32 = 3;

const SUBS: u64 = 1 << SUB_BITS;

/// The last bucket takes everything from 2^38 ns on.
const BUCKETS: usize = 233;

/// The bounds of the public histogram, as powers of two in nanoseconds: 65 µs to 34 s.
const PUBLIC_BITS: std::ops::RangeInclusive<u32> = 16..=35;

/// Counts of durations. Shared.
#[derive(Debug)]
pub struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Histogram {
    /// Counts `nanos` nanoseconds.
    #[inline]
    pub fn record(&self, nanos: u64) {
        self.0[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what was counted to `counts`.
    pub fn add_to(&self, counts: &mut Counts) {
        for (sum, bucket) in counts.0.iter_mut().zip(&self.0) {
            *sum += bucket.load(Ordering::Relaxed);
        }
    }
}

#[inline]
fn bucket(nanos: u64) -> usize {
    let units = nanos >> UNIT_BITS;
    if units < SUBS {
        return units as usize;
    }
    let shift = u64::BITS - 1 - SUB_BITS - units.leading_zeros();
    let index = (u64::from(shift) << SUB_BITS) + (units >> shift);
    (index as usize).min(BUCKETS - 1)
}

/// Returns the first nanosecond of bucket `index`.
fn start(index: usize) -> u64 {
    let index = index as u64;
    let units = if index < SUBS { index } else { (SUBS + index % SUBS) << (index / SUBS - 1) };
    units << UNIT_BITS
}

/// A histogram at one moment, or what was added to it between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts(Vec<u64>);

impl Default for Counts {
    fn default() -> Self {
        Self(vec![0; BUCKETS])
    }
}

impl Counts {
    /// Counts `duration`, `times` times.
    pub fn record(&mut self, duration: Duration, times: u64) {
        self.0[bucket(duration.as_nanos() as u64)] += times;
    }

    /// Returns how many durations were counted.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours += theirs;
        }
    }

    /// Returns what was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|(now, then)| now.saturating_sub(*then)).collect())
    }

    /// Returns the duration in milliseconds that the share `quantile` of all did not exceed; 0 if
    /// nothing was counted. Within a bucket, durations count as spread evenly.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let total = self.total();
        let wanted = quantile * total as f64;
        let mut below = 0.0;
        for (index, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = *count as f64;
            if below + count >= wanted {
                let (from, to) = (start(index) as f64, start(index + 1) as f64);
                return (from + (to - from) * ((wanted - below) / count)) / 1e6;
            }
            below += count;
        }
        0.0
    }

    /// Returns upper bounds in seconds, each with how many durations were below it.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let below = |bits: u32| -> u64 { self.0[..bucket(1 << bits)].iter().sum() };
        PUBLIC_BITS.map(|bits| ((1_u64 << bits) as f64 / 1e9, below(bits))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buckets are contiguous, and each holds its own start.
    #[test]
    fn every_bucket_holds_its_start_and_ends_where_the_next_begins() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(start(index)), index, "start of bucket {index}");
            if index > 0 {
                assert_eq!(bucket(start(index) - 1), index - 1, "before bucket {index}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    /// Quantiles of a known distribution are within a bucket's width of the truth.
    #[test]
    fn quantiles_are_within_a_buckets_width() {
        let mut counts = Counts::default();
        for micros in 1..=10_000 {
            counts.record(Duration::from_micros(micros), 1);
        }
        for quantile in [0.5, 0.75, 0.95, 0.99, 0.999] {
            let (truth, found) = (quantile * 10.0, counts.quantile_ms(quantile));
            assert!((found - truth).abs() / truth < 0.07, "{quantile}: {found} for {truth}");
        }
        assert!(Counts::default().quantile_ms(0.99).abs() < f64::EPSILON);
    }

    /// Public buckets are cumulative and hold everything that is not longer than the last bound.
    #[test]
    fn public_buckets_are_cumulative() {
        let mut counts = Counts::default();
        counts.record(Duration::from_millis(1), 3);
        counts.record(Duration::from_secs(1), 2);
        let cumulative = counts.cumulative();
        assert!(cumulative.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert_eq!(cumulative.last().map(|last| last.1), Some(5));
    }
}
