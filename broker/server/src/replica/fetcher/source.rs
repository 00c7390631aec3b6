//! The task that copies from one broker: connects, asks, appends what comes, asks again.
//!
//! One request is on its way at a time. While it is, the owner's changes are taken at once, so that an
//! answer is judged by what holds when it comes. A request that waits at the leader for records is given
//! up if partitions come that it does not name: they would wait for as long as it does. Its answer may be on
//! its way then, and with it what the leader says only once, so the fetch session goes with it. Where one came
//! others follow: for a while requests wait at the leader for so short that they are not given up.
//!
//! Errors: a connection that failed is made again, after pauses that grow; an order that names this
//! leader anew ends the pause.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, ReplicaState,
};
use broker_protocol::quantity::BrokerId;
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::plan::{Ask, Due};
use super::round::Copies;
use super::{Command, Endpoints, Parts};
use crate::peer::{Options, Peer, PeerError};
use crate::planted::{self, Bug};

/// From this version of Fetch on topics are named by id; the one before is used where one has none.
const TOPIC_IDS_FROM: i16 = 13;

/// From this version on a replica says who it is in a field of its own, with its broker epoch.
const REPLICA_STATE_FROM: i16 = 15;

/// How long a request may go on after a partition came that it does not name.
const GRACE: Duration = Duration::from_millis(10);

/// For how long after a request was given up others wait shortly, and how long that is: less than the grace, so
/// that they are not given up. So one session a second is lost, however many partitions come.
const HURRY: Duration = Duration::from_secs(1);
const WAIT_IN_HURRY: Duration = Duration::from_millis(5);

/// How long a request waits at the leader while logs here are being synced: longer, and they would have
/// to wait for the next.
const WAIT_WHILE_SYNCING: Duration = Duration::from_millis(20);

/// The first pause after a connection failed; doubled up to `replica.fetch.backoff.ms`.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Bytes that an answer may have beyond its records.
const ANSWER_OVERHEAD: usize = 4 * 1024 * 1024;

/// Why a round gave nothing.
enum End {
    /// The owner is gone.
    Stopped,
    /// Partitions came that were not named.
    Overtaken,
    Failed(PeerError),
    /// The leader refused all of it.
    Refused(i16),
}

/// Copies from one broker. Owned by its task.
pub(super) struct Fetcher {
    source: BrokerId,
    parts: Arc<Parts>,
    endpoints: Endpoints,
    inbox: mpsc::Receiver<Command>,
    peer: Option<Peer>,
    copies: Copies,
    /// Rounds that failed since the last good one.
    failures: u32,
    /// Until when requests wait shortly.
    hurries_until: Option<Instant>,
}

impl Fetcher {
    pub(super) fn new(
        source: BrokerId,
        parts: Arc<Parts>,
        endpoints: Endpoints,
        inbox: mpsc::Receiver<Command>,
    ) -> Self {
        let copies = Copies::new(source, Arc::clone(&parts));
        Self {
            source,
            parts,
            endpoints,
            inbox,
            peer: None,
            copies,
            failures: 0,
            hurries_until: None,
        }
    }

