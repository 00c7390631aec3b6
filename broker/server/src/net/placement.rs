//! Which network thread a connection lives on. Pure: time and the threads' work are told.
//!
//! Connections keep to few threads while those have time: a request that others wait for (a producer's, for
//! the followers and the consumers of its partition) then wakes nobody, and what came meanwhile is
//! handled in one go. Time is cut into rounds by the connections that are at work; where nobody is, nothing
//! is looked at. At the end of a round it is decided who gives how many connections to whom: a thread without
//! time to the one with most; where none is short of time, threads to lower-numbered ones that have room.
//! Connections that serve take part in that, one after the other, until enough have; one that has moved
//! rests, so that a greedy one leaves its neighbours or they leave it, and not both in turn.

use std::time::{Duration, Instant};

/// The shortest round. Long enough that a burst of a few milliseconds is none.
const ROUND: Duration = Duration::from_millis(200);

/// Rounds that a connection stays where it went.
const REST: u64 = 5;

/// A thread that works for this share of a round gives connections away. What counts is the time in which it
/// did not wait for work; where cores are short that is more than it had one, so it is near to all.
const BUSY: f64 = 0.9;

/// Threads that together work less than this share of one become one. So far below [`BUSY`] that what comes
/// together is not taken apart again; that it costs more apart keeps them apart as well.
const ROOM: f64 = 0.75;

/// Threads whose shares differ by less are equally busy.
const LEVEL: f64 = 0.2;

/// A connection's place.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The thread that it lives on, or goes to.
    pub(crate) thread: usize,
    /// When it takes part next.
    next: Instant,
    /// The last round in which it was counted.
    counted: u64,
    /// The round up to which it stays.
    rests: u64,
}

impl Seat {
    /// Whether [`Placement::moves`] is to be asked.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }
}

/// What is known of the threads, and who is to move.
#[derive(Debug)]
pub(crate) struct Placement {
    threads: Vec<Thread>,
    round: u64,
    began: Instant,
}

/// What a thread has done since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Worked {
    /// How long it worked. What it is at now, a call to a disk that hangs for one, comes to that when it is done.
    pub(crate) time: Duration,
    /// How often it began to wait for work or ended that: odd while it waits.
    pub(crate) waits: u64,
}

impl Worked {
    /// The share of the `passed` time that it worked since `before`.
    fn share_since(&self, before: &Self, passed: Duration) -> f64 {
        if self.waits == before.waits && self.waits.is_multiple_of(2) {
            return 1.0;
        }
        let worked = self.time.saturating_sub(before.time).as_secs_f64();
        if passed.is_zero() { 0.0 } else { (worked / passed.as_secs_f64()).min(1.0) }
    }
}

#[derive(Debug, Default)]
struct Thread {
    /// When the round began.
    worked: Worked,
    /// The share of the last round that it worked.
    share: f64,
    /// Connections that served in this round.
    serving: usize,
    /// How many of them are still to go, and where.
    giving: Option<Giving>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Giving {
    to: usize,
    count: usize,
}

impl Placement {
    pub(crate) fn new(threads: usize, now: Instant) -> Self {
        let threads = std::iter::repeat_with(Thread::default).take(threads.max(1)).collect();
        Self { threads, round: 1, began: now }
    }

    /// Whether the round is over and [`Self::turn`] is due.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= ROUND
    }

    /// Begins a round: `worked` is what each thread has done.
    pub(crate) fn turn(&mut self, now: Instant, worked: impl Iterator<Item = Worked>) {
        let passed = now.saturating_duration_since(self.began);
        for (thread, worked) in self.threads.iter_mut().zip(worked) {
            thread.share = worked.share_since(&thread.worked, passed);
            thread.worked = worked;
        }
        let loads: Vec<_> = self.threads.iter().map(|it| (it.share, it.serving)).collect();
        for (thread, giving) in self.threads.iter_mut().zip(decide(&loads)) {
            thread.giving = giving;
            thread.serving = 0;
        }
        self.round += 1;
        self.began = now;
    }

    /// Returns a place for a new connection: on the first thread that has room, or else most time.
    pub(crate) fn seat(&self, now: Instant) -> Seat {
        let roomy = self.threads.iter().position(|it| it.share < ROOM);
        let share = |thread: &usize| self.threads[*thread].share;
        let freest = || (0..self.threads.len()).min_by(|a, b| share(a).total_cmp(&share(b)));
        let thread = roomy.or_else(freest).unwrap_or_default();
        Seat { thread, next: now, counted: 0, rests: 0 }
    }

    /// Counts the connection of `seat` as one that serves; returns whether it is to go to another thread,
    /// which its seat then names.
    pub(crate) fn moves(&mut self, seat: &mut Seat, now: Instant) -> bool {
        seat.next = now + ROUND;
        let thread = &mut self.threads[seat.thread];
        if seat.counted < self.round {
            seat.counted = self.round;
            thread.serving += 1;
        }
        let Some(giving) = &mut thread.giving else { return false };
        if giving.count == 0 || seat.rests >= self.round {
            return false;
        }
        giving.count -= 1;
        seat.thread = giving.to;
        seat.rests = self.round + REST;
        true
    }
}

/// Says what each thread gives away, by the share of time that it worked and the connections that it served.
fn decide(loads: &[(f64, usize)]) -> Vec<Option<Giving>> {
    let mut by_share: Vec<usize> = (0..loads.len()).collect();
    by_share.sort_by(|a, b| loads[*b].0.total_cmp(&loads[*a].0));
    if by_share.first().is_some_and(|busiest| loads[*busiest].0 >= BUSY) {
        return spread(loads, &by_share);
    }
    gather(loads)
}

/// The busiest thread gives to the one with most time, the next busy one to the next.
fn spread(loads: &[(f64, usize)], by_share: &[usize]) -> Vec<Option<Giving>> {
    let mut givings = vec![None; loads.len()];
    for (&from, &to) in by_share.iter().zip(by_share.iter().rev()) {
        let ((share, serving), (other, _)) = (loads[from], loads[to]);
        if share < BUSY || share - other < LEVEL {
            break;
        }
        // As many as level the two, if all cost the same. Half a connection is none: one that is alone on its
        // thread would be as alone on the other.
        let count = (serving as f64 * (share - other) / (2.0 * share) + 0.4) as usize;
        givings[from] = (count > 0).then_some(Giving { to, count });
    }
    givings
}

/// The last threads give all they have to the first ones with room for it.
fn gather(loads: &[(f64, usize)]) -> Vec<Option<Giving>> {
    let mut shares: Vec<f64> = loads.iter().map(|(share, _)| *share).collect();
    let mut givings = vec![None; loads.len()];
    for (from, (share, serving)) in loads.iter().enumerate().rev().filter(|(_, load)| load.1 > 0) {
        if let Some(to) = (0..from).find(|to| shares[*to] + share < ROOM) {
            shares[to] += share;
            givings[from] = Some(Giving { to, count: *serving });
        }
    }
    givings
}

#[cfg(test)]
mod tests;
