//! The rules of groups: committed offsets, and who owns what.
//!
//! Commits to one place come from one process after the other, each larger than the last; so what a
//! group is told lies between the largest that was accepted before it asked and the largest that
//! anybody has tried by then.

use std::collections::HashMap;

use super::{Findings, Rule};
use crate::cluster::history::Place;

/// A committed offset that is not there.
const NONE: i64 = -1;

#[derive(Debug, Clone, Copy)]
struct Committed {
    accepted_max: i64,
    tried_max: i64,
}

impl Default for Committed {
    fn default() -> Self {
        Self { accepted_max: NONE, tried_max: NONE }
    }
}

/// What the groups of a history did.
#[derive(Debug, Default)]
pub(super) struct Groups {
    committed: HashMap<(u16, Place), Committed>,
    /// By process, the largest accepted offset when it asked.
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
        committed.tried_max = committed.tried_max.max(offset);
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
        committed.tried_max = committed.tried_max.max(offset);
    }

    pub(super) fn ask(&mut self, process: u32, group: u16, place: Place) {
        let accepted = self.committed.get(&(group, place)).map_or(NONE, |it| it.accepted_max);
        self.asked.insert((process, group, place), accepted);
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
        let tried = self.committed.get(&(group, place)).map_or(NONE, |it| it.tried_max);
        if offset < accepted {
            findings.add(Rule::CommitRegression, || {
                format!("group {group}, {place}: told {offset}, {accepted} was accepted before")
            });
        }
        if offset > tried {
            findings.add(Rule::CommitPhantom, || {
                format!("group {group}, {place}: told {offset}, {tried} is the most that was tried")
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
