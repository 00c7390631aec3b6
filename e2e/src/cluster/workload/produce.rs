//! An idempotent producer to one partition, with our own client.
//!
//! It does what real ones do: up to five batches in flight, and after a broken connection or an error
//! all that is unacknowledged again, in order, under the same sequences. Now and then it drops its
//! connection before the answer, as if the network had swallowed it. Values are numbered as the
//! sequences are, so that a batch is the same bytes however often it is sent.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;

use super::{Shared, TOPICS};
use crate::cluster::checker::Rule;
use crate::cluster::history::{Place, Values, What};
use crate::cluster::view;
use crate::deadline::{self, Deadline, Stopwatch};
use crate::wire::{self, Connection, PRODUCE_VERSION};

/// As many as a broker remembers of a producer.
const IN_FLIGHT: usize = 5;
/// Longer than the broker waits for its followers.
const ANSWER: Duration = Duration::from_secs(8);
const BROKER_WAITS_MS: i32 = 5_000;
/// Of a thousand rounds, how many end with the answers unread.
const SWALLOWED: u32 = 20;
/// How long a sequence may be refused before it is a finding: elections have ended by then.
const REFUSED_SECONDS: u64 = 20;

const CODECS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];

/// Answers that mean: ask who leads and try again.
const RETRIABLE: [ErrorCode; 9] = [
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::LeaderNotAvailable,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::RequestTimedOut,
    ErrorCode::NotEnoughReplicas,
    ErrorCode::NotEnoughReplicasAfterAppend,
    ErrorCode::KafkaStorageError,
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::NetworkException,
];

/// A batch that is not acknowledged yet.
#[derive(Debug)]
struct Batch {
    values: Values,
    bytes: Vec<u8>,
    sent_at: u64,
    age: Stopwatch,
}

/// What became of a conversation.
enum Ended {
    /// The connection broke, or the broker is not the one to ask.
    Broken,
    /// A sequence was refused.
    Sequence(ErrorCode),
    /// The broker answered what cannot be.
    Strange(String),
}

/// A producer.
#[derive(Debug)]
pub struct Producer {
    shared: Shared,
    place: Place,
    process: u32,
    rng: fastrand::Rng,
    /// The mean time between rounds.
    mean_pause: Duration,
    writer: u16,
    identity: (i64, i16),
    next: u32,
    unacknowledged: VecDeque<Batch>,
    refused: Option<Deadline>,
    /// The last answer that meant progress.
    progress: Stopwatch,
}

impl Producer {
    /// A producer to `place` whose history is that of `process`; writers are numbered by process.
    pub fn new(
        shared: Shared,
        place: Place,
        process: u32,
        seed: u64,
        mean_pause: Duration,
    ) -> Self {
        Self {
            shared,
            place,
            process,
            rng: fastrand::Rng::with_seed(seed),
            mean_pause,
            writer: process as u16,
            identity: (-1, -1),
            next: 0,
            unacknowledged: VecDeque::new(),
            refused: None,
            progress: Stopwatch::start(),
        }
    }

    /// Produces until it is told to stop and all is acknowledged, or a minute has passed since.
    pub fn run(mut self) {
        let mut grace: Option<Deadline> = None;
        loop {
            if self.shared.stopped() {
                let grace = *grace.get_or_insert_with(|| Deadline::seconds(60));
                if self.unacknowledged.is_empty() || grace.passed() {
                    return;
                }
            }
            match self.converse() {
                Ok(Some(Ended::Sequence(code))) => self.sequence_refused(code),
                Ok(Some(Ended::Strange(what))) => {
                    self.shared.history.record(
                        self.process,
                        What::Wrong(Rule::UnexpectedAnswer, format!("{}: {what}", self.place)),
                    );
                    self.begin_anew();
                }
                Ok(None | Some(Ended::Broken)) | Err(_) => {}
            }
            self.shared.look_again();
        }
    }

