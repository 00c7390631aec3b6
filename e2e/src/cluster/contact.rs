//! Whom faults have kept from ZooKeeper: what others did there since it may not know yet, and that is no fault
//! of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::deadline::Stopwatch;

/// Each broker's contact with ZooKeeper, and, last, everyone's.
#[derive(Debug)]
pub struct Contact(Vec<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many faults are in the way.
    gaps: u32,
    /// Since the end of the last one.
    since: Option<Stopwatch>,
}

/// A fault that keeps somebody from ZooKeeper, until it is dropped.
#[derive(Debug)]
pub struct Gap<'a>(&'a Mutex<State>);

impl Contact {
    /// Nobody of `brokers` is kept from it.
    pub fn new(brokers: usize) -> Self {
        Self((0..=brokers).map(|_| Mutex::default()).collect())
    }

    /// A fault is about to keep broker `index` from ZooKeeper, or everyone with an index that no broker has.
    pub fn gap(&self, index: usize) -> Gap<'_> {
        let state = &self.0[index.min(self.0.len() - 1)];
        locked(state).gaps += 1;
        Gap(state)
    }

    /// Whether nothing has kept broker `index` from ZooKeeper now and for `time`.
    pub fn is_sure(&self, index: usize, time: Duration) -> bool {
        let mut both = [self.0.get(index), self.0.last()].into_iter().flatten();
        both.all(|state| {
            let state = locked(state);
            state.gaps == 0 && state.since.is_none_or(|since| since.elapsed() >= time)
        })
    }
}

impl Drop for Gap<'_> {
    fn drop(&mut self) {
        let mut state = locked(self.0);
        state.gaps -= 1;
        state.since = Some(Stopwatch::start());
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn contact_is_unsure_from_the_first_fault_until_a_while_after_the_last() {
        let contact = Contact::new(2);
        assert!(contact.is_sure(0, LONG), "nothing was in the way ever");
        let (first, second) = (contact.gap(0), contact.gap(0));
        assert!(contact.is_sure(1, LONG), "it is another's");
        drop(first);
        assert!(!contact.is_sure(0, Duration::ZERO), "one is left");
        drop(second);
        assert!(contact.is_sure(0, Duration::ZERO));
        assert!(!contact.is_sure(0, LONG));
    }

    #[test]
    fn an_ensemble_that_is_hit_is_everyones_fault() {
        let contact = Contact::new(2);
        let gap = contact.gap(2);
        assert!([0, 1].into_iter().all(|index| !contact.is_sure(index, Duration::ZERO)));
        drop(gap);
        assert!([0, 1].into_iter().all(|index| contact.is_sure(index, Duration::ZERO)));
    }
}