    /// Copies until the owner is gone, or the process ends.
    pub(super) async fn run(mut self) {
        let shutdown = self.parts.tasks.shutdown_token();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        loop {
            if planted::is(Bug::TruncateToHighWatermark) {
                self.copies.cut().await;
            }
            match self.copies.plan.due(self.parts.replicas.clock().now()) {
                Due::Now => match self.round().await {
                    Ok(()) => self.failures = 0,
                    Err(End::Stopped) => return,
                    Err(end) => {
                        self.peer = None;
                        self.copies.plan.lost();
                        if !self.recover(end).await {
                            return;
                        }
                    }
                },
                Due::At(until) => {
                    if !self.wait(Some(until)).await {
                        return;
                    }
                }
                Due::Never => {
                    if self.copies.plan.is_empty() {
                        self.peer = None;
                    }
                    if !self.wait(None).await {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for something to change, at most until `until`. Returns whether to go on.
    async fn wait(&mut self, until: Option<Instant>) -> bool {
        let elapsed = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = self.inbox.recv() => match command {
                Some(command) => {
                    self.copies.take(command);
                }
                None => return false,
            },
            () = self.copies.synced() => {}
            () = elapsed => {}
        }
        true
    }

    /// Waits before the next attempt, unless the last one is not to blame. Returns whether to go on.
    async fn recover(&mut self, end: End) -> bool {
        let source = self.source;
        match end {
            End::Stopped => return false,
            End::Overtaken => {
                self.hurries_until = Some(self.copies.now() + HURRY);
                return true;
            }
            End::Failed(error) if self.failures == 0 => {
                let error = &error as &dyn std::error::Error;
                info!(%source, error, "leader is not reached");
            }
            End::Failed(error) => debug!(%source, %error, "leader is not reached"),
            End::Refused(code) => {
                debug!(%source, code = %ErrorCode::name_of(code), "fetch session refused");
            }
        }
        let longest =
            Duration::from_millis(self.config_ms(|config| config.replica_fetch_backoff_ms));
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures += 1;
        let until = self.parts.replicas.clock().now() + pause;
        while self.parts.replicas.clock().now() < until {
            let before = self.copies.count_followed();
            if !self.wait(Some(until)).await {
                return false;
            }
            if self.copies.count_followed() > before {
                // A controller says that this leader lives.
                self.failures = 0;
                return true;
            }
        }
        true
    }

    fn config_ms(&self, of: impl Fn(&broker_config::broker::BrokerConfig) -> i32) -> u64 {
        of(&self.parts.config.load()).max(0) as u64
    }

    /// Asks once, and does what the answer says.
    async fn round(&mut self) -> Result<(), End> {
        while let Ok(command) = self.inbox.try_recv() {
            self.copies.take(command);
        }
        self.copies.throttle();
        if self.copies.plan.due(self.copies.now()) != Due::Now {
            return Ok(());
        }
        if self.peer.is_none() {
            self.peer = Some(self.connect().await.map_err(End::Failed)?);
        }
        if let Some(peer) = &mut self.peer {
            self.copies.ask_epochs(peer).await.map_err(End::Failed)?;
            self.copies.cut().await;
            if !self.copies.plan.is_fetching() {
                return Ok(());
            }
        }
        let may_use_ids = self.parts.versions.fetch >= TOPIC_IDS_FROM;
        let ask = self.copies.plan.ask(may_use_ids);
        let version = if ask.uses_topic_ids {
            self.parts.versions.fetch
        } else {
            self.parts.versions.fetch.min(TOPIC_IDS_FROM - 1)
        };
        let request = self.request(&ask, version);
        let Self { peer, copies, inbox, .. } = self;
        let Some(peer) = peer else { return Ok(()) };
        let response = exchange(peer, &request, version, copies, inbox).await?;
        if response.error_code != ErrorCode::None.code() {
            return Err(End::Refused(response.error_code));
        }
        copies.digest(&response);
        copies.plan.answered(response.session_id);
        let found = copies.find_range(peer).await;
        copies.cut().await;
        copies.sync_shortly().await;
        found.map_err(End::Failed)
    }

    async fn connect(&self) -> Result<Peer, PeerError> {
        let endpoint = self.endpoints.lock().get(&self.source).cloned();
        let Some((host, port)) = endpoint else {
            return Err(PeerError::Unreachable(std::io::ErrorKind::AddrNotAvailable.into()));
        };
        let config = self.parts.config.load();
        let limit = Duration::from_millis(config.replica_socket_timeout_ms.max(1) as u64);
        let size = config.replica_fetch_response_max_bytes.max(config.replica_fetch_max_bytes);
        let options = Options {
            client_id: format!("broker-{}-fetcher-{}", self.parts.broker_id, self.source).into(),
            connect_timeout: Duration::from_millis(
                config.socket_connection_setup_timeout_ms.max(1) as u64,
            ),
            call_timeout: limit,
            // The first batch comes whatever its size.
            answer_size_max: (size.max(0) as usize)
                .max(config.message_max_bytes.max(0) as usize)
                .max(config.socket_request_max_bytes.max(0) as usize)
                + ANSWER_OVERHEAD,
        };
        drop(config);
        let peer = Peer::connect(&host, port, options).await?;
        debug!(source = %self.source, %host, port, "copying from");
        Ok(peer)
    }

    fn request<'a>(&self, ask: &'a Ask, version: i16) -> FetchRequest<'a> {
        let config = self.parts.config.load();
        let me = self.parts.broker_id.0;
        let mut wait = Duration::from_millis(config.replica_fetch_wait_max_ms.max(0) as u64);
        if self.copies.is_syncing() {
            wait = wait.min(WAIT_WHILE_SYNCING);
        }
        if self.hurries_until.is_some_and(|until| self.copies.now() < until) {
            wait = wait.min(WAIT_IN_HURRY);
        }
        if let Some(until) = self.copies.plan.next_wait() {
            wait = wait.min(until.saturating_duration_since(self.parts.replicas.clock().now()));
        }
        let (replica_id, replica_state) = if version >= REPLICA_STATE_FROM {
            let replica_epoch = self.parts.broker_epoch();
            (-1, ReplicaState { replica_id: me, replica_epoch })
        } else {
            (me, ReplicaState::default())
        };
        FetchRequest {
            replica_id,
            max_wait_ms: wait.as_millis() as i32,
            min_bytes: config.replica_fetch_min_bytes,
            max_bytes: config.replica_fetch_response_max_bytes,
            session_id: ask.session_id,
            session_epoch: ask.session_epoch,
            topics: wanted(ask, config.replica_fetch_max_bytes),
            forgotten_topics_data: forgotten(ask),
            replica_state,
            ..FetchRequest::default()
        }
    }
}

/// Sends `request` and waits for its answer, taking changes meanwhile.
async fn exchange<'p>(
    peer: &'p mut Peer,
    request: &FetchRequest<'_>,
    version: i16,
    copies: &mut Copies,
    inbox: &mut mpsc::Receiver<Command>,
) -> Result<FetchResponse<'p>, End> {
    let call = peer.call::<_, FetchResponse<'p>>(request, version);
    tokio::pin!(call);
    let overtaken = tokio::time::sleep(Duration::MAX);
    tokio::pin!(overtaken);
    // What does not wait is answered soon; if it is not, another would not be either.
    let waits = request.max_wait_ms > GRACE.as_millis() as i32;
    let mut is_overtaken = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return answer.map_err(End::Failed),
            command = inbox.recv() => match command {
                Some(command) => {
                    if copies.take(command) && waits && !is_overtaken {
                        is_overtaken = true;
                        overtaken.as_mut().reset((copies.now() + GRACE).into());
                    }
                }
                None => return Err(End::Stopped),
            },
            () = &mut overtaken, if is_overtaken => return Err(End::Overtaken),
        }
    }
}

