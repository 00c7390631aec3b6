//! All partitions of this broker: found by name or id, created, deleted, and kept in order.
//!
//! State: the topics (`topics`), the log directories, the fetch sessions, the source of producer ids,
//! and the files that wait to be deleted. Each partition guards itself.
//!
//! Concurrency: shared. Look-ups take no lock. Methods that create, delete, checkpoint or keep logs
//! wait for the disk: they are for blocking threads and never called by a network thread.
//! Errors: a log directory that fails takes its partitions offline; the others go on.
//!
//! Source: Kafka 3.9 `ReplicaManager` and `LogManager`.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use broker_config::topic::{Durability, TopicConfig};
use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_storage::format::{DirKind, parse_dir_name};
use broker_storage::log::Log;
use broker_storage::log_dir::{DeletedDir, LoadSettings, LogDir, Progress};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::attention::Attention;
use super::contact::Contact;
use super::fetch_session::cache::SessionCache;
use super::partition::admin::AdminError;
use super::partition::{Partition, durability};
use super::partition_state::Role;
use super::producer_id::ProducerIds;
use super::standing::Standings;
use super::throttle::Throttles;
use crate::clock::SharedClock;

mod apply;
mod jobs;
mod moves;
mod topics;
mod truncate;

pub use apply::{Become, Led, Office, Outcome, Stop};
use jobs::Trash;
pub use moves::AlterDirError;
pub use topics::Topic;
use topics::Topics;
pub use truncate::{CutDone, Truncation};

/// What the manager is told at the start.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads: usize,
    /// `producer.id.expiration.ms` while logs are loaded.
    pub producer_id_expiration_ms: i64,
}

/// The epoch of a partition's first leader (`LeaderAndIsr.InitialLeaderEpoch`).
const FIRST_EPOCH: LeaderEpoch = LeaderEpoch(0);

/// What is in the directories that failed while they were loaded.
#[derive(Debug, Default)]
struct Unloaded {
    logs: BTreeSet<TopicPartition>,
    /// Whether a directory could not even be listed: then any log may be in it.
    is_unknown: bool,
}

impl Unloaded {
    fn add(&mut self, dir: &LogDir) {
        let Ok(entries) = dir.fs().list(dir.path()) else {
            self.is_unknown = true;
            return;
        };
        let logs = entries.iter().filter_map(|entry| match parse_dir_name(&entry.name)? {
            (partition, DirKind::Current) => Some(partition),
            (_, DirKind::Delete | DirKind::Future | DirKind::Stray) => None,
        });
        self.logs.extend(logs);
    }
}

/// The partitions of this broker. Shared.
#[derive(Debug)]
pub struct Manager {
    topics: Topics,
    dirs: Vec<Arc<LogDir>>,
    /// Logs that could not be loaded.
    damaged: Vec<TopicPartition>,
    unloaded: Unloaded,
    sessions: Arc<SessionCache>,
    producer_ids: ProducerIds,
    clock: SharedClock,
    attention: Arc<Attention>,
    standings: Standings,
    contact: Contact,
    throttles: Throttles,
    /// Told when a replica begins to move to another directory.
    moves: Notify,
    /// Where replicas are to be made that are not here yet.
    preferred_dirs: Mutex<HashMap<TopicPartition, Arc<LogDir>>>,
    /// What this broker leads of internal topics.
    led: watch::Sender<Arc<Led>>,
    /// How many offices there have been.
    offices: AtomicU64,
    /// How many log directories have failed.
    failed_dirs: watch::Sender<usize>,
    /// How often logs could not be created in a directory that works: it is full, say.
    uncreated: watch::Sender<usize>,
    /// Settings of topics that a full disk refused; held by whoever gives a topic its settings.
    late_settings: Mutex<HashMap<Arc<str>, Arc<TopicConfig>>>,
    /// Held by whoever creates or deletes logs.
    changing: Mutex<()>,
    /// Held by whoever writes recovery points.
    checkpointing: Mutex<()>,
    trash: Mutex<Trash>,
}

