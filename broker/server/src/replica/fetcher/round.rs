//! What a fetcher does with an answer: appends, cuts logs that differ from the leader's, syncs.
//!
//! A partition of a synced topic is asked for again from where it is durable (what a replica asks from
//! is what it vouches for), so a round ends with one group commit of all that came. A disk that takes
//! longer than [`SYNC_SHORTLY`] keeps its own partitions out of the session until it answers, and no
//! others.
//!
//! Everything is done in the epoch in which it was asked: `Partition` refuses it in any other.
//!
//! Source: Kafka 3.9 `AbstractFetcherThread`; KIP-320 and the diverging epoch of Fetch 12.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::fetch::{FetchResponse, PartitionData};
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use broker_protocol::primitive::Records;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::commit::SyncPoint;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

use super::plan::{Follow, Key, Plan, Position, Topic};
use super::{Command, Parts, TASK, Versions};
use crate::peer::{Peer, PeerError};
use crate::planted::{self, Bug};
use crate::replica::manager::{CutDone, Truncation};
use crate::replica::partition::follower::{
    Cut, FollowError, FollowerPosition, FromLeader, TruncateError,
};
use crate::replica::partition::{EpochEndOffset, Partition};
use crate::replica::throttle::Quota;

/// How long a round waits for its group commit before it goes on without those that it syncs.
const SYNC_SHORTLY: Duration = Duration::from_millis(20);

/// The places of ListOffsets that stand for the end and the start of a log.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// What a leader says of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Records, maybe none, and how far it is.
    Records,
    /// The log here differs from where this epoch ends there.
    Diverged(EpochEndOffset),
    /// It has nothing at that position.
    OutOfRange,
    /// There is a later leadership, of which the controller will tell.
    Over,
    /// It cannot answer now.
    Later,
}

fn said(data: &PartitionData<'_>) -> Said {
    const NONE: i16 = ErrorCode::None.code();
    const OUT_OF_RANGE: i16 = ErrorCode::OffsetOutOfRange.code();
    const FENCED: i16 = ErrorCode::FencedLeaderEpoch.code();
    let diverging = &data.diverging_epoch;
    match data.error_code {
        NONE if diverging.epoch >= 0 && diverging.end_offset >= 0 => {
            Said::Diverged(EpochEndOffset {
                leader_epoch: LeaderEpoch(diverging.epoch),
                end_offset: Offset(diverging.end_offset),
            })
        }
        NONE => Said::Records,
        OUT_OF_RANGE => Said::OutOfRange,
        FENCED => Said::Over,
        _ => Said::Later,
    }
}

/// What becomes of a log that a leader has nothing for, by the ends of the leader's; `None`: nothing, as
/// it is within them by now.
///
/// Source: Kafka 3.9 `AbstractFetcherThread.fetchOffsetAndTruncate`.
fn out_of_range(fetch_offset: Offset, leader_start: Offset, leader_end: Offset) -> Option<Cut> {
    if leader_end < fetch_offset {
        // Of an unclean election, where no epoch tells the logs apart.
        Some(Cut::At(leader_end))
    } else if fetch_offset < leader_start {
        Some(Cut::BeginAt(leader_start))
    } else {
        None
    }
}

/// Syncs that ended, told by the commit threads. Bounded by the partitions, as each waits for one.
#[derive(Debug, Default)]
struct Syncs {
    ended: Mutex<Vec<(Key, bool)>>,
    changed: Notify,
}

/// The partitions that one task copies. Owned by the task.
pub(super) struct Copies {
    source: BrokerId,
    parts: Arc<Parts>,
    pub(super) plan: Plan,
    partitions: HashMap<TopicPartition, Arc<Partition>>,
    syncs: Arc<Syncs>,
    syncing_count: usize,
    followed_count: u64,
    /// Logs to be cut at the end of the round.
    cuts: Vec<(Key, Cut)>,
    /// Partitions whose position the leader does not have.
    lost: Vec<Key>,
    /// Partitions that are throttled and not level with their leader.
    throttled: BTreeSet<Key>,
}

