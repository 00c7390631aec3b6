//! The rules of groups: committed offsets, and who owns what.
//!
//! Commits to one place come from one process after the other, each larger than the last; so what a
//! group is told is at least the largest that was accepted before it asked. But a commit that nobody
//! answered may be carried out at any later time, when a halted broker finds it in its socket: to be
//! told such an offset is no regression.
//!
//! A coordinator that was deposed and has not heard of it answers who is no member from its memory, as
//! Kafka's does: what it says was true once. So less is asked of such answers: at least what had been
//! accepted when all brokers last agreed on who leads what.

use std::collections::{BTreeSet, HashMap};

use super::{Findings, Rule};
use crate::cluster::history::Place;

/// A committed offset that is not there.
const NONE: i64 = -1;

#[derive(Debug)]
struct Committed {
    accepted_max: i64,
    /// The same, when the cluster was last at rest.
    accepted_at_rest: i64,
    /// Tried, and not answered until now.
    unanswered: BTreeSet<i64>,
}

impl Default for Committed {
    fn default() -> Self {
        Self { accepted_max: NONE, accepted_at_rest: NONE, unanswered: BTreeSet::new() }
    }
}

/// What the groups of a history did.
#[derive(Debug, Default)]
pub(super) struct Groups {
    committed: HashMap<(u16, Place), Committed>,
    /// By process, the least that it may be told.
    asked: HashMap<(u32, u16, Place), i64>,
    /// By process, the newest generation known when it asked to commit.
    committing: HashMap<(u32, u16, Place), i32>,
    newest: HashMap<u16, i32>,
    owners: HashMap<(u16, i32, Place), u32>,
}

impl Groups {
    pub(super) fn commit(
        &mut self,
        process: u32,
        group: u16,
        _generation: i32,
        place: Place,
        offset: i64,
    ) {
        let committed = self.committed.entry((group, place)).or_default();
        committed.unanswered.insert(offset);
        let newest = self.newest.get(&group).copied().unwrap_or(NONE as i32);
        self.committing.insert((process, group, place), newest);
    }

    pub(super) fn committed(
        &mut self,
        process: u32,
        group: u16,
        generation: i32,
        place: Place,
        offset: i64,
        findings: &mut Findings,
    ) {
        let newest = self.committing.remove(&(process, group, place)).unwrap_or(NONE as i32);
        if generation >= 0 && newest > generation {
            findings.add(Rule::StaleCommit, || {
                format!(
                    "group {group}, {place}: {offset} by process {process} of generation \
                     {generation}, {newest} had begun"
                )
            });
        }
        let committed = self.committed.entry((group, place)).or_default();
        committed.accepted_max = committed.accepted_max.max(offset);
        committed.unanswered.remove(&offset);
    }

    pub(super) fn ask(&mut self, process: u32, group: u16, place: Place) {
        let accepted = self.committed.get(&(group, place)).map_or(NONE, |it| it.accepted_max);
        self.asked.insert((process, group, place), accepted);
    }

    pub(super) fn peek(&mut self, process: u32, group: u16, place: Place) {
        let accepted = self.committed.get(&(group, place)).map_or(NONE, |it| it.accepted_at_rest);
        self.asked.insert((process, group, place), accepted);
    }

    pub(super) fn has_commits(&self, group: u16) -> bool {
        let mut committed = self.committed.iter();
        committed.any(|((of, _), it)| *of == group && it.accepted_max > NONE)
    }

    pub(super) fn rest(&mut self) {
        for committed in self.committed.values_mut() {
            committed.accepted_at_rest = committed.accepted_max;
        }
    }

    pub(super) fn told(
        &mut self,
        process: u32,
        group: u16,
        place: Place,
        offset: i64,
        findings: &mut Findings,
    ) {
        let accepted = self.asked.remove(&(process, group, place)).unwrap_or(NONE);
        let committed = self.committed.entry((group, place)).or_default();
        let unanswered = committed.unanswered.contains(&offset);
        if offset < accepted && !unanswered {
            findings.add(Rule::CommitRegression, || {
                format!("group {group}, {place}: told {offset}, {accepted} was accepted before")
            });
        }
        if offset > committed.accepted_max && !unanswered {
            findings.add(Rule::CommitPhantom, || {
                format!("group {group}, {place}: told {offset}, which nobody has tried")
            });
        }
    }

    pub(super) fn owns(
        &mut self,
        process: u32,
        group: u16,
        generation: i32,
        places: &[Place],
        findings: &mut Findings,
    ) {
        let newest = self.newest.entry(group).or_insert(generation);
        *newest = generation.max(*newest);
        for place in places {
            let owner = *self.owners.entry((group, generation, *place)).or_insert(process);
            if owner != process {
                findings.add(Rule::DoubleOwner, || {
                    format!("group {group}, {place}: {owner} and {process} in {generation}")
                });
            }
        }
    }
}
