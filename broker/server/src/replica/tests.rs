//! Whole partitions on real directories: append, wait, fetch, restart, delete, lose a disk.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker_config::broker::BrokerConfig;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_storage::fs::Fs;
use broker_storage::fs::real::RealFs;
use broker_storage::log_dir::{Identity, LogDir, OpenError};

use super::delayed::{AckState, PendingAcks};
use super::fetch::{Answer, Fetch, FetchLimits, Held};
use super::fetch_session::{FetchSession, NO_SESSION, TopicRef};
use super::manager::{Become, Manager, Outcome, Settings, Stop};
use super::partition::admin::Target;
use super::partition::read::FetchPosition;
use super::partition::read::{Isolation, ReadError};
use super::partition::{AppendError, Appended, EpochEndOffset, Partition};
use super::partition_state::{Leadership, Role, StateError};
use super::producer_id::ProducerIds;
use super::validate::{Rules, validate};
use crate::clock::{Clock, SystemClock};

mod durability;
mod moving;
mod power_loss;
mod replication;
mod standing;
mod stray;

const ID: Uuid = Uuid::from_bytes([1; 16]);
const NO_LEADER_EPOCH: LeaderEpoch = LeaderEpoch(-1);

pub(crate) fn config(settings: &[(&str, &str)]) -> Arc<TopicConfig> {
    let overrides: BTreeMap<String, String> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Arc::new(TopicConfig::resolve(&BrokerConfig::default(), &overrides).unwrap())
}

fn relaxed() -> Arc<TopicConfig> {
    config(&[("ottla.durability", "replicated")])
}

pub(crate) fn open(paths: &[&Path], config: &Arc<TopicConfig>) -> Arc<Manager> {
    open_on(&(Arc::new(RealFs) as Arc<dyn Fs>), paths, config)
}

fn open_on(fs: &Arc<dyn Fs>, paths: &[&Path], config: &Arc<TopicConfig>) -> Arc<Manager> {
    let open = |path: &&Path| Arc::new(open_dir(fs, path).unwrap());
    manage(paths.iter().map(open).collect(), config)
}

fn open_dir(fs: &Arc<dyn Fs>, path: &Path) -> Result<LogDir, OpenError> {
    let identity = Identity { cluster_id: "cluster".to_owned(), broker_id: BrokerId(0) };
    LogDir::open(Arc::clone(fs), path, &identity, SystemClock.wall())
}

fn manage(dirs: Vec<Arc<LogDir>>, config: &Arc<TopicConfig>) -> Arc<Manager> {
    let clock = Arc::new(SystemClock);
    let settings = Settings {
        fetch_sessions_max: 10,
        recovery_threads: 1,
        // The records are of 1970.
        producer_id_expiration_ms: i64::MAX,
    };
    let ids = ProducerIds::new(Box::new(|| Box::pin(async { Ok(0..1) })));
    Manager::load(dirs, settings, ids, clock, &|_| Arc::clone(config), &|_, _| ())
}

/// Leads `count` partitions of topic `t`.
pub(super) fn lead(manager: &Manager, count: i32, config: &Arc<TopicConfig>) {
    for number in 0..count {
        let partition = TopicPartition { topic: "t".into(), partition: number };
        assert!(lead_one(manager, partition, ID, config, (LeaderEpoch(0), 1)), "{number} is led");
    }
}

/// Leads a partition in an epoch, alone of so many replicas; returns whether it is led.
fn lead_one(
    manager: &Manager,
    partition: TopicPartition,
    topic_id: Uuid,
    config: &Arc<TopicConfig>,
    (epoch, replicas): (LeaderEpoch, u32),
) -> bool {
    let change = Become {
        partition,
        topic_id,
        config: Arc::clone(config),
        leadership: Leadership::alone(BrokerId(0), epoch, replicas),
        leads: true,
        is_in_sync: true,
        is_new: epoch == LeaderEpoch(0),
    };
    matches!(manager.apply(vec![change])[..], [Outcome::Done(_)])
}

/// Leads `t-0` in an epoch, alone of so many replicas.
fn lead_in(manager: &Manager, config: &Arc<TopicConfig>, epoch: LeaderEpoch, replicas: u32) {
    assert!(lead_one(manager, name(), ID, config, (epoch, replicas)));
}

fn name() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

fn delete(manager: &Manager, partition: &TopicPartition) -> io::Result<()> {
    let stop = Stop { partition: partition.clone(), delete: true };
    manager.stop(&[stop]).remove(0)
}

