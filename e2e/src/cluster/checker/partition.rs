//! The rules of one partition: what was sent, acknowledged and read.

use std::collections::{BTreeSet, HashMap};

use super::{Findings, Rule};
use crate::cluster::history::{Place, Values};

/// The place of a value that nobody has seen in the log.
const NOWHERE: i64 = -1;

/// No offset of a run is as large: one that is was made up.
const OFFSET_MAX: i64 = 1 << 32;

/// A writer and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    writer: u16,
    number: u32,
}

/// What became of a value.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// Where it stands, by an acknowledgement or a read.
    offset: i64,
    acknowledged: bool,
    refused: bool,
    read: bool,
}

const UNKNOWN: Fate = Fate { offset: NOWHERE, acknowledged: false, refused: false, read: false };

/// Offsets that one read passed over.
#[derive(Debug, Clone, Copy)]
struct Skip {
    process: u32,
    from: i64,
    to: i64,
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// The value at each offset that was seen.
    log: Vec<Option<Value>>,
    writers: HashMap<u16, Vec<Fate>>,
    /// By the first value of an unanswered send, the offset after the last known when it went out.
    sending: HashMap<(u16, u32), i64>,
    /// The offset after the last one that each process has read.
    positions: HashMap<u32, i64>,
    /// The processes that read all there is, and have not come to its end.
    auditing: BTreeSet<u32>,
    skips: Vec<Skip>,
    /// The offset after the largest that was read.
    read_end: i64,
    pub(super) acknowledged: u64,
}

impl Partition {
    pub(super) fn send(&mut self, values: Values) {
        let fates = self.writers.entry(values.writer).or_default();
        let end = (values.first + values.count) as usize;
        if fates.len() < end {
            fates.resize(end, UNKNOWN);
        }
        let known = self.known_end();
        self.sending.insert((values.writer, values.first), known);
    }

    pub(super) fn sent(
        &mut self,
        place: Place,
        values: Values,
        offset: i64,
        findings: &mut Findings,
    ) {
        let known_then = self.sending.remove(&(values.writer, values.first)).unwrap_or(0);
        if offset != NOWHERE && offset < known_then {
            findings.add(Rule::OffsetKnownBefore, || {
                format!("{place}: {values} at {offset}, {known_then} were known when it was sent")
            });
        }
        for number in values.first..values.first + values.count {
            let value = Value { writer: values.writer, number };
            if offset != NOWHERE {
                self.stands(place, value, offset + i64::from(number - values.first), findings);
            }
            if let Some(fate) = self.fate(value)
                && !fate.acknowledged
            {
                fate.acknowledged = true;
                self.acknowledged += 1;
            }
        }
    }

    pub(super) fn refused(&mut self, values: Values) {
        self.sending.remove(&(values.writer, values.first));
        for number in values.first..values.first + values.count {
            if let Some(fate) = self.fate(Value { writer: values.writer, number }) {
                fate.refused = true;
            }
        }
    }

    pub(super) fn seek(&mut self, process: u32) {
        self.positions.remove(&process);
    }

    /// A reading that has to show all that is known, however often it was read before: it begins at 0,
    /// and what it passes over is a skip.
    pub(super) fn audit(&mut self, process: u32) {
        self.positions.insert(process, 0);
        self.auditing.insert(process);
    }

    pub(super) fn audited(&mut self, place: Place, process: u32, findings: &mut Findings) {
        self.auditing.remove(&process);
        let (position, known) =
            (self.positions.get(&process).copied().unwrap_or(0), self.known_end());
        if position < known {
            findings.add(Rule::Unseen, || {
                format!("{place}: process {process} found its end at {position}, not {known}")
            });
        }
    }