impl Copies {
    pub(super) fn new(source: BrokerId, parts: Arc<Parts>) -> Self {
        let tells = parts.versions.tell_of_divergence();
        Self {
            source,
            parts,
            plan: if tells { Plan::default() } else { Plan::asking_first() },
            partitions: HashMap::new(),
            syncs: Arc::default(),
            syncing_count: 0,
            followed_count: 0,
            cuts: Vec::new(),
            lost: Vec::new(),
            throttled: BTreeSet::new(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.parts.replicas.clock().now()
    }

    /// Carries out a change; returns whether there is more to ask for.
    pub(super) fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Follow(partitions) => {
                for partition in partitions {
                    self.follow(partition);
                }
                true
            }
            Command::Leave(names) => {
                for name in names {
                    self.plan.remove(&name);
                    self.partitions.remove(&name);
                }
                false
            }
        }
    }

    /// Returns how often a partition was added.
    pub(super) fn count_followed(&self) -> u64 {
        self.followed_count
    }

    /// Returns whether a partition waits for its sync.
    pub(super) fn is_syncing(&self) -> bool {
        self.syncing_count > 0
    }

    fn follow(&mut self, partition: Arc<Partition>) {
        let position = partition.follower_position();
        // Otherwise the order is over, and the next one has been given.
        let Some(position) = position.filter(|position| position.leader == self.source) else {
            return;
        };
        let follow = Follow {
            partition: partition.name().clone(),
            topic_id: partition.topic_id(),
            position: plan_position(&position),
        };
        let key = self.plan.add(&follow);
        self.followed_count += 1;
        if self.is_throttled(&partition) {
            // How far the leader is is not known yet.
            self.throttled.insert(key);
        }
        if planted::is(Bug::TruncateToHighWatermark) {
            self.note_cut(key, Cut::HighWatermark);
        } else if let Some(point) = position.unsynced {
            self.sync(key, &partition, point);
        }
        self.partitions.insert(follow.partition, partition);
    }

    /// Leaves what is throttled out of the next requests, if more of it has come than may; what is level
    /// with its leader is not throttled.
    ///
    /// Source: Kafka 3.9 `ReplicaFetcherThread.shouldFollowerThrottle`.
    pub(super) fn throttle(&mut self) {
        if self.throttled.is_empty() {
            return;
        }
        let quota = Quota::of_follower(&self.parts.config.load());
        let follower = &self.parts.replicas.throttles().follower;
        let Some(until) = follower.over_until(quota, self.now()) else { return };
        for key in std::mem::take(&mut self.throttled) {
            let Some((name, _)) = self.plan.get(key) else { continue };
            let partition = self.partitions.get(name);
            if partition.is_some_and(|partition| self.is_throttled(partition)) {
                self.plan.pause(key, until);
                self.throttled.insert(key);
            }
        }
    }

    fn is_throttled(&self, partition: &Partition) -> bool {
        let throttled = &partition.config().follower_replication_throttled_replicas;
        throttled.contains(partition.name().partition, self.parts.broker_id.0)
    }

    /// Counts bytes that came of a partition, if it is throttled.
    fn measure(&mut self, key: Key, partition: &Partition, bytes: usize, is_level: bool) {
        let is_throttled = self.is_throttled(partition);
        if is_throttled {
            let quota = Quota::of_follower(&self.parts.config.load());
            let follower = &self.parts.replicas.throttles().follower;
            follower.record(bytes as u64, quota, self.now());
        }
        if is_throttled && !is_level {
            self.throttled.insert(key);
        } else {
            self.throttled.remove(&key);
        }
    }

    /// Has a partition synced; nothing is asked for it before.
    fn sync(&mut self, key: Key, partition: &Arc<Partition>, point: SyncPoint) {
        self.plan.hold(key);
        self.syncing_count += 1;
        let syncs = Arc::clone(&self.syncs);
        let done = move |outcome: Result<(), _>| {
            syncs.ended.lock().push((key, outcome.is_ok()));
            syncs.changed.notify_one();
        };
        partition.sync_then(point, Box::new(done));
    }

    /// Waits until a sync has ended, and goes on with its partition. Cancel-safe.
    pub(super) async fn synced(&mut self) {
        loop {
            let ended = std::mem::take(&mut *self.syncs.ended.lock());
            if !ended.is_empty() {
                for (key, is_synced) in ended {
                    self.syncing_count -= 1;
                    if is_synced {
                        self.go_on(key);
                    } else {
                        self.plan.end(key);
                    }
                }
                return;
            }
            self.syncs.changed.notified().await;
        }
    }