fn batch(records: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    for number in 0..records {
        builder.push(TimestampMs(1_000 + i64::from(number)), Some(b"key"), Some(b"value"));
    }
    builder.finish().unwrap()
}

pub(crate) fn append(partition: &Arc<Partition>, records: i32) -> Result<Appended, AppendError> {
    append_bytes(partition, &batch(records))
}

pub(super) fn append_bytes(
    partition: &Arc<Partition>,
    bytes: &[u8],
) -> Result<Appended, AppendError> {
    let config = partition.config();
    let now = TimestampMs(2_000);
    let mut valid = validate(bytes, &Rules { config: &config, version: 9, now }).unwrap();
    partition.append(&mut valid.batches, NO_LEADER_EPOCH, true, now)
}

pub(super) fn at(offset: i64) -> FetchPosition {
    FetchPosition {
        fetch_offset: Offset(offset),
        max_bytes: 1 << 20,
        current_leader_epoch: NO_LEADER_EPOCH,
        last_fetched_epoch: NO_LEADER_EPOCH,
        log_start_offset: Offset(-1),
    }
}

fn limits(min_bytes: u32, wait: Duration) -> FetchLimits {
    FetchLimits {
        min_bytes,
        max_bytes: 1 << 20,
        at_least_one_each: false,
        deadline: (!wait.is_zero()).then(|| SystemClock.now() + wait),
    }
}

fn full(partitions: &[i32]) -> Held {
    let mut session = FetchSession::new(false, Isolation::ReadUncommitted);
    for partition in partitions {
        session.push(&TopicRef::Name("t".into()), *partition, at(0));
    }
    Held::Full(Box::new(session))
}

/// Returns (partition, bytes) of each answer that is no error.
fn found(answers: &[Answer]) -> Vec<(i32, bool)> {
    answers.iter().map(|a| (a.partition, a.outcome.as_ref().unwrap().1.size() > 0)).collect()
}

async fn visible(partition: &Arc<Partition>, appended: Appended) -> AckState {
    let acks = PendingAcks::new(1);
    partition.when_visible(appended.required_offset, &acks, 0);
    acks.settled(SystemClock.now() + Duration::from_mins(1)).await;
    acks.state(0)
}

#[test]
fn a_relaxed_topic_shows_what_was_appended_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 1, &relaxed());
    let partition = manager.partition("t", 0).unwrap();
    let appended = append(&partition, 3).unwrap();
    assert!(appended.is_visible);
    assert_eq!((appended.base_offset, appended.required_offset), (Offset(0), Offset(3)));
    assert_eq!(append(&partition, 2).unwrap().base_offset, Offset(3));

    let read = partition.read(&at(4), Isolation::ReadUncommitted, 1 << 20, true).unwrap();
    let slice = read.slice.unwrap();
    let mut bytes = vec![0; slice.size as usize];
    slice.file.read_exact_at(&mut bytes, u64::from(slice.position)).unwrap();
    let mut expected = batch(2);
    expected[..8].copy_from_slice(&3_i64.to_be_bytes());
    expected[12..16].copy_from_slice(&0_i32.to_be_bytes());
    assert_eq!(bytes, expected, "byte for byte but for offset and epoch");
}

#[tokio::test]
async fn a_synced_topic_shows_records_after_the_group_commit() {
    let dir = tempfile::tempdir().unwrap();
    let synced = config(&[]);
    let manager = open(&[dir.path()], &synced);
    lead(&manager, 1, &synced);
    let partition = manager.partition("t", 0).unwrap();
    let appended = append(&partition, 3).unwrap();
    assert_eq!(visible(&partition, appended).await, AckState::Done);
    let offsets = partition.offsets();
    assert_eq!((offsets.high_watermark, offsets.recovery_point), (Offset(3), Offset(3)));
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 2, &relaxed());
    let limits = limits(1, Duration::from_mins(1));
    let mut fetch = Fetch::new(Arc::clone(&manager), full(&[0, 1]), limits);
    assert!(!fetch.read_queued());
    let partition = manager.partition("t", 1).unwrap();
    let (answers, ()) = tokio::join!(
        async {
            fetch.wait().await;
            fetch.answers().0
        },
        async {
            append(&partition, 1).unwrap();
        }
    );
    assert_eq!(found(&answers), [(0, false), (1, true)]);
}

