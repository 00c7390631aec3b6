//! Leadership: of several operators at most one acts, and each one's term is higher than those before.
//!
//! A `coordination.k8s.io/v1` Lease says who. [`decide`] holds every decision (pure), [`record`] what stands in the
//! Lease; `candidacy` talks to the API server. Clocks of two machines are never compared: a holder is over once its
//! record has not changed for its whole duration on the clock of who looks, and it has stopped before on its own.
//!
//! The term goes with every call that changes a broker: the second of the Lease's creation times 2^20, and its
//! `leaseTransitions`, which every take-over raises. So whoever deletes the Lease has later holders in higher terms.
//! Both are of the API server, whose clock is taken to go on from one Lease to the next.

pub mod decide;
pub mod record;

use std::fmt;
use std::time::Instant;

use tokio::sync::watch;

use crate::clock::{self, Clock};

/// That this operator leads.
#[derive(Debug, Clone)]
pub struct Leadership {
    /// The fencing token: no other leader has or had it.
    pub term: u64,
    /// Who leads: the identity of this operator.
    pub holder: String,
    /// When it is over unless it is renewed. Moves on without waking who watches.
    until: Instant,
}

impl Leadership {
    /// Leadership that is over at `until` unless it is renewed.
    pub fn new(term: u64, holder: String, until: Instant) -> Self {
        Self { term, holder, until }
    }

    /// Whether it was over by `now`: who stood on it has ended.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }
}

/// The leadership of one term. Whoever writes holds one and asks it before each write.
#[derive(Debug, Clone)]
pub struct Fence {
    leadership: watch::Receiver<Option<Leadership>>,
    term: u64,
    holder: String,
    clock: Clock,
}

/// This operator does not lead any more, or in another term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the leadership of term {term} is over")]
pub struct Deposed {
    /// The term that is over.
    pub term: u64,
}

impl Fence {
    /// Returns the fence of the present term; `None` for who does not lead.
    pub fn present(leadership: &watch::Receiver<Option<Leadership>>, clock: Clock) -> Option<Self> {
        let present = leadership.borrow().clone()?;
        let fence = Self {
            leadership: leadership.clone(),
            term: present.term,
            holder: present.holder,
            clock,
        };
        fence.check().is_ok().then_some(fence)
    }

    /// The term, for calls to brokers.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The identity of this operator, for calls to brokers.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Says whether this operator still leads in this term, by its own clock: also where the loop that renews the
    /// Lease does not get to run.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), Deposed> {
        self.until().map(|_| ()).ok_or(Deposed { term: self.term })
    }

    /// Waits until the term is over. Cancel-safe.
    pub async fn lost(&self) {
        let mut leadership = self.leadership.clone();
        while let Some(until) = self.until() {
            tokio::select! {
                changed = leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = clock::sleep_until(until) => {}
            }
        }
    }

    fn until(&self) -> Option<Instant> {
        let leadership = self.leadership.borrow();
        let present = leadership.as_ref().filter(|present| present.term == self.term)?;
        (self.clock.now() < present.until).then_some(present.until)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in term {}", self.holder, self.term)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lead(clock: Clock, term: u64, seconds: u64) -> Leadership {
        Leadership::new(term, "a".to_owned(), clock.now() + Duration::from_secs(seconds))
    }

    /// A fence holds for its term and for as long as the term was promised, whoever says so.
    #[tokio::test(start_paused = true)]
    async fn a_fence_falls_with_its_term_or_its_time() {
        let clock = Clock::system();
        let (sender, receiver) = watch::channel(None);
        assert!(Fence::present(&receiver, clock).is_none());
        sender.send_replace(Some(lead(clock, 3, 10)));
        let fence = Fence::present(&receiver, clock).unwrap();
        assert_eq!((fence.term(), fence.check()), (3, Ok(())));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(fence.check(), Ok(()));
        // Nobody said that it is over: the clock did.
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(fence.check(), Err(Deposed { term: 3 }));
        fence.lost().await;
        sender.send_replace(Some(lead(clock, 4, 10)));
        assert_eq!(fence.check(), Err(Deposed { term: 3 }));
        assert_eq!(Fence::present(&receiver, clock).unwrap().term(), 4);
    }

    /// Who waits for the end sees a renewal that woke nobody.
    #[tokio::test(start_paused = true)]
    async fn a_renewal_moves_the_end() {
        let clock = Clock::system();
        let (sender, receiver) = watch::channel(Some(lead(clock, 1, 10)));
        let fence = Fence::present(&receiver, clock).unwrap();
        let start = clock.now();
        let later = lead(clock, 1, 25);
        sender.send_if_modified(|present| {
            *present = Some(later);
            false
        });
        fence.lost().await;
        assert_eq!(clock.now().duration_since(start).as_secs(), 25);
    }
}
