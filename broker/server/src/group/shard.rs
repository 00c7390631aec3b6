//! The loop that owns a part of the groups: those whose partitions of `__consumer_offsets` it has.
//!
//! A partition that this broker leads is loaded before anything is answered about its groups; until
//! then every answer is "loading". What is led is known from the replicas, which the controller's
//! LeaderAndIsr turned: metadata may say so too early, and too long. Groups are read, and written, only
//! in the very epoch that is led; they stay where a new epoch only renews the leadership, as the end of
//! any follower does. Requests, acknowledgements and loaded groups all arrive on one
//! bounded channel; the loop itself never waits for a disk or another task.
//!
//! Source: Kafka 3.9 `GroupCoordinator.onElection` and `onResignation`, called with LeaderAndIsr.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::LeaderEpoch;
use broker_protocol::topic_partition::TopicPartition;
use tokio::sync::{mpsc, oneshot, watch};

use super::gone::{gone, unknown_topics};
use super::listing::{GroupFacts, Listing};
use super::partition_for::partition_for;
use super::record;
use super::seams::Seams;
use super::state::request::{Reply, Request, Token};
use super::state::{AppendId, Effect, Event, LoadedGroup, Now, State};
use super::storage::{self, Appended, TOPIC};
use crate::metadata::Metadata;
use crate::planted::{self, Bug};
use crate::replica::manager::{Led, Office};
use crate::replica::partition::Partition;

/// How long a load waits before it tries again: the partition is not open yet, or its disk failed.
const LOAD_RETRY: Duration = Duration::from_millis(50);
/// How long it waits at most, after errors.
const LOAD_RETRY_MAX: Duration = Duration::from_secs(10);

/// What reaches the loop.
#[derive(Debug)]
pub(crate) enum Command {
    /// A request to a group.
    Ask { group_id: Arc<str>, request: Box<Request>, reply: oneshot::Sender<Reply> },
    /// A look at all groups.
    List { with_offsets: bool, reply: oneshot::Sender<Listing> },
    /// An append is acknowledged or failed.
    Appended { id: AppendId, result: Result<(), ErrorCode> },
    /// A partition has been read.
    Loaded { partition: i32, office: Office, groups: Vec<LoadedGroup> },
    /// These topics, which were not known when groups with offsets of them were loaded, are no more.
    TopicsGone(BTreeSet<Arc<str>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    office: Office,
    is_loaded: bool,
}

/// The loop's state. Owned by one task.
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) count: usize,
    seams: Arc<Seams>,
    commands: mpsc::Receiver<Command>,
    /// For tasks that answer to this loop.
    own: mpsc::Sender<Command>,
    state: State,
    /// What is led here of all internal topics.
    led: watch::Receiver<Arc<Led>>,
    kept: BTreeMap<i32, Kept>,
    /// How many partitions the topic had when it was last known; 1 before.
    partition_count: i32,
    waiting: HashMap<Token, oneshot::Sender<Reply>>,
    next_token: u64,
    snapshot: Arc<Metadata>,
}

impl Shard {
    pub(crate) fn new(
        index: usize,
        count: usize,
        seams: Arc<Seams>,
        own: mpsc::Sender<Command>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let state = State::new(seams.limits());
        let led = seams.replicas.led();
        Self {
            index,
            count,
            seams,
            commands,
            own,
            state,
            led,
            kept: BTreeMap::new(),
            partition_count: 1,
            waiting: HashMap::new(),
            next_token: 0,
            snapshot: Arc::default(),
        }
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self) {
        let seams = Arc::clone(&self.seams);
        let shutdown = seams.tasks.shutdown_token();
        let mut look = tokio::time::Instant::from_std(seams.clock.now()) + seams.check_interval();
        self.metadata_changed(&seams.metadata.load());
        self.leadership_changed();
        loop {
            let known = Arc::clone(&self.snapshot);
            let tick = self.state.next_deadline().map(tokio::time::Instant::from_std);
            tokio::select! {
                () = shutdown.cancelled() => return,
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                newest = seams.metadata.wait_until(|m| !std::ptr::eq(m, &raw const *known)) => {
                    self.metadata_changed(&newest);
                }
                Ok(()) = self.led.changed() => self.leadership_changed(),
                () = tokio::time::sleep_until(tick.unwrap_or(look)), if tick.is_some() => {
                    self.apply(Event::Tick);
                }
                () = tokio::time::sleep_until(look) => {
                    self.apply(Event::ExpireOffsets);
                    look += seams.check_interval();
                }
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Ask { group_id, request, reply } => self.ask(group_id, *request, reply),
            Command::List { with_offsets, reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.list(with_offsets));
            }
            Command::Appended { id, result } => self.apply(Event::Appended { id, result }),
            Command::Loaded { partition, office, groups } => {
                // Leadership may have moved on while the log was read.
                let Some(kept) = self.kept.get_mut(&partition) else { return };
                if kept.office == office && !kept.is_loaded {
                    kept.is_loaded = true;
                    // From here on deletions are seen: only what is unknown now can be missed.
                    self.look_for(unknown_topics(&groups, &self.snapshot));
                    self.apply(Event::Loaded(groups));
                }
            }
            Command::TopicsGone(mut topics) => {
                // One that was made again meanwhile may have offsets of its own.
                let newest = self.seams.metadata.load();
                topics.retain(|topic| newest.topic(topic).is_none());
                self.apply(Event::TopicsDeleted(topics));
            }
        }
    }