    fn topic(&self) -> &'static str {
        TOPICS[usize::from(self.place.topic)].name
    }

    /// A refusal in the midst of a move is mended by sending again; one that lasts is a finding, but
    /// not of Kafka: its producer snapshot has one batch a producer (`ProducerStateManager`, 3.9), so
    /// that a leader that was started again takes all but the last of several unanswered batches for
    /// out of order. What became of them is unknown then.
    fn sequence_refused(&mut self, code: ErrorCode) {
        let patience = *self.refused.get_or_insert_with(|| Deadline::seconds(REFUSED_SECONDS));
        if !patience.passed() {
            return;
        }
        let batch = self.unacknowledged.front().map(|batch| batch.values);
        let what = format!("{}: {code:?} for {batch:?}", self.place);
        let leader = self.shared.view.leader(self.topic(), i32::from(self.place.partition));
        let leader = leader.map(|(id, _)| id);
        let what = self.shared.unless_kafka(leader, Rule::UnexpectedAnswer, what);
        self.shared.history.record(self.process, what);
        self.begin_anew();
    }

    /// Gives up what is unacknowledged and goes on as another writer.
    fn begin_anew(&mut self) {
        self.unacknowledged.clear();
        self.identity = (-1, -1);
        self.refused = None;
        self.next = 0;
        // Far above the numbers of processes; a run has few of these.
        self.writer = self.writer.wrapping_add(1_000);
    }

    /// Uses one connection for as long as it serves; `None` when all is done.
    fn converse(&mut self) -> Result<Option<Ended>> {
        let partition = i32::from(self.place.partition);
        let found = self.shared.view.leader(self.topic(), partition);
        let (_, address) = found.context("no leader is known")?;
        let mut connection = Connection::open_within(address, view::CONNECT, ANSWER)?;
        if self.identity.0 < 0 {
            self.identity = connection.init_producer_id()?;
        }
        loop {
            if self.shared.stopped() && self.unacknowledged.is_empty() {
                return Ok(None);
            }
            while self.unacknowledged.is_empty()
                || (self.unacknowledged.len() < IN_FLIGHT
                    && !self.shared.stopped()
                    && self.rng.bool())
            {
                self.add_batch()?;
            }
            for batch in &self.unacknowledged {
                let mut request = wire::produce_request(self.topic(), partition, &batch.bytes);
                request.timeout_ms = BROKER_WAITS_MS;
                connection.send(&request, PRODUCE_VERSION)?;
            }
            if self.rng.u32(..1_000) < SWALLOWED {
                return Ok(Some(Ended::Broken));
            }
            for _ in 0..self.unacknowledged.len() {
                if let Some(ended) = self.receive(&mut connection)? {
                    return Ok(Some(ended));
                }
            }
            let pause = self.rng.u64(..=2 * self.mean_pause.as_micros() as u64);
            deadline::pass(Duration::from_micros(pause));
            self.progress = Stopwatch::start();
        }
    }

    /// The answer to the oldest batch.
    fn receive(&mut self, connection: &mut Connection) -> Result<Option<Ended>> {
        let answer = wire::produced(&connection.receive()?, PRODUCE_VERSION)?;
        let code = ErrorCode::from_code(answer.error_code);
        let base_offset = match code {
            Some(ErrorCode::None) => answer.base_offset,
            // It was appended so long ago that the broker has forgotten where.
            Some(ErrorCode::DuplicateSequenceNumber) => -1,
            Some(ErrorCode::OutOfOrderSequenceNumber) => {
                return Ok(Some(Ended::Sequence(ErrorCode::OutOfOrderSequenceNumber)));
            }
            Some(code) if RETRIABLE.contains(&code) => return Ok(Some(Ended::Broken)),
            _ => return Ok(Some(Ended::Strange(format!("{code:?} {answer:?}")))),
        };
        let batch = self.unacknowledged.pop_front().context("an answer to nothing")?;
        let Batch { values, sent_at, age, .. } = batch;
        self.shared.history.record(self.process, What::Sent(self.place, values, base_offset));
        // Batches that waited together were unanswered together: the stretch counts once.
        let took = age.elapsed().min(self.progress.elapsed());
        self.progress = Stopwatch::start();
        self.refused = None;
        self.shared.pulse.accepted(self.place, sent_at, took);
        Ok(None)
    }

    fn add_batch(&mut self) -> Result<()> {
        let count = self.rng.u32(1..=30);
        let values = Values { writer: self.writer, first: self.next, count };
        let codec = CODECS[self.rng.usize(..CODECS.len())];
        let mut builder = BatchBuilder::new(Offset(0), codec);
        (builder.header.producer_id, builder.header.producer_epoch) = self.identity;
        builder.header.base_sequence = self.next as i32;
        let padding = "x".repeat(self.rng.usize(..200));
        let now = std::time::UNIX_EPOCH.elapsed().context("the time")?.as_millis() as i64;
        for number in self.next..self.next + count {
            let key = format!("{}", number % 101);
            let key = TOPICS[usize::from(self.place.topic)].keyed.then_some(key.as_bytes());
            let value = format!("{} {number} {padding}", self.writer);
            builder.push(TimestampMs(now), key, Some(value.as_bytes()));
        }
        let bytes = builder.finish()?;
        self.next += count;
        let sent_at = self.shared.history.now();
        self.shared.history.record(self.process, What::Send(self.place, values));
        if self.unacknowledged.is_empty() {
            self.progress = Stopwatch::start();
        }
        self.unacknowledged.push_back(Batch { values, bytes, sent_at, age: Stopwatch::start() });
        Ok(())
    }
}
