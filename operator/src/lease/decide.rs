//! Every decision of the election, pure: what was seen of the Lease, when by our own clock, what to do next.
//!
//! One candidate is `leading` only for `renew_within` from the moment that it *sent* the last write that is known to
//! have been made. Another takes over only after the record was the same for `duration` from the moment that it
//! *received* it, which is later. Hence
//!
//! ```text
//! renew_within * (1 + drift) < duration * (1 - drift)
//! ```
//!
//! is enough for one leader at most, whatever the offsets of clocks are and however late a write arrives: every write
//! names the version that it replaces.
//!
//! A write without an answer may have been made. It counts from when it was sent, once it is read back.

use std::time::{Duration, Instant};

/// How long leadership lasts and how often it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long others leave an unchanged record alone.
    pub duration: Duration,
    /// How long a renewal makes its holder the leader.
    pub renew_within: Duration,
    /// From one renewal, or look at the record, to the next.
    pub retry: Duration,
    /// How long an answer is waited for.
    pub request: Duration,
}

impl Default for Timing {
    /// Those of Kubernetes' own controllers. Two requests without an answer leave time for a third.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_within: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            request: Duration::from_secs(3),
        }
    }
}

/// What stands in the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when it was given back.
    pub holder: String,
    /// For how long it is to be left alone.
    pub duration: Duration,
    /// When it was taken, in microseconds of its holder's wall clock. Told, never compared.
    pub acquired: i64,
    /// When it was renewed, likewise. Rises with each renewal, so that each makes another record.
    pub renewed: i64,
    /// `leaseTransitions`, raised by every take-over.
    pub transitions: u64,
}

/// A record with the object that it stood in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What stood there.
    pub record: Record,
    /// Which object.
    pub lease: Identity,
}

/// One version of one Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The `resourceVersion`.
    pub version: String,
    /// When the Lease was created, in seconds of the server's clock; 0 where it does not say.
    pub created: u64,
}

/// Bits of a term that count take-overs: a million of them in one Lease, before one that is created a second later.
const TRANSITION_BITS: u32 = 20;

/// Returns the term of who holds the Lease that was created at `created`: higher than any before in that Lease, and than
/// any in one that was created before.
fn term(created: u64, transitions: u64) -> u64 {
    (created << TRANSITION_BITS).saturating_add(transitions)
}

/// A record to be written, over the version that was seen or, without one, where there is no Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What is to stand there.
    pub record: Record,
    /// What it replaces.
    pub over: Option<String>,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was made, and this is what it made.
    Written(Identity),
    /// Something else was there. Where a proxy or client repeated the request, that may have been this very write.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the Lease.
    Read,
    /// Write it.
    Write(Write),
    /// Nothing before this time.
    Wait(Instant),
}

/// One who would lead, with all that it knows.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    timing: Timing,
    /// What was read or written last, and since when the record is known.
    known: Option<(Observed, Instant)>,
    /// Whether it must be read before anything is decided by it.
    stale: bool,
    /// Whether it was not there when it was read last.
    absent: bool,
    held: Option<Held>,
    /// The last write that may have been made, and when it was sent.
    attempt: Option<(Record, Instant)>,
    /// Nothing is done before.
    next: Option<Instant>,
    /// The most `leaseTransitions` ever seen.
    highest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    created: u64,
    transitions: u64,
    until: Instant,
}