    fn ask(&mut self, group_id: Arc<str>, request: Request, reply: oneshot::Sender<Reply>) {
        // Whoever asks may have seen a newer snapshot, and was told to come here by that.
        let newest = self.seams.metadata.load();
        if !Arc::ptr_eq(&newest, &self.snapshot) {
            self.metadata_changed(&newest);
        }
        if self.led.has_changed().unwrap_or_default() {
            self.leadership_changed();
        }
        let partition = partition_for(&group_id, self.partition_count);
        let unavailable = match self.kept.get(&partition) {
            None => ErrorCode::NotCoordinator,
            Some(kept) if !kept.is_loaded && !is_answered_unread(&request) => {
                ErrorCode::CoordinatorLoadInProgress
            }
            Some(_) => {
                self.next_token += 1;
                let token = Token(self.next_token);
                self.waiting.insert(token, reply);
                self.apply(Event::Request { token, group_id, request });
                return;
            }
        };
        let _ = reply.send(Reply::Unavailable(unavailable));
    }

    fn list(&self, with_offsets: bool) -> Listing {
        let groups = self.state.groups().map(|(group_id, group)| GroupFacts {
            group_id: Arc::clone(group_id),
            state: group.state(),
            generation_id: group.generation_id(),
            protocol_type: group.protocol_type().cloned(),
            members_count: group.members().count(),
            offsets: if with_offsets {
                group.offsets().map(|(p, committed)| (p.clone(), committed.clone())).collect()
            } else {
                Vec::new()
            },
        });
        Listing {
            groups: groups.collect(),
            is_loading: self.kept.values().any(|kept| !kept.is_loaded),
        }
    }

