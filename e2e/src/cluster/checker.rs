//! The rules that a history must keep, after the Kafka workload of Jepsen (`jepsen.tests.kafka`).
//!
//! A history is read once, an event at a time; what takes room is two numbers a record (the value at
//! each offset, the offset of each value), so that millions of records are cheap. Rules that need the
//! whole history are applied by [`Checker::finish`].
//!
//! Evidence of what stands at an offset is an acknowledgement (`acks=all`) or a read below the high
//! watermark: both promise that it stays there. A send that nobody answered may have happened or not
//! and obliges to nothing.

mod groups;
mod partition;
pub mod replicas;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result};

use self::groups::Groups;
use self::partition::Partition;
use super::history::{Event, Place, What};

/// A rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Two values at one offset of one partition.
    InconsistentOffsets,
    /// One value at two offsets.
    Duplicate,
    /// A value was acknowledged, later ones were read, it was not.
    LostWrite,
    /// A value was acknowledged and never read, nor any after it.
    Unseen,
    /// A read went on beyond values that it had to return.
    PollSkip,
    /// A read returned what the process had read before, or what stood before it.
    NonmonotonicPoll,
    /// A later value of a writer stands before an earlier one.
    NonmonotonicSend,
    /// A value was read that nobody sent.
    Phantom,
    /// A value was read whose writer was told that it had not been appended.
    RefusedRead,
    /// A value was acknowledged at an offset that was known before it was sent.
    OffsetKnownBefore,
    /// A group was told a smaller committed offset than one that was accepted before it asked.
    CommitRegression,
    /// A group was told a committed offset that nobody had tried to commit.
    CommitPhantom,
    /// Two members owned a partition in one generation.
    DoubleOwner,
    /// A commit of an old generation was accepted after a member had joined a newer one.
    StaleCommit,
    /// Replicas hold different batches at an offset below the high watermark.
    Diverged,
    /// A partition did not accept `acks=all` in time after every fault had been mended.
    Unavailable,
    /// A replica was not in sync in time after every fault had been mended.
    NotWhole,
    /// A client was answered what no fault explains.
    UnexpectedAnswer,
    /// A process ended that no fault had ended.
    UnexpectedEnd,
    /// A topic's records were read from a topic of the same name made after its deletion.
    Resurrected,
    /// A topic that was made is not there at rest, or one that was deleted is.
    AdminLost,
    /// A replica in sync began a leader's epoch without all that was committed.
    LacksCommitted,
    /// Who belongs to an earlier term or life was obeyed.
    FenceBroken,
    /// What an administrator asked for was not done.
    Undone,
    /// A broker of Kafka complained of what it never complains of among its own kind.
    ForeignComplaint,
}

/// The rules and their names in histories and reports.
const NAMES: [(Rule, &str); 25] = [
    (Rule::InconsistentOffsets, "inconsistent-offsets"),
    (Rule::Duplicate, "duplicate"),
    (Rule::LostWrite, "lost-write"),
    (Rule::Unseen, "unseen"),
    (Rule::PollSkip, "poll-skip"),
    (Rule::NonmonotonicPoll, "nonmonotonic-poll"),
    (Rule::NonmonotonicSend, "nonmonotonic-send"),
    (Rule::Phantom, "phantom"),
    (Rule::RefusedRead, "refused-read"),
    (Rule::OffsetKnownBefore, "offset-known-before"),
    (Rule::CommitRegression, "commit-regression"),
    (Rule::CommitPhantom, "commit-phantom"),
    (Rule::DoubleOwner, "double-owner"),
    (Rule::StaleCommit, "stale-commit"),
    (Rule::Diverged, "diverged"),
    (Rule::Unavailable, "unavailable"),
    (Rule::NotWhole, "not-whole"),
    (Rule::UnexpectedAnswer, "unexpected-answer"),
    (Rule::UnexpectedEnd, "unexpected-end"),
    (Rule::Resurrected, "resurrected"),
    (Rule::AdminLost, "admin-lost"),
    (Rule::LacksCommitted, "lacks-committed"),
    (Rule::FenceBroken, "fence-broken"),
    (Rule::Undone, "undone"),
    (Rule::ForeignComplaint, "foreign-complaint"),
];