    /// Waits for the syncs of this round, unless they take long.
    pub(super) async fn sync_shortly(&mut self) {
        let all = async {
            while self.syncing_count > 0 {
                self.synced().await;
            }
        };
        let _ = tokio::time::timeout(SYNC_SHORTLY, all).await;
    }

    /// Asks for a partition from where it stands, once it is synced.
    fn go_on(&mut self, key: Key) {
        let Some((name, asked)) = self.plan.get(key) else { return };
        let Some(partition) = self.partitions.get(name).cloned() else { return };
        let position = partition.follower_position();
        let position = position.filter(|position| position.leader_epoch == asked.leader_epoch);
        match position {
            // Another order holds by now, and is on its way here.
            None => self.plan.end(key),
            Some(FollowerPosition { unsynced: Some(point), .. }) => {
                self.sync(key, &partition, point);
            }
            Some(position) => {
                let position = plan_position(&position);
                self.plan.resume(key, position);
                self.plan.advance(key, position);
            }
        }
    }

    /// Does what can be done at once of an answer, and notes what cannot.
    pub(super) fn digest(&mut self, response: &FetchResponse<'_>) {
        for topic in &response.responses {
            for data in &topic.partitions {
                let name = if topic.topic_id.is_zero() {
                    Topic::Name(&topic.topic)
                } else {
                    Topic::Id(topic.topic_id)
                };
                let Some(key) = self.plan.expected(name, data.partition_index) else { continue };
                match said(data) {
                    Said::Records => self.append(key, data),
                    Said::Diverged(end) => {
                        self.note_cut(key, Cut::EpochEnd(end));
                    }
                    Said::OutOfRange => {
                        self.plan.hold(key);
                        self.lost.push(key);
                    }
                    Said::Over => self.plan.end(key),
                    Said::Later => {
                        debug!(source = %self.source, code = %ErrorCode::name_of(data.error_code), "nothing to copy yet");
                        self.back_off(key);
                    }
                }
            }
        }
    }

    fn append(&mut self, key: Key, data: &PartitionData<'_>) {
        let Some((name, asked)) = self.plan.get(key) else { return };
        let Some(partition) = self.partitions.get(name).cloned() else { return };
        let answer = FromLeader {
            batches: data.records.as_ref().map_or(&[], Records::as_bytes),
            leader_epoch: asked.leader_epoch,
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
            high_watermark: Offset(data.high_watermark),
            log_start_offset: Offset(data.log_start_offset),
        };
        match partition.append_as_follower(&answer, self.parts.replicas.clock().wall()) {
            Ok(followed) => {
                let is_level = followed.log_end_offset >= answer.high_watermark;
                self.measure(key, &partition, answer.batches.len(), is_level);
                self.go_on(key);
            }
            Err(FollowError::Late) => self.go_on(key),
            Err(FollowError::State(state)) => {
                debug!(partition = %partition.name(), %state, "an answer of another time");
                self.plan.end(key);
            }
            Err(FollowError::Log(_)) if partition.dir().offline().is_offline() => {
                self.plan.end(key);
            }
            Err(FollowError::Log(error)) => {
                let error = &error as &dyn std::error::Error;
                warn!(partition = %partition.name(), error, "records are not copied");
                self.go_on(key);
                self.back_off(key);
            }
        }
    }

    pub(super) fn broker_id(&self) -> i32 {
        self.parts.broker_id.0
    }

    pub(super) fn versions(&self) -> Versions {
        self.parts.versions
    }

    /// Has a log cut at the end of the round; nothing is asked for it before.
    pub(super) fn note_cut(&mut self, key: Key, cut: Cut) {
        self.plan.hold(key);
        self.cuts.push((key, cut));
    }

    pub(super) fn back_off(&mut self, key: Key) {
        let longest = self.parts.config.load().replica_fetch_backoff_ms.max(1) as u64;
        let now = self.now();
        self.plan.back_off(key, now, Duration::from_millis(longest));
    }

