//! One ordered way to each registered broker: LeaderAndIsr, UpdateMetadata, StopReplica.
//!
//! A channel is a task for one life of a broker (its epoch). It has one request in flight, repeats it
//! until it is answered, and ends only with the broker's registration or the controller's term. What
//! waits is in the [`Outbox`]. The connection is read while nothing is sent, so that the end of
//! the peer is seen at once; a port that refuses is told as a hint, once.
//!
//! The own broker is told in memory, over the same outbox, in the same order.
//!
//! Source: Kafka 3.9 `ControllerChannelManager`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::update_metadata::UpdateMetadataResponse;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::ends::Asked;
use super::outbox::{Brokers, Letter, Outbox};
use super::state::effect::{Directive, Extent};
use super::state::event::{Event, LiveBroker};
use crate::clock::SharedClock;
use crate::metadata::Cache;
use crate::order::{Order, Orders};
use crate::peer::{Options, Peer, PeerError};
use crate::tasks::Tasks;
use crate::version::Versions;
use letter::Envelope;

mod letter;

/// Pauses between attempts to connect, the last again and again. Two refusals in a row within the
/// first pauses are the hint that the process is gone.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
];

/// Pauses where connections are made and end without an answer, each twice as long as the one before. What
/// is said again may name all partitions.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Refused connections that are worth a hint.
const REFUSALS: u32 = 2;

/// The largest answer, in bytes: a code for each of a hundred thousand partitions.
const ANSWER_SIZE_MAX: usize = 16 * 1024 * 1024;

/// What every channel of a controller has in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    /// The controller.
    pub(crate) controller: BrokerId,
    /// Its epoch.
    pub(crate) controller_epoch: i32,
    /// The listener that the controller reaches brokers through.
    pub(crate) listener: Arc<str>,
    /// The listener that followers reach leaders through.
    pub(crate) inter_broker_listener: Arc<str>,
    /// `controller.socket.timeout.ms`.
    pub(crate) timeout: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub(crate) connect_timeout: Duration,
    /// As `inter.broker.protocol.version` says.
    pub(crate) versions: Versions,
    /// Where the own broker takes orders.
    pub(crate) orders: Orders,
    /// Where answers go.
    pub(crate) events: mpsc::Sender<Event>,
    /// What this broker tells its clients.
    pub(crate) metadata: Arc<Cache>,
    /// Where tasks run.
    pub(crate) tasks: Tasks,
    /// The source of time.
    pub(crate) clock: SharedClock,
}

impl Common {
    fn endpoint(&self, broker: &LiveBroker) -> Option<(String, u16)> {
        let endpoint = broker.endpoints.iter().find(|e| e.listener == self.listener)?;
        Some((endpoint.host.to_string(), endpoint.port))
    }
}

/// The channels of one controller.
#[derive(Debug)]
pub(super) struct Channels {
    common: Common,
    brokers: Brokers,
    open: BTreeMap<BrokerId, Open>,
}

#[derive(Debug)]
struct Open {
    epoch: i64,
    mailbox: Arc<Mailbox>,
    end: CancellationToken,
}

/// An outbox, and who waits for it. One short lock; one reader.
#[derive(Debug, Default)]
struct Mailbox {
    outbox: Mutex<Outbox>,
    filled: Notify,
}

impl Channels {
    /// No channel yet.
    pub(super) fn new(common: Common) -> Self {
        Self { common, brokers: Brokers::default(), open: BTreeMap::new() }
    }

    /// Opens channels to brokers that came, closes those to brokers that went, and has every broker
    /// told who lives.
    pub(super) fn brokers(&mut self, brokers: &Brokers) {
        self.brokers = Arc::clone(brokers);
        self.open.retain(|id, open| {
            let stays = brokers.get(id).is_some_and(|broker| broker.epoch == open.epoch);
            if !stays {
                open.end.cancel();
            }
            stays
        });
        for (id, broker) in brokers.iter() {
            let common = &self.common;
            let open =
                self.open.entry(*id).or_insert_with(|| Open::begin(common, *id, broker.epoch));
            open.mailbox.change(|outbox| outbox.brokers(Arc::clone(brokers)));
        }
    }

    /// Tells a broker; one that is not registered any more is told nothing.
    pub(super) fn send(&self, broker: BrokerId, extent: Extent, directives: Vec<Directive>) {
        if let Some(open) = self.open.get(&broker) {
            open.mailbox.change(|outbox| outbox.add(extent, directives));
        }
    }

