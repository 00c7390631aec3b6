//! What the controller's requests do to the replicas of this broker: lead, follow, stop, delete.
//!
//! All logs that a request needs are created with one sync of each directory; a directory that fails
//! on the way hands its share to the others. Nothing is ever deleted because of a topic id that does
//! not fit: only the controller's StopReplica does, and what it no longer names is renamed away.
//!
//! Every function waits for the disk. Source: Kafka 3.9 `ReplicaManager.becomeLeaderOrFollower`,
//! `stopReplicas` and `LogManager.handleStrayLogs`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_config::topic::{Durability, TopicConfig};
use broker_protocol::quantity::{LeaderEpoch, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_storage::log_dir::{LogDir, NewLog};

use super::{FIRST_EPOCH, Manager};
use crate::metadata::is_internal;
use crate::replica::partition::{Partition, durability};
use crate::replica::partition_state::{Leadership, Role};

/// What one partition is to become here.
#[derive(Debug, Clone)]
pub struct Become {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's id, zero where there is none.
    pub topic_id: Uuid,
    /// Its topic's settings.
    pub config: Arc<TopicConfig>,
    /// Who leads and who is in sync.
    pub leadership: Leadership,
    /// Whether this broker is the leader.
    pub leads: bool,
    /// Whether it is in the ISR.
    pub is_in_sync: bool,
    /// Whether the replica is new: it then has no log yet, wherever one might be hidden.
    pub is_new: bool,
}

impl Become {
    /// Whether a replica that has no log once had one, for all that is known.
    pub(crate) fn should_have_a_log(&self) -> bool {
        !self.is_new && self.leadership.leader_epoch > FIRST_EPOCH
    }
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is so now.
    Done(Arc<Partition>),
    /// A newer state is known here.
    Stale,
    /// The log here is of another topic of that name.
    InconsistentTopicId,
    /// The log is in a directory that failed, or is damaged, or cannot be created.
    Offline,
}

/// A replica that this broker is to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The partition.
    pub partition: TopicPartition,
    /// Whether its log goes, too.
    pub delete: bool,
}

/// By which right this broker leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Office {
    /// The id of its topic.
    pub topic_id: Uuid,
    /// Another whenever this broker begins to lead, and not where a new epoch only renews that.
    pub number: u64,
    /// The epoch in which it leads now.
    pub leader_epoch: LeaderEpoch,
}

impl Office {
    /// Whether nobody else can have written between this one and `later`.
    pub fn goes_on_as(self, later: Self) -> bool {
        self.topic_id == later.topic_id && self.number == later.number
    }
}

/// The partitions of internal topics that this broker leads.
pub type Led = BTreeMap<TopicPartition, Office>;

/// What is here of a partition that is to become something.
enum Found {
    Here(Arc<Partition>),
    Missing,
    Refused(Outcome),
}

impl Manager {
    /// Brings partitions into the state that the controller says; answers in the same order.
    pub fn apply(&self, changes: Vec<Become>) -> Vec<Outcome> {
        let _turn = self.changing.lock();
        let mut found: Vec<_> = changes.iter().map(|change| self.find(change)).collect();
        let missing = changes.iter().zip(&found);
        let missing = missing.filter(|(_, found)| matches!(found, Found::Missing));
        self.create_all(missing.map(|(change, _)| change).collect());
        for (change, found) in changes.iter().zip(&mut found) {
            if let Found::Missing = found {
                let name = &change.partition;
                *found = match self.partition(&name.topic, name.partition) {
                    Some(created) => Found::Here(created),
                    None => Found::Refused(Outcome::Offline),
                };
            }
        }
        let concerns_internal = changes.iter().any(|change| is_internal(&change.partition.topic));
        let outcomes = changes.into_iter().zip(found).map(|(change, found)| match found {
            Found::Here(partition) => self.turn(partition, change),
            Found::Missing => Outcome::Offline,
            Found::Refused(outcome) => outcome,
        });
        let outcomes = outcomes.collect();
        if concerns_internal {
            self.publish_led();
        }
        outcomes
    }