#[tokio::test]
async fn a_fetch_for_nothing_ends_at_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 1, &relaxed());
    let limits = limits(1, Duration::from_millis(1));
    let mut fetch = Fetch::new(Arc::clone(&manager), full(&[0]), limits);
    assert!(!fetch.read_queued());
    fetch.wait().await;
    assert_eq!(found(&fetch.answers().0), [(0, false)]);
}

#[test]
fn an_unknown_partition_answers_at_once_and_alone() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 1, &relaxed());
    let limits = limits(1, Duration::from_mins(1));
    let mut fetch = Fetch::new(Arc::clone(&manager), full(&[0, 7]), limits);
    assert!(fetch.read_queued());
    let (answers, _) = fetch.answers();
    assert!(answers[0].outcome.is_ok());
    assert!(matches!(answers[1].outcome, Err(ReadError::UnknownPartition)));
}

/// Clients before version 3 are given a part of a batch, for which all of it is read: but none once
/// the answer's bytes are spent, and none of a partition of which no byte is wanted.
#[test]
fn nothing_is_read_for_an_answer_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 4, &relaxed());
    for number in 0..4 {
        append(&manager.partition("t", number).unwrap(), 1).unwrap();
    }
    let size = batch(1).len() as u32;
    let cases = [
        ("a byte is left for the second", size + 1, [false, true, true, false]),
        ("the second would find none", size, [false, true, false, false]),
    ];
    for (name, max_bytes, expected) in cases {
        let mut session = FetchSession::new(false, Isolation::ReadUncommitted);
        for number in 0..4 {
            let max_bytes = u32::from(number != 0);
            let position = FetchPosition { max_bytes, ..at(0) };
            session.push(&TopicRef::Name("t".into()), number, position);
        }
        let limits =
            FetchLimits { max_bytes, at_least_one_each: true, ..limits(0, Duration::ZERO) };
        let held = Held::Full(Box::new(session));
        let mut fetch = Fetch::new(Arc::clone(&manager), held, limits);
        assert!(fetch.read_queued());
        let found: Vec<_> = found(&fetch.answers().0).into_iter().map(|(_, any)| any).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_session_is_told_only_what_is_new_and_looks_only_at_what_moved() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 3, &relaxed());
    let now = SystemClock.now();
    let at_once = limits(1, Duration::ZERO);
    let mut fetch = Fetch::new(Arc::clone(&manager), full(&[0, 1, 2]), at_once);
    assert!(fetch.read_queued());
    let (answers, held) = fetch.answers();
    assert_eq!(answers.len(), 3);
    let Held::Full(session) = held else { panic!("a full fetch") };
    let id = manager.sessions().insert(session, now);
    assert_ne!(id, NO_SESSION);

    let next = |epoch: i32, append_to: Option<i32>| {
        let in_use = manager.sessions().check_out(id, epoch, false, now).unwrap();
        if let Some(number) = append_to {
            append(&manager.partition("t", number).unwrap(), 1).unwrap();
        }
        let mut held = Held::Session(in_use);
        held.session().begin(Isolation::ReadUncommitted);
        let visited = held.session().queue().len();
        let mut fetch = Fetch::new(Arc::clone(&manager), held, at_once);
        assert!(fetch.read_queued());
        let (answers, _) = fetch.answers();
        (visited, found(&answers))
    };
    assert_eq!(next(1, None), (3, vec![]), "the first look subscribes");
    assert_eq!(next(2, None), (0, vec![]), "idle partitions are not looked at");
    assert_eq!(next(3, Some(1)), (1, vec![(1, true)]));
    assert_eq!(next(4, None), (1, vec![(1, true)]), "what was not read is still there");
}

#[test]
fn positions_outside_the_log_and_strangers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 1, &relaxed());
    let partition = manager.partition("t", 0).unwrap();
    append(&partition, 3).unwrap();
    let read = |position: FetchPosition| {
        partition.read(&position, Isolation::ReadUncommitted, 1 << 20, true)
    };
    for offset in [-1, 4] {
        assert!(matches!(read(at(offset)), Err(ReadError::OffsetOutOfRange { .. })), "{offset}");
    }
    assert_eq!(read(at(3)).unwrap().size(), 0);
    let fenced = FetchPosition { current_leader_epoch: LeaderEpoch(1), ..at(0) };
    let error = read(fenced).unwrap_err();
    assert!(matches!(error, ReadError::State(StateError::UnknownLeaderEpoch { .. })), "{error}");
    let ahead = FetchPosition { last_fetched_epoch: LeaderEpoch(0), ..at(4) };
    let diverging = read(ahead).unwrap().diverging.unwrap();
    assert_eq!((diverging.leader_epoch, diverging.end_offset), (LeaderEpoch(0), Offset(3)));
}