/// How many cases of one rule are told in words; the others are counted.
const TOLD_MAX: usize = 10;

/// One case of a broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Where and what, for a person.
    pub what: String,
}

/// The broken rules so far.
#[derive(Debug, Default)]
pub struct Findings {
    told: Vec<Violation>,
    counts: BTreeMap<Rule, usize>,
}

impl Findings {
    fn add(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= TOLD_MAX {
            self.told.push(Violation { rule, what: what() });
        }
    }
}

/// What a history has shown so far.
#[derive(Debug, Default)]
pub struct Checker {
    partitions: HashMap<Place, Partition>,
    groups: Groups,
    findings: Findings,
}

impl Checker {
    /// Takes the next event.
    pub fn observe(&mut self, event: &Event) {
        let findings = &mut self.findings;
        let process = event.process;
        match &event.what {
            What::Send(place, values) => self.partition(*place).send(*values),
            What::Sent(place, values, offset) => {
                let partition = self.partitions.entry(*place).or_default();
                partition.sent(*place, *values, *offset, findings);
            }
            What::Refused(place, values) => self.partition(*place).refused(*values),
            What::Seek(place) => self.partition(*place).seek(process),
            What::Audit(place) => self.partition(*place).audit(process),
            What::Audited(place) => {
                let partition = self.partitions.entry(*place).or_default();
                partition.audited(*place, process, findings);
            }
            What::Poll(place, next, runs) => {
                let partition = self.partitions.entry(*place).or_default();
                partition.poll(*place, process, *next, runs, findings);
            }
            What::Commit(group, generation, place, offset) => {
                self.groups.commit(process, *group, *generation, *place, *offset);
            }
            What::Committed(group, generation, place, offset) => {
                self.groups.committed(process, *group, *generation, *place, *offset, findings);
            }
            What::Ask(group, place) => self.groups.ask(process, *group, *place),
            What::Peek(group, place) => self.groups.peek(process, *group, *place),
            What::Rest => self.groups.rest(),
            What::Told(group, place, offset) => {
                self.groups.told(process, *group, *place, *offset, findings);
            }
            What::Owns(group, generation, places) => {
                self.groups.owns(process, *group, *generation, places, findings);
            }
            What::Wrong(rule, text) => findings.add(*rule, || text.clone()),
            What::Note(_) => {}
        }
    }

    fn partition(&mut self, place: Place) -> &mut Partition {
        self.partitions.entry(place).or_default()
    }

    /// Applies the rules that need the whole history and returns every case that is told in words.
    pub fn finish(&mut self) -> Vec<Violation> {
        let mut places: Vec<_> = self.partitions.iter_mut().collect();
        places.sort_by_key(|(place, _)| **place);
        for (place, partition) in places {
            partition.finish(*place, &mut self.findings);
        }
        self.findings.told.clone()
    }

    /// The cases so far that are told in words.
    pub fn told(&self) -> &[Violation] {
        &self.findings.told
    }

    /// How often each rule was broken so far.
    pub fn counts(&self) -> &BTreeMap<Rule, usize> {
        &self.findings.counts
    }

    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.partitions.values().map(|partition| partition.acknowledged).sum()
    }

    /// Acknowledged records that were read too.
    pub fn verified(&self) -> u64 {
        self.partitions.values().map(Partition::verified).sum()
    }

    /// Whether an offset of a group was committed.
    pub fn has_commits(&self, group: u16) -> bool {
        self.groups.has_commits(group)
    }

    /// The offset after the last that is known in a partition.
    pub fn known_end(&self, place: Place) -> i64 {
        self.partitions.get(&place).map_or(0, Partition::known_end)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(rule, _)| rule == self).map_or("unnamed", |(_, name)| name);
        f.pad(name)
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        Ok(found.with_context(|| format!("no rule {text}"))?.0)
    }
}
