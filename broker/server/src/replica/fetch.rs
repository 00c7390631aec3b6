//! One fetch request over its partitions: reads what is there, and waits until it is enough.
//!
//! The first pass is synchronous and looks at the queue of the session only. A request that must
//! wait then looks again at the partitions that moved, and at no others, until `min_bytes` are
//! there, one partition fails, or the deadline passes.
//!
//! Limits: a partition gives at most what it was asked for, all of them together at most
//! `max_bytes`; the first batch of an answer comes whatever its size, or the reader would never get
//! past it. Clients older than version 3 take a part of a batch as the sign of a large one: for them the
//! first batch of every partition is read whole, until the answer has no bytes left.
//!
//! Source: Kafka 3.9 `ReplicaManager.fetchMessages` and `DelayedFetch`.

use std::sync::Arc;
use std::time::Instant;

use broker_protocol::quantity::BrokerId;

use super::fetch_session::cache::InUse;
use super::fetch_session::{FetchSession, SessionPartition, Source, Told, TopicRef};
use super::manager::Manager;
use super::nearby::Nearby;
use super::partition::Partition;
use super::partition::read::{Isolation, Read, ReadError, Reader};
use super::partition_state::StateError;
use super::throttle::Quota;

/// What a request allows.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// The answer waits for as many bytes.
    pub min_bytes: u32,
    /// The answer has no more bytes than this, but for its first batch.
    pub max_bytes: u32,
    /// Whether a partition's first batch is read whole wherever a byte of it may be told, instead of
    /// that of the answer whatever its size.
    pub at_least_one_each: bool,
    /// Until when to wait; absent if not at all.
    pub deadline: Option<Instant>,
}

/// The replica that a request is of.
#[derive(Debug, Clone, Copy)]
pub struct Replica {
    /// Who it is.
    pub broker: BrokerId,
    /// Its registration, -1 if it does not say.
    pub broker_epoch: i64,
    /// When its request came.
    pub at: Instant,
    /// What replicas that are out of sync may be sent.
    pub quota: Quota,
    /// Whether it is told of a high watermark that moved at once, since consumers read from it.
    pub serves_consumers: bool,
}

/// Where the consumer that a request is of may read.
#[derive(Debug, Clone, Default)]
pub enum ReadFrom {
    /// From leaders.
    #[default]
    Leader,
    /// From any replica.
    Anywhere,
    /// From any replica, and best from one near it.
    Nearby(Nearby),
}

/// The session that a request reads.
#[derive(Debug)]
pub enum Held {
    /// A session that lives on.
    Session(InUse),
    /// All that the request named; may become a session, or ends with it.
    Full(Box<FetchSession>),
}

impl Held {
    /// Returns the partitions.
    pub fn session(&mut self) -> &mut FetchSession {
        match self {
            Self::Session(in_use) => in_use.session(),
            Self::Full(session) => session,
        }
    }

    fn is_incremental(&self) -> bool {
        matches!(self, Self::Session(_))
    }
}

/// What there is to say about one partition.
#[derive(Debug)]
pub struct Answer {
    /// The topic, as the client names it.
    pub topic: TopicRef,
    /// The partition's number.
    pub partition: i32,
    /// What was read, and from which partition.
    pub outcome: Result<(Arc<Partition>, Read), ReadError>,
}

/// A fetch request under way. Dropping it leaves its session as if the request had not come.
#[derive(Debug)]
pub struct Fetch {
    manager: Arc<Manager>,
    held: Held,
    limits: FetchLimits,
    /// Absent for clients.
    replica: Option<Replica>,
    /// Of a consumer.
    from: ReadFrom,
    /// Set while replicas out of sync are sent nothing of what is throttled.
    over_quota_until: Option<Instant>,
    /// Whether something was left out for that reason.
    is_throttled: bool,
    /// Bytes found so far.
    bytes: u64,
    /// Whether something was found that the client should hear of at once.
    is_conclusive: bool,
}

impl Fetch {
    /// Prepares a request; nothing is read yet.
    pub fn new(manager: Arc<Manager>, held: Held, limits: FetchLimits) -> Self {
        Self {
            manager,
            held,
            limits,
            replica: None,
            from: ReadFrom::Leader,
            over_quota_until: None,
            is_throttled: false,
            bytes: 0,
            is_conclusive: false,
        }
    }

