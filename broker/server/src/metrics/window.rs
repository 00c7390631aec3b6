//! Differences over recent time from counts that only grow.
//!
//! Readings are kept at the pace of scrapes but at least [`Window::step`] apart, so that several
//! scrapers share one window and none shortens it for another.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Readings of the last `length`, at least `step` apart.
#[derive(Debug)]
pub(super) struct Window<T> {
    length: Duration,
    step: Duration,
    readings: VecDeque<(Instant, T)>,
}

impl<T: Clone> Window<T> {
    /// Makes a window without readings.
    pub(super) fn new(length: Duration, step: Duration) -> Self {
        Self { length, step, readings: VecDeque::new() }
    }

    /// Adds a reading and returns the one to compare it with: the youngest that is at least
    /// `length` old, else the oldest there is, else nothing.
    pub(super) fn turn(&mut self, now: Instant, reading: &T) -> Option<(Instant, T)> {
        while let Some((second, _)) = self.readings.get(1)
            && now.duration_since(*second) >= self.length
        {
            self.readings.pop_front();
        }
        let before = self.readings.front().cloned();
        let is_due = |(last, _): &(Instant, T)| now.duration_since(*last) >= self.step;
        if self.readings.back().is_none_or(is_due) {
            self.readings.push_back((now, reading.clone()));
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    /// A frequent scraper does not shorten the window, and old readings go.
    #[test]
    fn the_window_keeps_its_length_whoever_scrapes() {
        let start = SystemClock.now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(Duration::from_mins(1), Duration::from_secs(10));
        assert_eq!(window.turn(at(0), &0), None);
        for second in 1..=300_u64 {
            let (_, before) = window.turn(at(second), &second).unwrap();
            assert!(second - before <= 70, "{second} is compared with {before}");
            assert!(second < 60 || second - before >= 60, "{second} is compared with {before}");
        }
        assert!(window.readings.len() <= 8);
    }
}