#[test]
fn offsets_are_found_by_time_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 1, &relaxed());
    let partition = manager.partition("t", 0).unwrap();
    append(&partition, 3).unwrap();
    let find = |target| {
        let found =
            partition.find(target, Some(Isolation::ReadUncommitted), NO_LEADER_EPOCH).unwrap();
        found.map(|found| (found.timestamp.0, found.offset.0, found.leader_epoch.0))
    };
    assert_eq!(find(Target::Earliest), Some((-1, 0, 0)));
    assert_eq!(find(Target::Latest), Some((-1, 3, 0)));
    assert_eq!(find(Target::MaxTimestamp), Some((1_002, 2, 0)));
    assert_eq!(find(Target::At(TimestampMs(1_001))), Some((1_001, 1, 0)));
    assert_eq!(find(Target::At(TimestampMs(1_003))), None);
}

#[test]
fn a_clean_stop_keeps_records_and_the_deletion_of_records() {
    let dir = tempfile::tempdir().unwrap();
    let synced = config(&[]);
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 2, &relaxed());
    let partition = manager.partition("t", 1).unwrap();
    append(&partition, 5).unwrap();
    assert_eq!(manager.delete_records(&partition, Offset(2)).unwrap(), Offset(2));
    assert!(manager.delete_records(&partition, Offset(6)).is_err());
    manager.close(7);
    drop((partition, manager));

    let manager = open(&[dir.path()], &synced);
    assert!(manager.log_dirs()[0].was_clean());
    let partition = manager.partition("t", 1).unwrap();
    assert_eq!(partition.offsets().role, Role::Follower, "nothing is led before it is said");
    lead(&manager, 2, &synced);
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start_offset, offsets.high_watermark), (Offset(2), Offset(5)));
    assert_eq!(partition.topic_id(), ID);
}

#[test]
fn a_topic_created_again_has_no_records_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    lead(&manager, 1, &relaxed());
    let old = manager.partition("t", 0).unwrap();
    append(&old, 3).unwrap();
    let id = Uuid::from_bytes([2; 16]);
    let epoch = (LeaderEpoch(0), 1);
    assert!(!lead_one(&manager, name(), id, &relaxed(), epoch), "the old one is in its place");
    delete(&manager, &name()).unwrap();
    assert!(lead_one(&manager, name(), id, &relaxed(), epoch));
    let new = manager.partition("t", 0).unwrap();
    assert_eq!((new.topic_id(), new.offsets().log_end_offset), (id, Offset(0)));
    assert!(old.is_deleted());
    assert!(matches!(append(&old, 1), Err(AppendError::State(StateError::Deleted))));
    assert!(manager.topic_by_id(ID).is_none());

    delete(&manager, &name()).unwrap();
    delete(&manager, &name()).unwrap();
    assert!(manager.topic("t").is_none());
    assert_eq!(manager.retired_counters().messages_in.get(), 0);
}

/// A log whose making was cut short says nothing of its topic: the others of that topic stay known, whichever
/// is read first.
#[test]
fn a_log_without_a_topic_id_hides_no_other_of_its_topic() {
    for unfinished in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let manager = open(&[dir.path()], &relaxed());
        lead(&manager, 3, &relaxed());
        manager.close(0);
        drop(manager);
        let metadata = dir.path().join(format!("t-{unfinished}/partition.metadata"));
        RealFs.remove_file(&metadata).unwrap();

        let manager = open(&[dir.path()], &relaxed());
        let here = manager.partitions().len();
        assert_eq!(here, 3, "without the id of {unfinished}");
        assert_eq!(manager.topic_by_id(ID).unwrap().partitions().len(), 3);
        lead(&manager, 3, &relaxed());
    }
}

