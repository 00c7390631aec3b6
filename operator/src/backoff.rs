//! How long to leave an object alone that failed: longer with each failure in a row, never for ever. Pure.
//!
//! The time doubles up to the most, and half of it is left to chance, so that objects that failed together do not come
//! back together. Bounded: only objects that failed and are still there are remembered.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// After the first failure, at most.
const FIRST: Duration = Duration::from_secs(1);

/// After any number of failures.
const MOST: Duration = Duration::from_mins(5);

/// The failures in a row of each object.
#[derive(Debug)]
pub struct BackOff<K> {
    failures: HashMap<K, u32>,
}

impl<K> Default for BackOff<K> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<K: Hash + Eq> BackOff<K> {
    /// Takes in a failure; returns how many there were in a row, and how long to wait. `chance` is in 0..1.
    pub fn failed(&mut self, key: K, chance: f64) -> (u32, Duration) {
        let failures = self.failures.entry(key).or_insert(0);
        *failures = failures.saturating_add(1);
        let doubled = FIRST.saturating_mul(1 << (*failures - 1).min(16)).min(MOST);
        (*failures, doubled.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0))
    }

    /// Takes in that an object did not fail, or is gone.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Forgets every object that is not there.
    pub fn retain(&mut self, is_there: impl Fn(&K) -> bool) {
        self.failures.retain(|key, _| is_there(key));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_most_and_begins_anew() {
        let mut back_off = BackOff::default();
        let seconds: Vec<u64> = (0..12).map(|_| back_off.failed("a", 1.0).1.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(back_off.failed("b", 0.0), (1, FIRST / 2));
        back_off.forget(&"a");
        assert_eq!(back_off.failed("a", 1.0), (1, FIRST));
        back_off.retain(|key| *key == "b");
        assert_eq!(back_off.failures.len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_wait_is_longer_than_the_most(failures in 1..200_u32, chance in 0.0..1.0_f64) {
            let mut back_off = BackOff::default();
            let last = (0..failures).map(|_| back_off.failed((), chance)).last().unwrap();
            prop_assert_eq!(last.0, failures);
            prop_assert!(last.1 <= MOST && last.1 >= FIRST / 2);
        }
    }
}
