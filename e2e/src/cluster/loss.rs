//! Disks that were lost at once, and what that excuses: a leader that finds such a broker in the ISR
//! without committed records says so, from the loss until all replicas are in sync again.
//!
//! "When" is how far each broker's log had been written: what stands before that was said before.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One disk's loss.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Loss {
    /// Whose disk it was.
    broker: i32,
    /// How long each broker's log was then.
    from: Vec<u64>,
    /// And when all replicas were in sync again.
    to: Option<Vec<u64>>,
}

/// The disks that a run has lost at once.
#[derive(Debug, Default)]
pub struct Losses(Mutex<Vec<Loss>>);

impl Losses {
    fn lock(&self) -> MutexGuard<'_, Vec<Loss>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a loss is not made good yet.
    pub fn is_open(&self) -> bool {
        self.lock().iter().any(|loss| loss.to.is_none())
    }

    /// The disk of `broker` is lost, unless one is that is not made good; `logs` are the lengths of all
    /// brokers' logs. Returns whether this is so.
    pub fn begin(&self, broker: i32, logs: Vec<u64>) -> bool {
        let mut all = self.lock();
        let is_first = all.iter().all(|loss| loss.to.is_some());
        if is_first {
            all.push(Loss { broker, from: logs, to: None });
        }
        is_first
    }

    /// Takes back what [`Losses::begin`] said: the disk is there still.
    pub fn forget(&self) {
        self.lock().retain(|loss| loss.to.is_some());
    }

    /// All replicas are in sync.
    pub fn made_good(&self, logs: &[u64]) {
        for loss in self.lock().iter_mut().filter(|loss| loss.to.is_none()) {
            loss.to = Some(logs.to_vec());
        }
    }

    /// Whether a loss explains `line`, which begins at byte `at` of the log of broker number `index`.
    pub fn explain(&self, index: usize, at: u64, line: &str) -> bool {
        self.lock().iter().any(|loss| {
            let of_it =
                line.split_whitespace().any(|word| word == format!("broker={}", loss.broker));
            let begun = loss.from.get(index).is_some_and(|from| *from <= at);
            let over = loss.to.as_ref().and_then(|to| to.get(index)).is_some_and(|to| *to <= at);
            of_it && begun && !over
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "a replica in sync lacks committed records partition=t-0 broker=2 offset=7";

    #[test]
    fn a_loss_explains_what_is_said_of_its_broker_until_it_is_made_good() {
        let losses = Losses::default();
        assert!(!losses.explain(0, 50, SAID), "no disk was lost");
        assert!(losses.begin(2, vec![100, 0, 300]));
        assert!(losses.explain(0, 100, SAID) && losses.explain(2, 300, SAID));
        assert!(!losses.explain(0, 99, SAID), "it was said before");
        assert!(!losses.explain(2, 299, SAID), "it was said before");
        let other = SAID.replace("broker=2", "broker=21");
        assert!(!losses.explain(0, 100, &other), "it is said of another");
        losses.made_good(&[200, 0, 300]);
        assert!(losses.explain(0, 199, SAID));
        assert!(!losses.explain(0, 200, SAID), "the loss was made good");
        assert!(!losses.explain(2, 300, SAID), "the loss was made good");
    }

    #[test]
    fn one_disk_is_lost_at_a_time_and_one_that_stayed_explains_nothing() {
        let losses = Losses::default();
        assert!(losses.begin(1, vec![0]) && losses.is_open());
        assert!(!losses.begin(2, vec![0]));
        losses.forget();
        assert!(!losses.is_open() && !losses.explain(0, 5, "broker=1"));
        assert!(losses.begin(2, vec![0]));
        losses.made_good(&[9]);
        assert!(losses.begin(1, vec![9]), "the next storm may have its own");
    }
}