#[tokio::test]
async fn a_lost_directory_takes_its_partitions_with_it_and_no_others() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let synced = config(&[]);
    let manager = open(&[first.path(), second.path()], &synced);
    lead(&manager, 4, &synced);
    let of = |index: usize| {
        let dir = &manager.log_dirs()[index];
        let mut partitions = manager.partitions();
        partitions.retain(|partition| Arc::ptr_eq(&partition.dir(), dir));
        partitions
    };
    let (lost, kept) = (of(0), of(1));
    assert_eq!((lost.len(), kept.len()), (2, 2), "logs are spread");
    manager.log_dirs()[0].note_error(&io::Error::other("the disk is gone"));
    let failed = match append(&lost[0], 1) {
        Ok(appended) => visible(&lost[0], appended).await == AckState::StorageFailed,
        Err(error) => matches!(error, AppendError::State(StateError::Offline)),
    };
    assert!(failed);
    let appended = append(&kept[0], 1).unwrap();
    assert_eq!(visible(&kept[0], appended).await, AckState::Done);
}

/// A directory that cannot be loaded keeps its logs: nobody makes empty ones in their place.
#[test]
fn a_log_in_an_unloadable_directory_is_not_made_anew_elsewhere() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = open(&[first.path()], &relaxed());
    lead(&manager, 1, &relaxed());
    manager.close(0);
    drop(manager);
    // A checkpoint that is a directory cannot be read.
    let checkpoint = first.path().join("log-start-offset-checkpoint");
    RealFs.remove_file(&checkpoint).unwrap();
    RealFs.create_dir_all(&checkpoint).unwrap();

    let manager = open(&[first.path(), second.path()], &relaxed());
    assert!(!lead_one(&manager, name(), ID, &relaxed(), (LeaderEpoch(1), 1)));
    let other = TopicPartition { topic: "u".into(), partition: 0 };
    let id = Uuid::from_bytes([3; 16]);
    assert!(lead_one(&manager, other, id, &relaxed(), (LeaderEpoch(0), 1)));
}

/// Segments and whole logs alike.
#[test]
fn files_of_what_was_deleted_stay_for_their_delay() {
    for (delay_ms, is_left) in [("0", false), ("3600000", true)] {
        let config = config(&[
            ("ottla.durability", "replicated"),
            ("segment.bytes", "100"),
            ("retention.bytes", "1"),
            ("file.delete.delay.ms", delay_ms),
        ]);
        let dir = tempfile::tempdir().unwrap();
        let manager = open(&[dir.path()], &config);
        lead(&manager, 1, &config);
        let partition = manager.partition("t", 0).unwrap();
        for _ in 0..3 {
            append(&partition, 1).unwrap();
        }
        let is_any = |within: &Path, suffix: &str| {
            let entries = RealFs.list(within).unwrap();
            entries.iter().any(|entry| entry.name.ends_with(suffix))
        };
        manager.keep();
        manager.purge();
        assert!(partition.offsets().log_start_offset > Offset(0), "{delay_ms}");
        let log = dir.path().join("t-0");
        assert_eq!(is_any(&log, ".deleted"), is_left, "segments after {delay_ms} ms");
        delete(&manager, partition.name()).unwrap();
        manager.purge();
        assert_eq!(is_any(dir.path(), "-delete"), is_left, "the log after {delay_ms} ms");
        assert!(!is_any(dir.path(), "t-0"), "its name is free at once");
    }
}

/// Method: a leader of three replicas that is in sync alone; an acknowledgement of its own it gives anyway.
#[test]
fn acks_all_is_refused_with_fewer_replicas_in_sync_than_the_topic_asks_for() {
    for (min_insync_replicas, required) in [("1", None), ("2", Some(2)), ("5", Some(3))] {
        let config = config(&[("min.insync.replicas", min_insync_replicas)]);
        let dir = tempfile::tempdir().unwrap();
        let manager = open(&[dir.path()], &config);
        lead_in(&manager, &config, LeaderEpoch(0), 3);
        let partition = manager.partition("t", 0).unwrap();
        let append = |is_acks_all| {
            let now = TimestampMs(2_000);
            let bytes = batch(1);
            let rules = Rules { config: &config, version: 9, now };
            let mut valid = validate(&bytes, &rules).unwrap();
            partition.append(&mut valid.batches, NO_LEADER_EPOCH, is_acks_all, now)
        };
        append(false).unwrap();
        let refused = match append(true) {
            Err(AppendError::State(StateError::NotEnoughReplicas { in_sync: 1, required })) => {
                Some(required)
            }
            appended => {
                appended.unwrap();
                None
            }
        };
        assert_eq!(refused, required, "min.insync.replicas={min_insync_replicas}");
    }
}
