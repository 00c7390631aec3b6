//! Readers: one that follows every partition to its end, one that reads old records again and again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::fetch::FetchResponse;
use broker_protocol::primitive::Records;

use super::{Shared, TOPICS, places};
use crate::cluster::checker::Rule;
use crate::cluster::history::{Place, Values, What};
use crate::cluster::view;
use crate::deadline::{self, Deadline};
use crate::wire::{self, Connection, FETCH_VERSION, Seen};

/// Between two rounds over all partitions.
const ROUND: Duration = Duration::from_millis(40);

/// How long a reader may be told that its position is out of range before that is a finding: a new
/// leader may not know yet how far the old one had gone.
const OUT_OF_RANGE_SECONDS: u64 = 20;

/// What a reader begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// At the start, then on to the end for ever.
    Follow,
    /// Anywhere below the end, then on for a while, then anywhere again.
    Wander,
}

/// A reader of every partition.
#[derive(Debug)]
pub struct Reader {
    shared: Shared,
    process: u32,
    manner: Manner,
    rng: fastrand::Rng,
    connections: HashMap<i32, Connection>,
    positions: HashMap<Place, i64>,
    out_of_range: HashMap<Place, Deadline>,
}

impl Reader {
    /// A reader whose history is that of `process`.
    pub fn new(shared: Shared, process: u32, manner: Manner, seed: u64) -> Self {
        Self {
            shared,
            process,
            manner,
            rng: fastrand::Rng::with_seed(seed),
            connections: HashMap::new(),
            positions: HashMap::new(),
            out_of_range: HashMap::new(),
        }
    }

    /// Reads until it is told to stop.
    pub fn run(mut self) {
        while !self.shared.stopped() {
            let mut failed = false;
            for place in places() {
                if self.manner == Manner::Wander && self.rng.u32(..8) == 0 {
                    let end = self.shared.history.look(|checker| checker.known_end(place));
                    self.positions.insert(place, self.rng.i64(0..=end));
                    self.shared.history.record(self.process, What::Seek(place));
                }
                failed |= self.step(place).is_err();
            }
            if failed {
                self.shared.look_again();
            }
            deadline::pass(ROUND);
        }
    }

    /// Reads every partition from its start until it has passed all that is known, or time is up.
    pub fn read_all(mut self, deadline: Deadline) {
        for place in places() {
            self.shared.history.record(self.process, What::Audit(place));
            self.positions.insert(place, 0);
        }
        let mut open = places();
        while !open.is_empty() && !deadline.passed() {
            open.retain(|&place| {
                let before = self.positions.get(&place).copied().unwrap_or(0);
                let known = self.shared.history.look(|checker| checker.known_end(place));
                if self.step(place).is_err() {
                    self.shared.look_again();
                    return true;
                }
                let after = self.positions.get(&place).copied().unwrap_or(0);
                // At least one empty read beyond what is known.
                let is_open = after < known || after > before;
                if !is_open {
                    self.shared.history.record(self.process, What::Audited(place));
                }
                is_open
            });
        }
        for place in open {
            let what = format!("{place} could not be read to its end");
            self.shared.history.record(self.process, What::Wrong(Rule::Unavailable, what));
        }
    }

    /// One Fetch of one partition.
    fn step(&mut self, place: Place) -> Result<()> {
        let topic = TOPICS[usize::from(place.topic)].name;
        let partition = i32::from(place.partition);
        let position = *self.positions.entry(place).or_insert(0);
        let (leader, address) =
            self.shared.view.leader(topic, partition).context("no leader is known")?;
        let connection = match self.connections.entry(leader) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                none.insert(Connection::open_within(address, view::CONNECT, view::ANSWER)?)
            }
        };
        let mut request = wire::fetch_request(topic, partition, position);
        request.max_wait_ms = 0;
        let answer = match connection.call(&request, FETCH_VERSION) {
            Ok(answer) => answer,
            Err(error) => {
                self.connections.remove(&leader);
                return Err(error);
            }
        };
        let response: FetchResponse<'_> = answer.read(FETCH_VERSION)?;
        let data = response.responses.first().and_then(|topic| topic.partitions.first());
        let data = data.context("no partition in the answer")?;
        match ErrorCode::from_code(data.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::OffsetOutOfRange) => return self.out_of_range(place, position),
            code => bail!("fetch from {place}: {code:?}"),
        }
        self.out_of_range.remove(&place);
        let mut seen = Vec::new();
        let bytes = data.records.as_ref().map_or(&[][..], Records::as_bytes);
        let next = match wire::read_batches(bytes, position, &mut seen) {
            Ok(next) => next,
            Err(error) => {
                let what = format!("{place}, read at {position}: {error:#}");
                self.shared.history.record(self.process, What::Wrong(Rule::UnexpectedAnswer, what));
                return Err(error);
            }
        };
        if !seen.is_empty() || next > position {
            let what = match runs(&seen) {
                Ok(runs) => What::Poll(place, next, runs),
                Err(error) => What::Wrong(Rule::Phantom, format!("{place}: {error:#}")),
            };
            self.shared.history.record(self.process, what);
        }
        self.positions.insert(place, next);
        Ok(())
    }

    /// Positions are below a high watermark that was seen: no leader may refuse them for long.
    fn out_of_range(&mut self, place: Place, position: i64) -> Result<()> {
        let fresh = || Deadline::seconds(OUT_OF_RANGE_SECONDS);
        let patience = *self.out_of_range.entry(place).or_insert_with(fresh);
        if patience.passed() {
            self.out_of_range.remove(&place);
            let what = format!("{place}: offset {position}, which was read up to, is out of range");
            self.shared.history.record(self.process, What::Wrong(Rule::UnexpectedAnswer, what));
        }
        bail!("{place}: {position} is out of range")
    }
}

/// Joins values that stand one after the other.
fn runs(seen: &[Seen]) -> Result<Vec<(i64, Values)>> {
    let mut runs: Vec<(i64, Values)> = Vec::new();
    for record in seen {
        let text = record.value.as_deref().context("a record without a value")?;
        let text = std::str::from_utf8(text).context("a value that is no text")?;
        let mut words = text.split(' ');
        let writer: u16 = words.next().context("no writer")?.parse()?;
        let number: u32 = words.next().context("no number")?.parse()?;
        if let Some((offset, values)) = runs.last_mut()
            && values.writer == writer
            && values.first + values.count == number
            && *offset + i64::from(values.count) == record.offset
        {
            values.count += 1;
            continue;
        }
        runs.push((record.offset, Values { writer, first: number, count: 1 }));
    }
    ensure!(seen.is_empty() == runs.is_empty(), "runs were lost");
    Ok(runs)
}
