//! A reader of every partition: to its end for ever, and once more from the start when the load has stopped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::{Load, PAUSE};
use crate::cluster::checker::Rule;
use crate::cluster::history::{Place, Values, What};
use crate::deadline::{self, Deadline};

/// The process that follows, and that which reads all again.
const FOLLOWER: u32 = 100;
const AUDITOR: u32 = 101;

/// How long the last reading may take.
const AUDIT_SECONDS: u64 = 120;

/// A reader with its positions.
struct Reader<'a> {
    load: &'a Load,
    process: u32,
    positions: HashMap<Place, i64>,
    consumer: BaseConsumer,
}

/// Follows until the load is stopped.
pub(super) fn follow(load: &Arc<Load>) {
    let mut positions = HashMap::new();
    while !load.stopped() {
        let outcome = Reader::open(load, FOLLOWER, positions.clone()).and_then(|mut reader| {
            while !load.stopped() {
                let read = reader.step();
                positions.clone_from(&reader.positions);
                read?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            load.history.note(format!("the reader begins again: {error:#}"));
            deadline::pass(PAUSE);
        }
    }
}

/// Reads everything from the start; the load has stopped.
pub(super) fn read_all(load: &Load) {
    let places = load.places();
    for place in &places {
        load.history.record(AUDITOR, What::Audit(*place));
    }
    let deadline = Deadline::seconds(AUDIT_SECONDS);
    let mut positions = HashMap::new();
    let mut open = places;
    while !open.is_empty() && !deadline.passed() {
        let Ok(mut reader) = Reader::open(load, AUDITOR, positions.clone()) else {
            deadline::pass(PAUSE);
            continue;
        };
        while !open.is_empty() && !deadline.passed() && reader.step().is_ok() {
            let at_end = |place: &Place| {
                let position = reader.positions.get(place).copied().unwrap_or(0);
                position >= load.history.look(|checker| checker.known_end(*place))
            };
            open.retain(|place| !at_end(place));
        }
        positions.clone_from(&reader.positions);
    }
    for place in load.places() {
        if open.contains(&place) {
            let what = format!("{place} could not be read to its end");
            load.history.record(AUDITOR, What::Wrong(Rule::Unavailable, what));
        } else {
            load.history.record(AUDITOR, What::Audited(place));
        }
    }
}

impl<'a> Reader<'a> {
    fn open(load: &'a Load, process: u32, positions: HashMap<Place, i64>) -> Result<Self> {
        let consumer: BaseConsumer = load
            .client()
            // It belongs to no group, and a client wants a name for one.
            .set("group.id", "load")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "100")
            .create()?;
        let mut list = TopicPartitionList::new();
        for place in load.places() {
            let position = positions.get(&place).copied().unwrap_or(0);
            let partition = i32::from(place.partition);
            list.add_partition_offset(load.topic(place), partition, Offset::Offset(position))?;
        }
        consumer.assign(&list)?;
        Ok(Self { load, process, positions, consumer })
    }

    /// Takes what has come, if something has.
    fn step(&mut self) -> Result<()> {
        let message = match self.consumer.poll(Duration::from_millis(100)) {
            None => return Ok(()),
            Some(Ok(message)) => message,
            // What it says of a position is final; of the rest it mends what it can.
            Some(Err(KafkaError::MessageConsumption(
                code @ (RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange),
            ))) => {
                let what = format!("process {}: {code:?}: {:?}", self.process, self.positions);
                self.load.history.record(self.process, What::Wrong(Rule::UnexpectedAnswer, what));
                bail!("a position that was read up to is out of range");
            }
            Some(Err(error)) => {
                self.load.history.note(format!("process {}: {error}", self.process));
                return Ok(());
            }
        };
        let (place, offset) = (self.place(&message)?, message.offset());
        let what = match values(&message) {
            Ok(values) => What::Poll(place, offset + 1, vec![(offset, values)]),
            Err(error) => What::Wrong(Rule::Phantom, format!("{place} at {offset}: {error:#}")),
        };
        drop(message);
        self.load.history.record(self.process, what);
        self.positions.insert(place, offset + 1);
        Ok(())
    }

    fn place(&self, message: &BorrowedMessage<'_>) -> Result<Place> {
        let mut topics = self.load.order.topics.iter();
        let topic = topics.position(|(name, _)| name == message.topic());
        let topic = topic.context("a topic that was not asked for")? as u16;
        let partition = u16::try_from(message.partition()).context("a partition")?;
        ensure!(self.load.places().contains(&Place { topic, partition }), "no such partition");
        Ok(Place { topic, partition })
    }
}

/// Who wrote a record, and which of his it is.
fn values(message: &BorrowedMessage<'_>) -> Result<Values> {
    let payload = message.payload().context("a record without a value")?;
    let text = std::str::from_utf8(payload).context("a value that is no text")?;
    let mut words = text.split(' ');
    let writer = words.next().context("no writer")?.parse()?;
    let first = words.next().context("no number")?.parse()?;
    Ok(Values { writer, first, count: 1 })
}