    /// Reads as a replica does, in a session that sees up to the end of the log.
    #[must_use]
    pub fn of_replica(self, replica: Option<Replica>) -> Self {
        let mut held = self.held;
        if replica.is_some_and(|it| it.serves_consumers) {
            held.session().waiter().be_eager();
        }
        let leader = &self.manager.throttles().leader;
        let over_quota_until = replica.and_then(|it| leader.over_until(it.quota, it.at));
        Self { held, replica, over_quota_until, ..self }
    }

    /// Reads as a consumer does that need not read from leaders.
    #[must_use]
    pub fn from(self, from: ReadFrom) -> Self {
        Self { from, ..self }
    }

    /// Reads what may have something to tell. Returns whether the answer is complete.
    pub fn read_queued(&mut self) -> bool {
        // A set without a session subscribes only if it has to wait: most answers need not.
        let subscribe = self.held.is_incremental();
        self.visit_queue(subscribe);
        self.is_complete()
    }

    /// Waits until the answer is complete or its time is over. Cancel-safe.
    pub async fn wait(&mut self) {
        let Some(deadline) = self.limits.deadline else { return };
        if !self.held.is_incremental() {
            // What moved since the first pass is seen by reading again after subscribing.
            self.visit_queue(true);
        }
        let waiter = Arc::clone(self.held.session().waiter());
        let mut dirty = Vec::new();
        while !self.is_complete() {
            // More may pass then: it is asked for again.
            let sooner = self.over_quota_until.filter(|_| self.is_throttled);
            let until = sooner.map_or(deadline, |sooner| sooner.min(deadline));
            let in_time = waiter.woken(until).await;
            waiter.take_dirty(&mut dirty);
            for index in dirty.drain(..) {
                self.held.session().enqueue(index);
                self.visit(index, true);
            }
            if !in_time {
                return;
            }
        }
    }

    /// Returns the size of the records that were found, as they are stored, in bytes.
    pub fn records_size(&self) -> u64 {
        self.bytes
    }

    /// Returns what there is to say, in the order to say it, and ends the request for its session.
    ///
    /// A session is told only what changed; anyone else hears of every partition.
    pub fn answers(mut self) -> (Vec<Answer>, Held) {
        let is_incremental = self.held.is_incremental();
        let session = self.held.session();
        let (mut idle, mut served) = (Vec::new(), Vec::new());
        let queue: Vec<u32> = session.queue().iter().copied().collect();
        let mut answers = Vec::with_capacity(queue.len());
        for index in queue {
            let Some(partition) = session.get_mut(index) else { continue };
            let Some(outcome) = partition.outcome.take() else { continue };
            if let Some(source) = &partition.source {
                let counters = source.partition.counters();
                counters.total_fetch_requests.add(1);
                counters.failed_fetch_requests.add(u64::from(is_failure(&outcome)));
                if let (Some(replica), Ok(read)) = (self.replica, &outcome)
                    && read.size() > 0
                    && source.partition.is_throttled_leader()
                {
                    let (leader, now) = (&self.manager.throttles().leader, self.manager.clock());
                    leader.record(read.size().into(), replica.quota, now.now());
                }
            }
            let news = tell(partition, &outcome);
            if let Ok(read) = &outcome {
                if read.size() > 0 {
                    served.push(index);
                } else if read.visible_end_offset <= partition.position.fetch_offset
                    && read.preferred_replica.is_none()
                {
                    idle.push(index);
                }
            }
            if is_incremental && !news {
                continue;
            }
            answers.push(Answer {
                topic: partition.topic.clone(),
                partition: partition.partition,
                outcome: match (outcome, &partition.source) {
                    (Ok(read), Some(source)) => Ok((Arc::clone(&source.partition), read)),
                    (Ok(_), None) => Err(ReadError::UnknownPartition),
                    (Err(error), _) => Err(error),
                },
            });
        }
        if is_incremental {
            session.settle(&idle, &served);
        }
        (answers, self.held)
    }

    fn visit_queue(&mut self, subscribe: bool) {
        self.bytes = 0;
        self.is_conclusive = false;
        let session = self.held.session();
        let queue: Vec<u32> = session.queue().iter().copied().collect();
        for index in &queue {
            if let Some(partition) = session.get_mut(*index) {
                partition.outcome = None;
            }
        }
        for index in queue {
            self.visit(index, subscribe);
        }
    }