    /// Says where the brokers of these replicas are reached.
    pub(super) fn reached(
        &self,
        replicas: Vec<(BrokerId, TopicPartition, LeaderEpoch)>,
    ) -> Vec<Asked> {
        let mut by_broker: BTreeMap<BrokerId, Vec<_>> = BTreeMap::new();
        for (broker, partition, leader_epoch) in replicas {
            by_broker.entry(broker).or_default().push((partition, leader_epoch));
        }
        let asked = by_broker.into_iter().map(|(broker, partitions)| {
            let live = self.brokers.get(&broker);
            let endpoint = live.and_then(|live| self.common.endpoint(live));
            Asked { broker, epoch: live.map_or(-1, |live| live.epoch), endpoint, partitions }
        });
        asked.collect()
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        for open in self.open.values() {
            open.end.cancel();
        }
    }
}

impl Open {
    fn begin(common: &Common, broker: BrokerId, epoch: i64) -> Self {
        let (mailbox, end) = (Arc::<Mailbox>::default(), CancellationToken::new());
        let channel = Channel {
            common: common.clone(),
            broker,
            epoch,
            mailbox: Arc::clone(&mailbox),
            peer: None,
            refusals: 0,
            failures: 0,
        };
        let ended = end.clone();
        common.tasks.spawn("controller-channel", async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                never = channel.run() => match never {},
            }
        });
        Self { epoch, mailbox, end }
    }
}

impl Mailbox {
    fn change(&self, change: impl FnOnce(&mut Outbox)) {
        change(&mut self.outbox.lock());
        self.filled.notify_one();
    }

    /// Waits for the next letter. Cancel-safe.
    async fn next(&self) -> Letter {
        loop {
            if let Some(letter) = self.outbox.lock().next() {
                return letter;
            }
            self.filled.notified().await;
        }
    }
}

/// The task of one channel.
struct Channel {
    common: Common,
    broker: BrokerId,
    epoch: i64,
    mailbox: Arc<Mailbox>,
    peer: Option<Peer>,
    /// Connections refused since the last that was made.
    refusals: u32,
    /// Connections that were made and ended since the last answer.
    failures: u32,
}

impl Channel {
    async fn run(mut self) -> Infallible {
        if self.broker == self.common.controller {
            loop {
                let letter = self.mailbox.next().await;
                self.deliver_here(letter).await;
            }
        }
        loop {
            let mut peer = match self.peer.take() {
                Some(peer) => peer,
                None => self.connect().await,
            };
            let letter = tokio::select! {
                biased;
                letter = self.mailbox.next() => letter,
                () = peer.closed() => {
                    let mailbox = Arc::clone(&self.mailbox);
                    tokio::select! {
                        () = mailbox.filled.notified() => {}
                        () = self.fall_back() => {}
                    }
                    continue;
                }
            };
            self.peer = Some(peer);
            while let Err(error) = self.deliver(&letter).await {
                debug!(broker = self.broker.0, %error, "a broker did not answer the controller");
                self.fall_back().await;
                self.peer = Some(self.connect().await);
            }
            self.failures = 0;
        }
    }

    /// Leaves a broker alone whose connection ended.
    async fn fall_back(&mut self) {
        let pause = pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(pause).await;
    }

    /// Connects, however often it takes.
    async fn connect(&mut self) -> Peer {
        let options = Options {
            client_id: self.common.controller.0.to_string().into(),
            connect_timeout: self.common.connect_timeout,
            call_timeout: self.common.timeout,
            answer_size_max: ANSWER_SIZE_MAX,
        };
        let mut attempts = 0_usize;
        loop {
            let error = match self.endpoint() {
                Some((host, port)) => match Peer::connect(&host, port, options.clone()).await {
                    Ok(peer) => {
                        self.reached().await;
                        return peer;
                    }
                    Err(error) => Some(error),
                },
                None => None,
            };
            if matches!(error, Some(PeerError::Refused)) {
                self.refused().await;
            }
            if attempts == PAUSES.len() {
                let (broker, listener) = (self.broker.0, &self.common.listener);
                if let Some(error) = &error {
                    warn!(broker, %error, "a registered broker cannot be reached");
                } else {
                    warn!(broker, %listener, "a registered broker has no such listener");
                }
            }
            tokio::time::sleep(PAUSES[attempts.min(PAUSES.len() - 1)]).await;
            attempts += 1;
        }
    }

    /// Where the broker is reached: its registration may change while it lives.
    fn endpoint(&self) -> Option<(String, u16)> {
        let brokers = self.mailbox.outbox.lock().known_brokers();
        self.common.endpoint(brokers.get(&self.broker)?)
    }

    async fn refused(&mut self) {
        self.refusals += 1;
        if self.refusals == REFUSALS {
            info!(broker = self.broker.0, "a registered broker's port refuses connections");
            self.tell(Event::Refused { broker: self.broker, epoch: self.epoch }).await;
        }
    }

