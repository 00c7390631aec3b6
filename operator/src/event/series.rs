//! Which event is new, which one is only counted, and when a count is told. Pure and bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What has not happened for this long is new when it happens again.
const OVER: Duration = Duration::from_mins(15);

/// How often a count is told: more often than the API server forgets events, which it does after an hour.
const BETWEEN: Duration = Duration::from_mins(10);

/// How long a new event may take to be written.
const WRITING: Duration = Duration::from_secs(10);

/// As many are remembered; of more, the one that happened longest ago is forgotten.
const MOST: usize = 1_000;

/// Everything that happened lately.
#[derive(Debug)]
pub(super) struct Series<K> {
    lately: HashMap<K, Entry>,
    /// Of all that were new.
    number: u64,
}

#[derive(Debug)]
struct Entry {
    /// The event's name; none while it is being written.
    name: Option<String>,
    count: i32,
    last: Instant,
    told: Instant,
}

/// What to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// Nothing now: it is counted.
    Nothing,
    /// An event of its own, with a number that no other has.
    New(u64),
    /// How often it happened.
    Counted { name: String, count: i32 },
}

impl<K> Default for Series<K> {
    fn default() -> Self {
        Self { lately: HashMap::new(), number: 0 }
    }
}

impl<K: Hash + Eq + Clone> Series<K> {
    /// Takes in that `key` happened.
    pub(super) fn seen(&mut self, key: K, now: Instant) -> Tell {
        self.lately.retain(|_, entry| now.saturating_duration_since(entry.last) < OVER);
        // Whoever was to write it was stopped.
        let is_unwritten = |entry: &Entry| {
            entry.name.is_none() && now.saturating_duration_since(entry.told) > WRITING
        };
        if self.lately.get(&key).is_some_and(is_unwritten) {
            self.lately.remove(&key);
        }
        if let Some(entry) = self.lately.get_mut(&key) {
            entry.count = entry.count.saturating_add(1);
            entry.last = now;
            let is_due = now.saturating_duration_since(entry.told) >= BETWEEN;
            // The second time is told at once: that it is a series is news.
            let Some(name) = entry.name.clone().filter(|_| is_due || entry.count == 2) else {
                return Tell::Nothing;
            };
            entry.told = now;
            return Tell::Counted { name, count: entry.count };
        }
        if self.lately.len() >= MOST {
            let oldest = self.lately.iter().min_by_key(|(_, entry)| entry.last);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.lately.remove(&oldest));
        }
        self.number += 1;
        self.lately.insert(key, Entry { name: None, count: 1, last: now, told: now });
        Tell::New(self.number)
    }

    /// Takes in that a new event was written under `name`.
    pub(super) fn called(&mut self, key: &K, name: String) {
        if let Some(entry) = self.lately.get_mut(key) {
            entry.name = Some(name);
        }
    }

    /// Takes in that an event could not be written.
    pub(super) fn forget(&mut self, key: &K) {
        self.lately.remove(key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "an origin of time")]

    use super::*;

    /// Once new, once a series, then only now and then; and new again after a silence.
    #[test]
    fn what_happens_again_and_again_is_told_now_and_then() {
        let (mut series, start) = (Series::default(), Instant::now());
        assert_eq!(series.seen("a", start), Tell::New(1));
        // It is not written yet.
        assert_eq!(series.seen("a", start), Tell::Nothing);
        series.forget(&"a");
        assert_eq!(series.seen("a", start), Tell::New(2));
        series.called(&"a", "a.1".to_owned());
        let told: Vec<(u64, i32)> = (1..60)
            .filter_map(|minute| match series.seen("a", start + Duration::from_mins(minute)) {
                Tell::Counted { count, .. } => Some((minute, count)),
                Tell::Nothing | Tell::New(_) => None,
            })
            .collect();
        assert_eq!(told, [(1, 2), (11, 12), (21, 22), (31, 32), (41, 42), (51, 52)]);
        assert_eq!(series.seen("a", start + Duration::from_mins(59) + OVER), Tell::New(3));
    }

    /// Whoever stops leading drops what it writes.
    #[test]
    fn what_was_not_written_is_new_again() {
        let (mut series, start) = (Series::default(), Instant::now());
        assert_eq!(series.seen("a", start), Tell::New(1));
        assert_eq!(series.seen("a", start + WRITING), Tell::Nothing);
        let later = start + WRITING + Duration::from_secs(1);
        assert_eq!(series.seen("a", later), Tell::New(2));
    }

    #[test]
    fn a_flood_of_unlike_events_is_forgotten_from_the_oldest_on() {
        let (mut series, start) = (Series::default(), Instant::now());
        for key in 0..=MOST {
            series.seen(key, start + Duration::from_millis(key as u64));
        }
        assert_eq!(series.lately.len(), MOST);
        assert!(!series.lately.contains_key(&0) && series.lately.contains_key(&1));
    }
}