impl Manager {
    /// Loads the logs of all directories, recovering them where needed.
    ///
    /// A directory that fails is offline afterwards; the others are served. `config` gives the
    /// configuration of a topic by name. No partition is led before [`Manager::apply`].
    pub fn load(
        dirs: Vec<Arc<LogDir>>,
        settings: Settings,
        producer_ids: ProducerIds,
        clock: SharedClock,
        config: &(dyn Fn(&str) -> Arc<TopicConfig> + Sync),
        progress: &(dyn Fn(&LogDir, Progress) + Sync),
    ) -> Arc<Self> {
        let load = LoadSettings {
            threads: settings.recovery_threads,
            now: clock.wall(),
            producer_id_expiration_ms: settings.producer_id_expiration_ms,
        };
        let (topics, mut damaged, mut trash) = (Topics::default(), Vec::new(), Trash::default());
        let (mut unloaded, mut futures) = (Unloaded::default(), Vec::new());
        let (attention, standings) = (Arc::<Attention>::default(), Standings::default());
        for dir in &dirs {
            let loaded = match dir.load(load, config, &|done| progress(dir, done)) {
                Ok(loaded) => loaded,
                Err(error) => {
                    let (failed, dir) = (dir, dir.path().display());
                    tracing::error!(%dir, %error, "log directory cannot be loaded");
                    unloaded.add(failed);
                    continue;
                }
            };
            futures.extend(loaded.futures.into_iter().map(|log| (log, Arc::clone(dir))));
            let here = loaded.logs.into_iter();
            let here = here.filter(|log| !moves::is_second(&topics, dir, &log.log));
            let partitions: Vec<_> = here
                .map(|log| {
                    let config = config(&log.log.partition().topic);
                    topics.admit(log, dir, config, &attention)
                })
                .collect();
            let logs: Vec<_> =
                partitions.iter().map(|p| (p.name().clone(), p.is_synced())).collect();
            if let Err(error) = standings.begin(dir, &logs) {
                let dir = dir.path().display();
                tracing::error!(%dir, %error, "what is proven of its logs is not known");
            }
            topics.insert_all(partitions);
            damaged.extend(loaded.failed.into_iter().map(|failed| failed.partition));
            // Left by the last process, whose delay is over for all we know.
            trash.add_dirs(loaded.deleted, clock.now());
        }
        let manager = Arc::new(Self {
            topics,
            dirs,
            damaged,
            unloaded,
            sessions: SessionCache::new(settings.fetch_sessions_max),
            producer_ids,
            clock,
            attention,
            standings,
            contact: Contact::default(),
            throttles: Throttles::default(),
            moves: Notify::new(),
            preferred_dirs: Mutex::default(),
            late_settings: Mutex::default(),
            led: watch::Sender::default(),
            offices: AtomicU64::default(),
            failed_dirs: watch::Sender::default(),
            uncreated: watch::Sender::default(),
            changing: Mutex::new(()),
            checkpointing: Mutex::new(()),
            trash: Mutex::new(trash),
        });
        for dir in &manager.dirs {
            watch_for_offline(&Arc::downgrade(&manager), dir);
        }
        for (log, dir) in futures {
            manager.resume_move(log, &dir);
        }
        manager
    }