    async fn reached(&mut self) {
        if self.refusals >= REFUSALS {
            info!(broker = self.broker.0, "the broker is reached again");
            self.tell(Event::Reached { broker: self.broker, epoch: self.epoch }).await;
        }
        self.refusals = 0;
    }

    /// Sends a letter over the wire and passes its answer on.
    async fn deliver(&mut self, letter: &Letter) -> Result<(), PeerError> {
        let (envelope, versions) = (self.envelope(), self.common.versions);
        let brokers = self.mailbox.outbox.lock().known_brokers();
        let Some(peer) = self.peer.as_mut() else {
            return Err(PeerError::Foreign("there is no connection"));
        };
        let answers = match letter {
            Letter::Lead { is_all, partitions } => {
                let request = letter::lead(
                    envelope,
                    *is_all,
                    partitions,
                    &brokers,
                    &self.common.inter_broker_listener,
                );
                let version = versions.leader_and_isr;
                let response = peer.call(&request.for_version(version), version).await?;
                vec![letter::led(partitions, &response)]
            }
            Letter::Announce { is_all, brokers, partitions } => {
                let request = letter::announce(envelope, *is_all, partitions, brokers);
                let version = versions.update_metadata;
                let request = request.for_version(version);
                let response: UpdateMetadataResponse = peer.call(&request, version).await?;
                note_announced(self.broker, response.error_code);
                Vec::new()
            }
            Letter::Stop(stops) => {
                let version = versions.stop_replica;
                let mut answers = Vec::new();
                for (half, delete) in
                    letter::stop(envelope, stops).for_version(version).iter().zip([false, true])
                {
                    if half.partitions().next().is_none() {
                        continue;
                    }
                    let response = peer.call(half, version).await?;
                    let of_half: Vec<_> = stops
                        .iter()
                        .filter(|stop| version >= 3 || stop.delete == delete)
                        .cloned()
                        .collect();
                    answers.extend(letter::stopped(&of_half, &response));
                }
                answers
            }
        };
        for answer in answers {
            self.tell(Event::Answered { broker: self.broker, epoch: self.epoch, answer }).await;
        }
        Ok(())
    }

    /// Hands a letter to the own broker. One that is shutting down answers no more, and then the
    /// controller ends too.
    async fn deliver_here(&self, letter: Letter) {
        let (envelope, listener) = (self.envelope(), &self.common.inter_broker_listener);
        let brokers = self.mailbox.outbox.lock().known_brokers();
        let answers = match letter {
            Letter::Lead { is_all, partitions } => {
                let request = letter::lead(envelope, is_all, &partitions, &brokers, listener);
                let Some(response) = self.order(|done| Order::LeaderAndIsr(request, done)).await
                else {
                    return;
                };
                vec![letter::led(&partitions, &response)]
            }
            Letter::Announce { is_all, brokers, partitions } => {
                let request = letter::announce(envelope, is_all, &partitions, &brokers);
                let response = self.order(|done| Order::UpdateMetadata(request, done)).await;
                note_announced(self.broker, response.map_or(0, |response| response.error_code));
                Vec::new()
            }
            Letter::Stop(stops) => {
                let request = letter::stop(envelope, &stops);
                let Some(response) = self.order(|done| Order::StopReplica(request, done)).await
                else {
                    return;
                };
                letter::stopped(&stops, &response)
            }
        };
        for answer in answers {
            self.tell(Event::Answered { broker: self.broker, epoch: self.epoch, answer }).await;
        }
    }

    async fn order<A>(&self, order: impl FnOnce(oneshot::Sender<A>) -> Order) -> Option<A> {
        let (done, answer) = oneshot::channel();
        self.common.orders.send(order(done)).await.ok()?;
        answer.await.ok()
    }

    fn envelope(&self) -> Envelope {
        Envelope {
            controller: self.common.controller,
            controller_epoch: self.common.controller_epoch,
            broker_epoch: self.epoch,
        }
    }

    async fn tell(&self, event: Event) {
        // The controller that does not listen any more has ended, and this task with it.
        let _ = self.common.events.send(event).await;
    }
}

/// How long a broker is left alone after a connection ended, and `failures` before it without an answer. The
/// first time not at all: it may just have been an old one.
fn pause(failures: u32) -> Duration {
    let doubled =
        |before: u32| PAUSE_MIN.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX));
    failures.checked_sub(1).map_or(Duration::ZERO, |before| doubled(before).min(PAUSE_MAX))
}

/// An UpdateMetadata has one code. A stale epoch is this controller's end, or the broker's: either
/// is seen where it is decided, in the tree.
fn note_announced(broker: BrokerId, code: i16) {
    if code != 0 {
        let code = ErrorCode::name_of(code);
        debug!(broker = broker.0, %code, "metadata refused");
    }
}

#[cfg(test)]
mod tests;