    /// Applies an event and carries out its effects, and those of appends that are acknowledged at
    /// once.
    fn apply(&mut self, event: Event) {
        let now = Now { monotonic: self.seams.clock.now(), wall: self.seams.clock.wall() };
        let mut effects: VecDeque<_> = self.state.apply(event, now).into();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Reply { token, reply } => {
                    if let Some(waiting) = self.waiting.remove(&token) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(reply);
                    }
                }
                Effect::Append { id, group_id, entries } => {
                    if let Some(result) = self.append(id, &group_id, &entries) {
                        effects.extend(self.state.apply(Event::Appended { id, result }, now));
                    }
                }
            }
        }
    }

    /// Appends; returns the result if it is known at once.
    fn append(
        &mut self,
        id: AppendId,
        group_id: &str,
        entries: &[record::Entry],
    ) -> Option<Result<(), ErrorCode>> {
        let index = partition_for(group_id, self.partition_count);
        let partition = self.seams.replicas.partition(TOPIC, index);
        let (Some(partition), Some(kept)) = (partition, self.kept.get(&index)) else {
            return Some(Err(ErrorCode::NotLeaderOrFollower));
        };
        let (compression, now) = (self.seams.compression(), self.seams.clock.wall());
        // Only in the epoch whose log was read: another coordinator may have written since.
        let epoch = kept.office.leader_epoch;
        match storage::append(&partition, entries, epoch, compression, now) {
            Ok(Appended::Visible) => Some(Ok(())),
            Ok(Appended::WaitFor(required)) => {
                let deadline = self.seams.clock.now() + self.seams.commit_timeout();
                let own = self.own.clone();
                self.seams.tasks.spawn("group-append", async move {
                    let result = storage::acknowledged(&partition, required, deadline).await;
                    // The loop may have ended.
                    let _ = own.send(Command::Appended { id, result }).await;
                });
                None
            }
            Err(error) => {
                tracing::warn!(group = group_id, error = error.name(), "group not written");
                Some(Err(error))
            }
        }
    }

    fn metadata_changed(&mut self, newest: &Arc<Metadata>) {
        self.apply(Event::Limits(self.seams.limits()));
        let former = std::mem::replace(&mut self.snapshot, Arc::clone(newest));
        if let Some(topic) = newest.topic(TOPIC) {
            self.partition_count = topic.partitions.len().max(1) as i32;
        }
        let gone: BTreeSet<_> = former
            .topics
            .iter()
            .filter(|(name, topic)| newest.topic(name).is_none_or(|now| now.id != topic.id))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        if !gone.is_empty() {
            self.apply(Event::TopicsDeleted(gone));
        }
    }

    fn leadership_changed(&mut self) {
        let newest = Arc::clone(&self.led.borrow_and_update());
        let offices: BTreeMap<i32, Office> = newest
            .iter()
            .filter(|(name, _)| &*name.topic == TOPIC)
            .filter(|(name, _)| name.partition as usize % self.count == self.index)
            .map(|(name, office)| (name.partition, *office))
            .collect();
        let goes_on = |partition: &i32, kept: &Kept| {
            offices.get(partition).is_some_and(|office| kept.office.goes_on_as(*office))
        };
        let lost = self.kept.iter().filter(|(partition, kept)| !goes_on(partition, kept));
        let lost: Vec<i32> = lost.map(|(partition, _)| *partition).collect();
        if !lost.is_empty() {
            self.unload(&lost);
        }
        for (partition, office) in offices {
            let is_read = match self.kept.entry(partition) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Kept { office, is_loaded: false });
                    false
                }
                // Whoever reads in the former epoch gives up.
                Entry::Occupied(mut occupied) => {
                    let kept = occupied.get_mut();
                    let former = std::mem::replace(&mut kept.office, office);
                    kept.is_loaded || former == office
                }
            };
            if !is_read {
                self.load(partition, office);
            }
        }
    }

    fn unload(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.kept.remove(partition);
        }
        let ids = self.state.groups().map(|(group_id, _)| group_id);
        let gone: BTreeSet<_> = ids
            .filter(|id| partitions.contains(&partition_for(id, self.partition_count)))
            .cloned()
            .collect();
        self.apply(Event::Unloaded(gone));
    }

    /// Starts to find out which of `topics` are no more.
    fn look_for(&self, topics: BTreeSet<Arc<str>>) {
        if topics.is_empty() {
            return;
        }
        let (store, own) = (Arc::clone(&self.seams.store), self.own.clone());
        let shutdown = self.seams.tasks.shutdown_token();
        self.seams.tasks.spawn("group-topics", async move {
            let gone = tokio::select! {
                () = shutdown.cancelled() => return,
                gone = gone(&*store, topics) => gone,
            };
            // The loop may have ended.
            let _ = own.send(Command::TopicsGone(gone)).await;
        });
    }

    /// Starts to read a partition.
    fn load(&self, partition: i32, office: Office) {
        let (seams, own) = (Arc::clone(&self.seams), self.own.clone());
        self.seams.tasks.spawn("group-load", async move {
            let shutdown = seams.tasks.shutdown_token();
            let groups = tokio::select! {
                () = shutdown.cancelled() => return,
                groups = load(&seams, partition, office) => groups,
            };
            if let Some(groups) = groups {
                let _ = own.send(Command::Loaded { partition, office, groups }).await;
            }
        });
    }
}

/// Whether a request is answered before the partition was read: none is.
fn is_answered_unread(request: &Request) -> bool {
    matches!(request, Request::FetchOffsets { .. }) && planted::is(Bug::NoOffsetsWhileLoading)
}

/// Reads a partition until that succeeds, or until it is led by another right.
async fn load(seams: &Seams, index: i32, office: Office) -> Option<Vec<LoadedGroup>> {
    let name = TopicPartition { topic: TOPIC.into(), partition: index };
    let newest = seams.replicas.led();
    let mut pause = LOAD_RETRY;
    loop {
        if newest.borrow().get(&name) != Some(&office) {
            return None;
        }
        if let Some(partition) = seams.replicas.partition(TOPIC, index) {
            match load_once(seams, partition, office.leader_epoch).await {
                Ok(groups) => return Some(groups),
                Err(error) => {
                    let error: &dyn std::error::Error = &*error;
                    tracing::warn!(partition = index, error, "groups not loaded, trying again");
                    // What is damaged stays so: it is looked at, and complained of, ever more rarely.
                    pause = (pause * 2).min(LOAD_RETRY_MAX);
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn load_once(
    seams: &Seams,
    partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
) -> Result<Vec<LoadedGroup>, Box<dyn std::error::Error + Send + Sync>> {
    // What the log has may not be acknowledged yet; what is loaded must be all of it.
    let end = storage::end_in_epoch(&partition, leader_epoch)?;
    let deadline = seams.clock.now() + seams.commit_timeout();
    storage::acknowledged(&partition, end, deadline).await.map_err(ErrorCode::name)?;
    let buffer_size = seams.config.load().offsets_load_buffer_size.max(1) as u32;
    let read =
        tokio::task::spawn_blocking(move || storage::load(&partition, leader_epoch, buffer_size));
    Ok(read.await??)
}