    /// Asks where the leader's logs begin and end, for partitions that are not within.
    pub(super) async fn find_range(&mut self, peer: &mut Peer) -> Result<(), PeerError> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let lost = std::mem::take(&mut self.lost);
        let asked: Vec<(Key, TopicPartition, Position)> = lost
            .into_iter()
            .filter_map(|key| {
                let (name, position) = self.plan.get(key)?;
                Some((key, name.clone(), position))
            })
            .collect();
        // Whatever happens they are not left behind.
        for (key, ..) in &asked {
            self.back_off(*key);
        }
        let ends = self.ask_offsets(peer, &asked, LATEST).await?;
        let starts = self.ask_offsets(peer, &asked, EARLIEST).await?;
        for (key, name, position) in asked {
            let (Some(end), Some(start)) = (ends.get(&name), starts.get(&name)) else { continue };
            if let Some(cut) = out_of_range(position.fetch_offset, *start, *end) {
                info!(partition = %name, from = %position.fetch_offset, ?cut, "the leader's log is another");
                self.note_cut(key, cut);
            }
        }
        Ok(())
    }

    async fn ask_offsets(
        &self,
        peer: &mut Peer,
        asked: &[(Key, TopicPartition, Position)],
        timestamp: i64,
    ) -> Result<HashMap<TopicPartition, Offset>, PeerError> {
        let of_topic = asked.chunk_by(|(_, a, _), (_, b, _)| a.topic == b.topic);
        let topics = of_topic.map(|of_topic| ListOffsetsTopic {
            name: (&*of_topic[0].1.topic).into(),
            partitions: of_topic
                .iter()
                .map(|(_, name, position)| ListOffsetsPartition {
                    partition_index: name.partition,
                    current_leader_epoch: position.leader_epoch.0,
                    timestamp,
                    ..ListOffsetsPartition::default()
                })
                .collect(),
        });
        let request = ListOffsetsRequest {
            replica_id: self.parts.broker_id.0,
            topics: topics.collect(),
            ..ListOffsetsRequest::default()
        };
        let version = self.parts.versions.list_offsets;
        let response: ListOffsetsResponse<'_> = peer.call(&request, version).await?;
        let mut offsets = HashMap::new();
        for topic in &response.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            for data in &topic.partitions {
                let offset = match (data.error_code, version) {
                    (0, 0) => data.old_style_offsets.first().copied(),
                    (0, _) => Some(data.offset),
                    _ => None,
                };
                if let Some(offset) = offset.filter(|offset| *offset >= 0) {
                    let partition = data.partition_index;
                    let name = TopicPartition { topic: Arc::clone(&name), partition };
                    offsets.insert(name, Offset(offset));
                }
            }
        }
        Ok(offsets)
    }

    /// Cuts the logs that differ from the leader's, all of them at once where nobody waits for the disk.
    pub(super) async fn cut(&mut self) {
        let mut keys = Vec::with_capacity(self.cuts.len());
        let mut truncations = Vec::with_capacity(self.cuts.len());
        for (key, cut) in std::mem::take(&mut self.cuts) {
            let Some((name, position)) = self.plan.get(key) else { continue };
            let Some(partition) = self.partitions.get(name).cloned() else { continue };
            let Position { leader_epoch, fetch_offset, last_fetched_epoch, .. } = position;
            debug!(partition = %name, ?cut, "cutting what the leader does not have");
            keys.push(key);
            truncations.push(Truncation {
                partition,
                leader_epoch,
                fetch_offset,
                last_fetched_epoch,
                cut,
            });
        }
        if keys.is_empty() {
            return;
        }
        let replicas = Arc::clone(&self.parts.replicas);
        let tasks = &self.parts.tasks;
        let cutting = tasks.spawn_blocking(TASK, move || replicas.truncate(&truncations));
        let done = match cutting.await {
            Ok(done) => done,
            Err(error) => {
                error!(%error, "logs were not cut");
                for key in keys {
                    self.plan.end(key);
                }
                return;
            }
        };
        for (key, done) in keys.into_iter().zip(done) {
            match done {
                Ok(CutDone { is_complete }) => {
                    if is_complete {
                        self.plan.in_line(key);
                    }
                    self.go_on(key);
                }
                Err(error) => {
                    debug!(%error, "log not cut");
                    match error {
                        // Another order holds, or the directory is of no use.
                        TruncateError::State(_)
                        | TruncateError::Sync(_)
                        | TruncateError::Offline => self.plan.end(key),
                        TruncateError::Late => self.go_on(key),
                        TruncateError::Log(_) => self.back_off(key),
                    }
                }
            }
        }
    }
}

fn plan_position(position: &FollowerPosition) -> Position {
    Position {
        leader_epoch: position.leader_epoch,
        fetch_offset: position.fetch_offset,
        last_fetched_epoch: position.last_fetched_epoch,
        log_start_offset: position.log_start_offset,
    }
}