impl Candidate {
    /// One who knows nothing yet. No other may have its identity, not even its own process after a restart.
    pub fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            known: None,
            stale: true,
            absent: false,
            held: None,
            attempt: None,
            next: None,
            highest: 0,
        }
    }

    /// Returns the term and the end of what this candidate leads, unless it does not.
    pub fn leading(&self, now: Instant) -> Option<(u64, Instant)> {
        let held = self.held.filter(|held| now < held.until)?;
        Some((term(held.created, held.transitions), held.until))
    }

    /// Returns who holds the Lease, as far as it is known.
    pub fn holder(&self) -> Option<&str> {
        self.known.as_ref().map(|(observed, _)| observed.record.holder.as_str())
    }

    /// Says what to do next. `wall` is the wall clock in microseconds.
    pub fn step(&mut self, now: Instant, wall: i64) -> Step {
        self.expire(now);
        if let Some(next) = self.next.filter(|next| now < *next) {
            return Step::Wait(self.held.map_or(next, |held| next.min(held.until)));
        }
        if self.stale {
            return Step::Read;
        }
        let write = match self.held {
            Some(held) => self.known.as_ref().map(|(observed, _)| {
                let renewed = wall.max(observed.record.renewed + 1);
                let duration = self.timing.duration;
                let record = Record { duration, renewed, ..observed.record.clone() };
                debug_assert_eq!(
                    record.transitions, held.transitions,
                    "only what is held is renewed"
                );
                Write { record, over: Some(observed.lease.version.clone()) }
            }),
            None => self.free_at(now).is_none().then(|| self.take(wall)),
        };
        if let Some(write) = write {
            return Step::Write(write);
        }
        // Read again before it is taken: a renewal may come until the last moment.
        let again = now + self.timing.retry;
        let next = self.free_at(now).map_or(again, |free| free.min(again));
        (self.stale, self.next) = (true, Some(next));
        Step::Wait(next)
    }

    /// Takes in what was read: `None` where there is no Lease.
    pub fn read(&mut self, seen: Option<Observed>, now: Instant) {
        self.expire(now);
        (self.stale, self.next) = (false, None);
        self.absent = seen.is_none();
        let Some(seen) = seen else {
            // Somebody deleted it. Anybody may make another, so nobody leads by it.
            self.held = None;
            return;
        };
        self.highest = self.highest.max(seen.record.transitions);
        if let Some((record, sent)) = self.attempt.as_ref()
            && *record == seen.record
        {
            let until = *sent + self.timing.renew_within;
            self.held =
                self.hold(record, seen.lease.created, until).filter(|held| now < held.until);
            self.attempt = None;
        }
        // One that was deleted and made again of a copy is another.
        let is_ours = |held: &Held| {
            seen.record.holder == self.identity
                && seen.record.transitions == held.transitions
                && seen.lease.created == held.created
        };
        self.held = self.held.filter(is_ours);
        match &mut self.known {
            // Whoever changes a label renews nothing.
            Some((known, _)) if known.record == seen.record => known.lease = seen.lease,
            known => *known = Some((seen, now)),
        }
    }

    /// Takes in that nothing could be read.
    pub fn unread(&mut self, now: Instant) {
        (self.stale, self.next) = (true, Some(now + self.timing.retry / 2));
    }

    /// Takes in what became of a write that was sent at `sent`.
    pub fn answered(&mut self, write: Write, sent: Instant, answer: Answer, now: Instant) {
        match answer {
            Answer::Written(lease) => {
                let until = sent + self.timing.renew_within;
                self.held = self.hold(&write.record, lease.created, until);
                self.highest = self.highest.max(write.record.transitions);
                self.known = Some((Observed { record: write.record, lease }, now));
                (self.attempt, self.absent, self.stale) = (None, false, false);
                self.next = Some(now + self.timing.retry);
            }
            Answer::Refused => {
                self.attempt = Some((write.record, sent));
                // Soon, but not in a circle with a server that refuses everything.
                (self.stale, self.next) = (true, Some(now + self.timing.retry / 8));
            }
            Answer::Unknown => {
                self.attempt = Some((write.record, sent));
                self.unread(now);
            }
        }
        self.expire(now);
    }

    /// Stops leading and returns what tells others that they need not wait; `None` for who does not lead.
    pub fn resign(&mut self, now: Instant, wall: i64) -> Option<Write> {
        self.expire(now);
        self.held.take()?;
        let (observed, _) = self.known.as_ref()?;
        let renewed = wall.max(observed.record.renewed + 1);
        let record = Record { holder: String::new(), renewed, ..observed.record.clone() };
        Some(Write { record, over: Some(observed.lease.version.clone()) })
    }

    fn expire(&mut self, now: Instant) {
        if self.held.is_some_and(|held| now >= held.until) {
            self.held = None;
            // Others may have written meanwhile.
            self.stale = true;
        }
    }

    fn hold(&self, record: &Record, created: u64, until: Instant) -> Option<Held> {
        let held = Held { created, transitions: record.transitions, until };
        (record.holder == self.identity).then_some(held)
    }

    /// When the Lease may be taken; `None` is at once.
    fn free_at(&self, now: Instant) -> Option<Instant> {
        let (Observed { record, .. }, since) = self.known.as_ref()?;
        if record.holder.is_empty() {
            return None;
        }
        // Also one that is gone: who held it may not know yet.
        let free = *since + record.duration.max(self.timing.duration);
        (now < free).then_some(free)
    }

    fn take(&self, wall: i64) -> Write {
        let known = self.known.as_ref().filter(|_| !self.absent).map(|(observed, _)| observed);
        let renewed = known.map_or(wall, |known| wall.max(known.record.renewed + 1));
        let record = Record {
            holder: self.identity.clone(),
            duration: self.timing.duration,
            acquired: wall,
            renewed,
            transitions: self.highest + 1,
        };
        Write { record, over: known.map(|known| known.lease.version.clone()) }
    }
}

#[cfg(test)]
mod tests;