    /// Returns the topic `name`, if a replica of it is here.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.by_name(name)
    }

    /// Returns the topic of this id, if a replica of it is here.
    pub fn topic_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.topics.by_id(id)
    }

    /// Returns a partition, if a replica of it is here.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.topic(topic)?.partition(partition)
    }

    /// Returns all topics, in no order.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.all()
    }

    /// Returns all partitions, in no order.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.topics().iter().flat_map(|topic| topic.partitions()).collect()
    }

    /// Returns what topics that are gone had counted.
    pub fn retired_counters(&self) -> &super::counters::TopicCounters {
        self.topics.retired()
    }

    /// Returns the log directories, offline ones included.
    pub fn log_dirs(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// Returns the partitions whose logs could not be loaded.
    #[cfg(test)]
    pub(super) fn damaged(&self) -> &[TopicPartition] {
        &self.damaged
    }

    /// Returns where the partitions read time.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Returns the fetch sessions.
    pub fn sessions(&self) -> &Arc<SessionCache> {
        &self.sessions
    }

    /// Returns the partitions that may need another ISR.
    pub fn attention(&self) -> &Arc<Attention> {
        &self.attention
    }

    /// Returns which replicas cannot prove that they are complete.
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// Returns whom this broker hears of.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Returns whether this broker may lead `partition` no more without knowing it.
    pub fn may_be_deposed(&self, partition: &Partition) -> bool {
        self.contact.is_tree_lost()
            && self.contact.is_cut_off(&partition.others_in_sync(), self.clock.now())
    }

    /// Returns how much has passed of what is throttled.
    pub fn throttles(&self) -> &Throttles {
        &self.throttles
    }

    /// Returns what this broker leads of internal topics, now and from now on.
    pub fn led(&self) -> watch::Receiver<Arc<Led>> {
        self.led.subscribe()
    }

    /// Returns how many log directories have failed, now and from now on.
    pub fn failed_dirs(&self) -> watch::Receiver<usize> {
        self.failed_dirs.subscribe()
    }

    /// Returns how often logs could not be created in a directory that works, now and from now on.
    pub fn uncreated(&self) -> watch::Receiver<usize> {
        self.uncreated.subscribe()
    }

    /// Returns the source of producer ids.
    pub fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    /// Uses `config` for all partitions of a topic from now on. Waits for the disk where the topic becomes a
    /// relaxed one; partitions in a directory that is full are given it with a later checkpoint.
    pub fn set_config(&self, topic: &str, config: &Arc<TopicConfig>) {
        let mut late = self.late_settings.lock();
        late.remove(topic);
        if !self.configure_all(topic, config) {
            late.insert(topic.into(), Arc::clone(config));
        }
    }

    /// Gives partitions the settings that a full disk refused before.
    fn set_late_configs(&self) {
        let mut late = self.late_settings.lock();
        late.retain(|topic, config| !self.configure_all(topic, config));
    }

    /// Returns whether all partitions of the topic have the settings now.
    fn configure_all(&self, topic: &str, config: &Arc<TopicConfig>) -> bool {
        let mut are_all = true;
        let partitions: Vec<_> = self.topic(topic).iter().flat_map(|t| t.partitions()).collect();
        for dir in &self.dirs {
            let here = partitions.iter().filter(|partition| Arc::ptr_eq(&partition.dir(), dir));
            let (relaxed, rest): (Vec<_>, Vec<_>) =
                here.partition(|partition| becomes_relaxed(partition, config));
            for partition in rest {
                self.give(partition, config);
            }
            if relaxed.is_empty() {
                continue;
            }
            let names = relaxed.iter().map(|partition| partition.name().clone());
            if let Err(error) = self.standings.relax(dir, names.collect()) {
                tracing::error!(topic, dir = %dir.path().display(), %error, "settings are not applied yet");
                are_all = false;
                continue;
            }
            for partition in relaxed {
                self.give(partition, config);
            }
        }
        are_all
    }

    /// Gives one partition the settings that came with an order.
    fn configure(&self, partition: &Arc<Partition>, config: Arc<TopicConfig>) {
        if becomes_relaxed(partition, &config)
            && let Err(error) =
                self.standings.relax(&partition.dir(), vec![partition.name().clone()])
        {
            tracing::error!(partition = %partition.name(), %error, "settings are not applied yet");
            self.late_settings.lock().insert(partition.name().topic.clone(), config);
            return;
        }
        self.give(partition, &config);
    }

    fn give(&self, partition: &Arc<Partition>, config: &Arc<TopicConfig>) {
        let was_synced = partition.is_synced();
        partition.set_config(Arc::clone(config));
        if !was_synced && durability(config) == Durability::Synced {
            self.standings.becomes_synced(partition.name());
        }
    }

    /// Deletes the records below `offset` (-1: below the high watermark), durably; returns the first
    /// offset that is left. Waits for the disk.
    ///
    /// # Errors
    /// As [`Partition::delete_records`]; with a failed disk the records may or may not be gone.
    pub fn delete_records(
        &self,
        partition: &Arc<Partition>,
        offset: Offset,
    ) -> Result<Offset, AdminError> {
        let start = partition.delete_records(offset)?;
        // Without it the records would come back with the next start.
        self.checkpoint_log_starts(&partition.dir())?;
        self.remove_old_segments(partition);
        Ok(start)
    }

    /// Makes a partition of a log that was just created for `change` in `dir`.
    fn admit(&self, dir: &Arc<LogDir>, log: Log, change: &Become) -> Arc<Partition> {
        let start = log.log_start_offset();
        let counters = self.topics.counters(&change.partition.topic, change.topic_id);
        let (dir, config) = (Arc::clone(dir), Arc::clone(&change.config));
        let attention = Arc::clone(&self.attention);
        Partition::new(change.topic_id, dir, log, start, config, counters, attention)
    }

    /// Renames the log of a partition away, which is gone at once; durable once its directory is synced. Not
    /// before that [`Manager::discard`] may have its files.
    fn delete_log(&self, partition: &Arc<Partition>) -> std::io::Result<DeletedDir> {
        self.topics.remove(partition.name());
        partition.end(Role::Deleted);
        self.standings.forget(partition.name());
        self.end_move(partition);
        partition.delete_log()
    }

    /// Has the files of a deleted log removed after `file.delete.delay.ms`.
    fn discard(&self, partition: &Partition, deleted: DeletedDir) {
        let delay = partition.config().file_delete_delay_ms;
        let delay = std::time::Duration::from_millis(delay.max(0) as u64);
        self.trash.lock().add_dirs(vec![deleted], self.clock.now() + delay);
    }

    /// Assigns new logs to the directories with the fewest; `None` if every directory is offline.
    fn spread(&self, missing: Vec<TopicPartition>) -> Option<Vec<Spread>> {
        let partitions = self.partitions();
        let mut loads: Vec<_> = self
            .dirs
            .iter()
            .filter(|dir| !dir.offline().is_offline())
            .map(|dir| {
                let count = partitions.iter().filter(|p| Arc::ptr_eq(&p.dir(), dir)).count();
                (count, Arc::clone(dir), Vec::new())
            })
            .collect();
        for name in missing {
            let preferred = self.preferred_dirs.lock().remove(&name);
            let wanted = preferred
                .and_then(|dir| loads.iter_mut().find(|(_, other, _)| Arc::ptr_eq(other, &dir)));
            if let Some((count, _, names)) = wanted {
                *count += 1;
                names.push(name);
                continue;
            }
            let least = loads.iter_mut().min_by_key(|(count, _, _)| *count);
            let (count, _, names) = least?;
            *count += 1;
            names.push(name);
        }
        let used = loads.into_iter().filter(|(_, _, names)| !names.is_empty());
        Some(used.map(|(_, dir, names)| (dir, names)).collect())
    }
}