    fn find(&self, change: &Become) -> Found {
        let name = &change.partition;
        let Some(known) = self.partition(&name.topic, name.partition) else {
            let is_lost = self.damaged.contains(name)
                || self.unloaded.logs.contains(name)
                || (self.unloaded.is_unknown && !change.is_new);
            return if is_lost { Found::Refused(Outcome::Offline) } else { Found::Missing };
        };
        let id = known.topic_id();
        if id != change.topic_id && !id.is_zero() && !change.topic_id.is_zero() {
            return Found::Refused(Outcome::InconsistentTopicId);
        }
        if known.dir().offline().is_offline() {
            return Found::Refused(Outcome::Offline);
        }
        Found::Here(known)
    }

    /// Gives a partition the id of a topic that had none. Waits for the disk.
    pub fn assign_topic_id(&self, partition: &Arc<Partition>, topic_id: Uuid) -> Outcome {
        let _turn = self.changing.lock();
        let outcome = self.give_id(partition, topic_id);
        if is_internal(&partition.name().topic) {
            self.publish_led();
        }
        outcome
    }

    fn give_id(&self, partition: &Arc<Partition>, topic_id: Uuid) -> Outcome {
        if let Err(error) = partition.assign_topic_id(topic_id) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(partition = %partition.name(), error, "the topic's id is not kept");
            return Outcome::Offline;
        }
        self.topics.insert_all(vec![Arc::clone(partition)]);
        Outcome::Done(Arc::clone(partition))
    }

    fn turn(&self, partition: Arc<Partition>, change: Become) -> Outcome {
        if partition.topic_id().is_zero()
            && !change.topic_id.is_zero()
            && let Outcome::Offline = self.give_id(&partition, change.topic_id)
        {
            return Outcome::Offline;
        }
        self.configure(&partition, change.config);
        let turned = if change.leads {
            partition.lead(change.leadership, self.clock.now())
        } else {
            partition.follow(change.leadership)
        };
        match turned {
            Ok(()) => {
                if change.leads {
                    self.standings.leads(partition.name());
                } else {
                    self.standings.follows(partition.name(), change.is_in_sync);
                }
                Outcome::Done(partition)
            }
            Err(_) if partition.dir().offline().is_offline() => Outcome::Offline,
            Err(stale) => {
                tracing::debug!(partition = %partition.name(), %stale, "a state that is over");
                Outcome::Stale
            }
        }
    }

    /// Creates logs in the least loaded directories that work.
    fn create_all(&self, mut missing: Vec<&Become>) {
        let now = self.clock.wall();
        missing.retain(|change| !self.take_back(change, now));
        while !missing.is_empty() {
            let by_name: HashMap<_, _> =
                missing.iter().map(|change| (change.partition.clone(), *change)).collect();
            let names = missing.iter().map(|change| change.partition.clone()).collect();
            missing.clear();
            let Some(spread) = self.spread(names) else {
                tracing::error!("logs are not created: every log directory is offline");
                return;
            };
            for (dir, names) in spread {
                let wanted: Vec<_> =
                    names.iter().filter_map(|name| by_name.get(name).copied()).collect();
                let new = wanted.iter().map(|change| NewLog {
                    partition: change.partition.clone(),
                    topic_id: Some(change.topic_id).filter(|id| !id.is_zero()),
                    config: Arc::clone(&change.config),
                });
                match dir.create_logs(new.collect(), now) {
                    Ok(logs) => {
                        if let Err(error) = self.note_standing(&dir, &wanted) {
                            let dir = dir.path().display();
                            tracing::error!(%dir, %error, "what is proven of new logs is not known");
                            self.uncreated.send_modify(|count| *count += 1);
                            continue;
                        }
                        let logs = logs.into_iter().zip(&wanted);
                        let partitions = logs.map(|(log, change)| self.admit(&dir, log, change));
                        self.topics.insert_all(partitions.collect());
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(dir = %dir.path().display(), error, "logs are not created");
                        if dir.offline().is_offline() {
                            missing.extend(wanted);
                        } else {
                            self.uncreated.send_modify(|count| *count += 1);
                        }
                    }
                }
            }
        }
    }

    /// Takes back the logs of partitions that are not here and lie aside, as [`Manager::apply`] does: what is in
    /// them counts before it is judged whether this broker leads by them.
    pub fn take_strays_back(&self, changes: &[Become]) {
        let _turn = self.changing.lock();
        let now = self.clock.wall();
        for change in changes.iter().filter(|change| matches!(self.find(change), Found::Missing)) {
            self.take_back(change, now);
        }
    }

    /// Takes back a log of this partition that was put aside, if there is one of the topic's id, from the
    /// directory where it reaches furthest; returns whether it did. It is unproven: what it vouched for is not
    /// known any more.
    ///
    /// A replica that is new is made anew: others have the partition, and a topic that begins again with the
    /// first epoch knows nothing of the epochs in the log.
    fn take_back(&self, change: &Become, now: TimestampMs) -> bool {
        let (name, topic_id) = (&change.partition, change.topic_id);
        if change.is_new || topic_id.is_zero() {
            return false;
        }
        let found = self.dirs.iter().filter_map(|dir| {
            let (reach, stray) = dir.find_stray(name, topic_id)?;
            Some((reach, dir, stray))
        });
        let Some((_, dir, stray)) = found.max_by_key(|(reach, ..)| *reach) else { return false };
        let config = Arc::clone(&change.config);
        let wanted = NewLog { partition: name.clone(), topic_id: Some(topic_id), config };
        let is_relaxed = durability(&change.config) == Durability::Replicated;
        let relaxed = is_relaxed.then(|| name.clone()).into_iter().collect();
        let noted = self.standings.relax(dir, relaxed);
        if let Err(error) = noted.and_then(|()| self.standings.add(dir, vec![name.clone()])) {
            tracing::error!(partition = %name, %error, "what is proven of a stray log is not known");
            return false;
        }
        match dir.take_back(&stray, wanted, now) {
            Ok(log) => {
                tracing::warn!(partition = %name, stray = %stray.display(), "the stray log is taken back");
                self.topics.insert_all(vec![self.admit(dir, log, change)]);
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(stray = %stray.display(), error, "the stray log is not taken back");
                false
            }
        }
    }

    /// Notes durably what cannot be proven of logs that were just created.
    fn note_standing(&self, dir: &Arc<LogDir>, created: &[&Become]) -> io::Result<()> {
        let named = |is_meant: &dyn Fn(&Become) -> bool| -> Vec<TopicPartition> {
            let meant = created.iter().filter(|change| is_meant(change));
            meant.map(|change| change.partition.clone()).collect()
        };
        let is_relaxed = |change: &Become| durability(&change.config) == Durability::Replicated;
        self.standings.relax(dir, named(&is_relaxed))?;
        // Of one that was found to be missing it is said in whatever directory there was.
        let is_unproven = |change: &Become| {
            change.should_have_a_log() || self.standings.is_unproven(&change.partition)
        };
        self.standings.add(dir, named(&is_unproven))
    }

    /// Gives up replicas; answers in the same order. One that is not here is given up already.
    ///
    /// Those that are deleted are gone for good when this returns: one sync for all of a directory.
    pub fn stop(&self, stops: &[Stop]) -> Vec<io::Result<()>> {
        let _turn = self.changing.lock();
        let (mut stopped, mut deleted) = (Vec::with_capacity(stops.len()), Vec::new());
        for stop in stops {
            let name = &stop.partition;
            let Some(partition) = self.partition(&name.topic, name.partition) else {
                stopped.push(Ok(()));
                continue;
            };
            if stop.delete {
                let renamed = self.delete_log(&partition);
                stopped.push(renamed.map(|files| deleted.push((stopped.len(), partition, files))));
            } else {
                partition.resign();
                stopped.push(Ok(()));
            }
        }
        let failed = self.sync_renames(deleted.iter().map(|(_, partition, _)| partition.dir()));
        for (place, partition, files) in deleted {
            match failed.iter().find(|(dir, _)| Arc::ptr_eq(dir, &partition.dir())) {
                Some((_, error)) => {
                    stopped[place] = Err(io::Error::new(error.kind(), error.to_string()));
                }
                None => self.discard(&partition, files),
            }
        }
        if stops.iter().any(|stop| is_internal(&stop.partition.topic)) {
            self.publish_led();
        }
        stopped
    }

    /// Neither leads nor follows anything until it is told anew: the session with the cluster is over.
    pub fn resign(&self) {
        let _turn = self.changing.lock();
        for partition in self.partitions() {
            partition.resign();
        }
        self.publish_led();
    }

    /// Leads no more what others can lead: this broker stops, and their fetches are not answered any more, so
    /// nothing that waits for them comes. Whoever waits is told "not leader".
    pub fn leave_to_others(&self) {
        let _turn = self.changing.lock();
        for partition in self.partitions() {
            if !partition.others_in_sync().is_empty() {
                partition.resign();
            }
        }
        self.publish_led();
    }

    /// Renames the logs away that a full LeaderAndIsr does not name by their topic's id (zero where they
    /// have none), and returns them: their topics were deleted, and maybe made again, or their replicas
    /// moved while this broker was away. Their records stay on the disk, and are taken back by
    /// [`Manager::apply`] when that id is named again.
    pub fn sweep_strays(
        &self,
        is_kept: &dyn Fn(&TopicPartition, Uuid) -> bool,
    ) -> Vec<TopicPartition> {
        let _turn = self.changing.lock();
        let is_stray = |stray: &Arc<Partition>| !is_kept(stray.name(), stray.topic_id());
        let strays = self.partitions().into_iter().filter(is_stray);
        let strays: Vec<_> = strays.collect();
        for stray in &strays {
            self.topics.remove(stray.name());
            stray.end(Role::Deleted);
            self.standings.forget(stray.name());
            self.end_move(stray);
            if let Err(error) = stray.rename_as_stray() {
                tracing::error!(partition = %stray.name(), %error, "a stray log is not renamed");
            }
        }
        for (dir, error) in self.sync_renames(strays.iter().map(|stray| stray.dir())) {
            tracing::error!(dir = %dir.path().display(), %error, "stray logs may come back");
        }
        self.publish_led();
        strays.iter().map(|stray| stray.name().clone()).collect()
    }

    /// Syncs the directories that logs were renamed in, once each; returns those that failed.
    fn sync_renames(
        &self,
        renamed_in: impl Iterator<Item = Arc<LogDir>>,
    ) -> Vec<(Arc<LogDir>, io::Error)> {
        let touched: HashSet<_> = renamed_in.map(|dir| dir.path().to_owned()).collect();
        let dirs = self.dirs.iter().filter(|dir| touched.contains(dir.path()));
        dirs.filter_map(|dir| dir.sync().err().map(|error| (Arc::clone(dir), error))).collect()
    }

    /// Tells who waits for it what is led of internal topics.
    pub(super) fn publish_led(&self) {
        // Looked at within, so that what is told last was seen last.
        self.led.send_if_modified(|known| {
            let led = self.led_of_internal_topics(known);
            let differs = **known != led;
            if differs {
                *known = Arc::new(led);
            }
            differs
        });
    }

    /// Whatever begins or ends is published before anything else can follow: a partition that is `known` has
    /// been led here all the time.
    fn led_of_internal_topics(&self, known: &Led) -> Led {
        let topics = self.topics();
        let internal = topics.iter().filter(|topic| is_internal(topic.name()));
        let led = internal.flat_map(|topic| topic.partitions()).filter_map(|partition| {
            let (name, topic_id) = (partition.name().clone(), partition.topic_id());
            let offsets = partition.offsets();
            if offsets.role != Role::Leader {
                return None;
            }
            let former = known.get(&name).filter(|office| office.topic_id == topic_id);
            let another = || self.offices.fetch_add(1, Ordering::Relaxed);
            let number = former.map_or_else(another, |office| office.number);
            Some((name, Office { topic_id, number, leader_epoch: offsets.leader_epoch }))
        });
        led.collect()
    }
}