fn wanted(ask: &Ask, max_bytes: i32) -> Vec<FetchTopic<'_>> {
    let of_topic = ask.wanted.chunk_by(|a, b| a.partition.topic == b.partition.topic);
    of_topic
        .map(|of_topic| FetchTopic {
            topic: (&*of_topic[0].partition.topic).into(),
            topic_id: of_topic[0].topic_id,
            partitions: of_topic
                .iter()
                .map(|one| FetchPartition {
                    partition: one.partition.partition,
                    current_leader_epoch: one.position.leader_epoch.0,
                    fetch_offset: one.position.fetch_offset.0,
                    last_fetched_epoch: one.position.last_fetched_epoch.0,
                    log_start_offset: one.position.log_start_offset.0,
                    partition_max_bytes: max_bytes,
                    ..FetchPartition::default()
                })
                .collect(),
        })
        .collect()
}

fn forgotten(ask: &Ask) -> Vec<ForgottenTopic<'_>> {
    let of_topic =
        ask.forgotten.chunk_by(|(a, a_id), (b, b_id)| a.topic == b.topic && a_id == b_id);
    of_topic
        .map(|of_topic| ForgottenTopic {
            topic: (&*of_topic[0].0.topic).into(),
            topic_id: of_topic[0].1,
            partitions: of_topic.iter().map(|(name, _)| name.partition).collect(),
        })
        .collect()
}