/// A directory and the new logs that it gets.
type Spread = (Arc<LogDir>, Vec<TopicPartition>);

/// Ends the partitions of a directory when it goes offline.
fn watch_for_offline(manager: &Weak<Manager>, dir: &Arc<LogDir>) {
    let (manager, weak_dir) = (Weak::clone(manager), Arc::downgrade(dir));
    let end = move || {
        let (Some(manager), Some(dir)) = (manager.upgrade(), weak_dir.upgrade()) else { return };
        for partition in manager.partitions() {
            if Arc::ptr_eq(&partition.dir(), &dir) {
                partition.end(Role::Offline);
            }
            if partition.moving().is_some_and(|moving| Arc::ptr_eq(&moving.dir, &dir)) {
                // What was copied is of no use; the log is where it was.
                let _ = partition.end_move();
            }
        }
        manager.publish_led();
        // Only now, for the controller asks at once what is still here.
        manager.failed_dirs.send_modify(|count| *count += 1);
    };
    let end = Arc::new(end);
    dir.offline().on_offline(Box::new(move |_, _| {
        // On a thread of its own: whoever met the error may hold the lock of a partition.
        let end = Arc::clone(&end);
        let thread = std::thread::Builder::new().name("log-dir-offline".to_owned());
        if let Err(error) = thread.spawn(move || end()) {
            tracing::error!(%error, "partitions of an offline directory are found out one by one");
        }
    }));
    if dir.offline().is_offline() {
        // It failed while it was loaded: what had been loaded of it is not served.
        tracing::warn!(dir = %dir.path().display(), "starting without a log directory");
    }
}

/// Whether `config` makes the topic a relaxed one, which it was not.
fn becomes_relaxed(partition: &Partition, config: &TopicConfig) -> bool {
    partition.is_synced() && durability(config) == Durability::Replicated
}