    /// Reads one partition, replacing what an earlier look at it gave.
    fn visit(&mut self, index: u32, subscribe: bool) {
        let session = self.held.session();
        let isolation = session.isolation();
        let reader = match self.replica {
            Some(Replica { broker, broker_epoch, at, .. }) => {
                let is_over_quota = self.over_quota_until.is_some();
                Reader::Replica { broker, broker_epoch, at, is_over_quota }
            }
            None => match &self.from {
                ReadFrom::Leader => Reader::Consumer(isolation),
                ReadFrom::Anywhere | ReadFrom::Nearby(_) => Reader::Anywhere(isolation),
            },
        };
        let waiter = Arc::clone(session.waiter());
        let Some(partition) = session.get_mut(index) else { return };
        if let Some(Ok(earlier)) = &partition.outcome {
            self.bytes -= u64::from(earlier.size());
        }
        if let Err(error) = find(&self.manager, partition) {
            partition.outcome = Some(Err(error));
            self.is_conclusive = true;
            return;
        }
        let Some(source) = &mut partition.source else { return };
        match &source.subscription {
            Some(subscription) => subscription.arm(),
            None if subscribe => {
                let subscribers = match isolation {
                    Isolation::LogEnd => source.partition.replica_subscribers(),
                    Isolation::ReadUncommitted | Isolation::ReadCommitted => {
                        source.partition.subscribers()
                    }
                };
                source.subscription = Some(subscribers.subscribe(&waiter, index));
            }
            None => {}
        }
        let preferred = match &self.from {
            ReadFrom::Nearby(consumer) => {
                source.partition.preferred_replica(partition.position.fetch_offset, consumer)
            }
            ReadFrom::Leader | ReadFrom::Anywhere => None,
        };
        let left = u64::from(self.limits.max_bytes).saturating_sub(self.bytes) as u32;
        let left = if preferred.is_some() { 0 } else { left };
        let at_least_one = if self.limits.at_least_one_each {
            left.min(partition.position.max_bytes) > 0
        } else {
            self.bytes == 0 && preferred.is_none()
        };
        let mut outcome = source.partition.read(&partition.position, reader, left, at_least_one);
        match &mut outcome {
            Ok(read) => {
                read.preferred_replica = preferred;
                self.bytes += u64::from(read.size());
                self.is_conclusive |= read.diverging.is_some() || preferred.is_some();
                self.is_conclusive |= self.replica.is_some_and(|it| it.serves_consumers)
                    && partition.told.is_some_and(|it| it.high_watermark != read.high_watermark);
                self.is_throttled |= read.is_throttled;
            }
            Err(_) => self.is_conclusive = true,
        }
        partition.outcome = Some(outcome);
    }

    fn is_complete(&mut self) -> bool {
        self.limits.deadline.is_none()
            || self.is_conclusive
            || self.bytes >= u64::from(self.limits.min_bytes)
            || self.held.session().is_empty()
    }
}

/// Makes `partition.source` the partition that is meant now.
fn find(manager: &Manager, partition: &mut SessionPartition) -> Result<(), ReadError> {
    if let Some(source) = &partition.source
        && !source.partition.is_deleted()
    {
        return Ok(());
    }
    partition.source = None;
    let (found, missing) = match &partition.topic {
        TopicRef::Name(name) => (manager.topic(name), ReadError::UnknownPartition),
        TopicRef::Id(id) => (manager.topic_by_id(*id), ReadError::UnknownTopicId),
    };
    let topic = found.ok_or(missing)?;
    let found = topic.partition(partition.partition).ok_or(ReadError::UnknownPartition)?;
    partition.source = Some(Source { partition: found, subscription: None });
    Ok(())
}

/// Returns whether the broker, not the client, is to blame.
fn is_failure(outcome: &Result<Read, ReadError>) -> bool {
    matches!(outcome, Err(ReadError::Log(_) | ReadError::State(StateError::Offline)))
}

/// Records what the client is told; returns whether that is news to it.
fn tell(partition: &mut SessionPartition, outcome: &Result<Read, ReadError>) -> bool {
    let Ok(read) = outcome else {
        // After an error the next answer is news whatever it says.
        partition.told = None;
        return true;
    };
    let now = Told { high_watermark: read.high_watermark, log_start_offset: read.log_start_offset };
    let is_news = read.size() > 0
        || read.diverging.is_some()
        || read.preferred_replica.is_some()
        || partition.told != Some(now);
    partition.told = Some(now);
    is_news
}