    pub(super) fn poll(
        &mut self,
        place: Place,
        process: u32,
        next: i64,
        runs: &[(i64, Values)],
        findings: &mut Findings,
    ) {
        let mut position = self.positions.get(&process).copied();
        for &(first, values) in runs {
            for delta in 0..values.count {
                let offset = first + i64::from(delta);
                let value = Value { writer: values.writer, number: values.first + delta };
                if let Some(expected) = position {
                    if offset < expected {
                        findings.add(Rule::NonmonotonicPoll, || {
                            format!("{place}: process {process} read {offset} after {expected}")
                        });
                    } else if offset > expected {
                        self.skips.push(Skip { process, from: expected, to: offset });
                    }
                }
                position = Some(offset + 1);
                self.read(place, value, offset, findings);
            }
        }
        // A read that ends beyond its last record has seen that nothing is there.
        if let Some(position) = position {
            if next > position {
                self.skips.push(Skip { process, from: position, to: next });
            }
            self.positions.insert(process, next.max(position));
        } else {
            self.positions.insert(process, next);
        }
    }

    fn read(&mut self, place: Place, value: Value, offset: i64, findings: &mut Findings) {
        let Some(fate) = self.fate(value) else {
            findings.add(Rule::Phantom, || format!("{place}: {value:?} at {offset}"));
            return;
        };
        let refused = fate.refused;
        fate.read = true;
        self.read_end = self.read_end.max(offset.saturating_add(1));
        if refused {
            findings.add(Rule::RefusedRead, || format!("{place}: {value:?} at {offset}"));
        }
        self.stands(place, value, offset, findings);
    }

    /// There is evidence that `value` stands at `offset`, for ever.
    fn stands(&mut self, place: Place, value: Value, offset: i64, findings: &mut Findings) {
        if !(0..OFFSET_MAX).contains(&offset) {
            findings.add(Rule::UnexpectedAnswer, || format!("{place}: {value:?} at {offset}"));
            return;
        }
        let index = offset as usize;
        if self.log.len() <= index {
            self.log.resize(index + 1, None);
        }
        match self.log[index] {
            None => self.log[index] = Some(value),
            Some(there) if there == value => {}
            Some(there) => findings.add(Rule::InconsistentOffsets, || {
                format!("{place}: {there:?} and {value:?} at {offset}")
            }),
        }
        let Some(fate) = self.fate(value) else { return };
        let other = fate.offset;
        if other == NOWHERE {
            fate.offset = offset;
        } else if other != offset {
            findings.add(Rule::Duplicate, || format!("{place}: {value:?} at {other} and {offset}"));
        }
    }

    fn fate(&mut self, value: Value) -> Option<&mut Fate> {
        self.writers.get_mut(&value.writer)?.get_mut(value.number as usize)
    }

    pub(super) fn known_end(&self) -> i64 {
        self.log.len() as i64
    }

    pub(super) fn verified(&self) -> u64 {
        let fates = self.writers.values().flatten();
        fates.filter(|fate| fate.acknowledged && fate.read).count() as u64
    }

    pub(super) fn finish(&mut self, place: Place, findings: &mut Findings) {
        for process in std::mem::take(&mut self.auditing) {
            findings.add(Rule::Unseen, || format!("{place}: process {process} came to no end"));
        }
        for skip in std::mem::take(&mut self.skips) {
            let passed = self.log.get(skip.from as usize..(skip.to as usize).min(self.log.len()));
            let passed = passed.unwrap_or_default().iter().flatten().count();
            if passed > 0 {
                let Skip { process, from, to } = skip;
                findings.add(Rule::PollSkip, || {
                    format!("{place}: process {process} read {to} after {from}: {passed} passed")
                });
            }
        }
        for (writer, fates) in &self.writers {
            let mut last = NOWHERE;
            for (number, fate) in fates.iter().enumerate() {
                if fate.acknowledged && !fate.read {
                    let unseen = fate.offset == NOWHERE || fate.offset >= self.read_end;
                    let rule = if unseen { Rule::Unseen } else { Rule::LostWrite };
                    let offset = fate.offset;
                    findings.add(rule, || format!("{place}: {writer}:{number} sent at {offset}"));
                }
                if fate.offset == NOWHERE {
                    continue;
                }
                if fate.offset < last {
                    let offset = fate.offset;
                    findings.add(Rule::NonmonotonicSend, || {
                        format!("{place}: {writer}:{number} at {offset}, one before it at {last}")
                    });
                }
                last = last.max(fate.offset);
            }
        }
    }
}
