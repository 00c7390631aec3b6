//! Compacted topics on real directories, under the runner that the broker starts.

use std::path::Path;

use arc_swap::ArcSwap;
use broker_config::raw::Properties;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::checkpoint::{CLEANER_FILE, OffsetCheckpoint};
use broker_storage::fs::real::RealFs;

use super::*;
use crate::replica::delayed::PendingAcks;
use crate::replica::manager::Stop;
use crate::replica::partition::read::Isolation;
use crate::replica::partition::{AppendError, Appended};
use crate::replica::tests::{append, append_bytes, at, config, lead, open};

const LIMIT: Duration = Duration::from_mins(1);

fn compacted() -> Arc<TopicConfig> {
    config(&[
        ("cleanup.policy", "compact"),
        ("segment.bytes", "200"),
        ("ottla.durability", "synced"),
    ])
}

fn broker(settings: &[&str]) -> SharedConfig {
    let mut properties = Properties::default();
    for setting in settings {
        properties.set(setting).unwrap();
    }
    Arc::new(ArcSwap::from_pointee(BrokerConfig::from_properties(&properties).unwrap()))
}

/// Appends ten batches with one key, and waits until they are durable: only what is may be compacted.
async fn fill(manager: &Manager, number: i32) -> Arc<Partition> {
    let partition = manager.partition("t", number).unwrap();
    for _ in 0..10 {
        visible(manager, &partition, append(&partition, 2)).await;
    }
    partition
}

async fn visible(
    manager: &Manager,
    partition: &Arc<Partition>,
    appended: Result<Appended, AppendError>,
) {
    let acks = PendingAcks::new(1);
    partition.when_visible(appended.unwrap().required_offset, &acks, 0);
    acks.settled(manager.clock().now() + LIMIT).await;
}

fn checkpoint(dir: &Path) -> Vec<(TopicPartition, Offset)> {
    let checkpoint = OffsetCheckpoint::new(Arc::new(RealFs), dir, CLEANER_FILE);
    checkpoint.read().unwrap().into_iter().collect()
}

#[tokio::test]
async fn a_compacted_log_keeps_the_newest_record_of_a_key_and_is_then_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &compacted());
    lead(&manager, 1, &compacted());
    let partition = fill(&manager, 0).await;
    let before = partition.offsets();
    let cleaner = Cleaner::new(Arc::clone(&manager), broker(&[]));
    assert_eq!(cleaner.turn(), Turn::Again);
    assert_eq!(cleaner.turn(), Turn::Rest, "what is clean is left alone");
    let after = partition.offsets();
    assert!(after.size_in_bytes < before.size_in_bytes, "{before:?} {after:?}");
    assert_eq!(after.log_end_offset, before.log_end_offset);
    let read = partition.read(&at(0), Isolation::ReadUncommitted, 1 << 20, true).unwrap();
    assert!(read.size() > 0, "a position in a hole gives the next batch");
    let facts = cleaner.facts();
    assert_eq!(facts.rounds.load(Ordering::Relaxed), 1);
    assert!(
        facts.records_read.load(Ordering::Relaxed) > facts.records_kept.load(Ordering::Relaxed)
    );
}

/// Two partitions, two threads, no wait: the checkpoint names both, and the next process finds them
/// clean.
#[tokio::test]
async fn the_runner_compacts_every_log_and_a_restart_goes_on_from_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &compacted());
    lead(&manager, 2, &compacted());
    let sizes = [fill(&manager, 0).await, fill(&manager, 1).await]
        .map(|partition| (partition.offsets().size_in_bytes, partition));
    let settings = broker(&["log.cleaner.threads=2", "log.cleaner.backoff.ms=10"]);
    let cleaner = Cleaner::new(Arc::clone(&manager), Arc::clone(&settings));
    let shutdown = CancellationToken::new();
    let mut run = JoinSet::new();
    run.spawn(Arc::clone(&cleaner).run(shutdown.clone()));
    while cleaner.facts().rounds.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    run.join_next().await.unwrap().unwrap();
    for (before, partition) in &sizes {
        assert!(partition.offsets().size_in_bytes < *before, "{}", partition.name());
    }
    let written = checkpoint(dir.path());
    assert_eq!(written.iter().map(|(name, _)| name.partition).collect::<Vec<_>>(), [0, 1]);
    assert!(written.iter().all(|(_, offset)| offset.0 > 0), "{written:?}");
    manager.close(0);
    drop((sizes, cleaner, manager));

    let manager = open(&[dir.path()], &compacted());
    let cleaner = Cleaner::new(Arc::clone(&manager), settings);
    assert_eq!(cleaner.turn(), Turn::Rest, "nothing is dirty above the checkpoint");
    assert!(cleaner.facts().last_search_ms.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_log_that_is_deleted_is_forgotten_and_its_successor_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &compacted());
    lead(&manager, 2, &compacted());
    let partition = fill(&manager, 0).await;
    fill(&manager, 1).await;
    let cleaner = Cleaner::new(Arc::clone(&manager), broker(&[]));
    assert_eq!((cleaner.turn(), cleaner.turn()), (Turn::Again, Turn::Again));
    assert_eq!(checkpoint(dir.path()).len(), 2);

    let cleanable = partition.cleanable(None, manager.clock().wall()).unwrap();
    let limit = map_limit(&cleaner.config.load());
    let stop = Stop { partition: partition.name().clone(), delete: true };
    manager.stop(&[stop]).remove(0).unwrap();
    let outcome = cleaner.compact(&partition, cleanable, limit);
    assert!(matches!(outcome, Err(CleanError::Stopped)), "{outcome:?}");
    let (dir_of, base_offset) = (partition.dir(), Offset(0));
    let source = io::ErrorKind::NotFound.into();
    let error = CleanError::Read { dir: dir_of.path().into(), base_offset, source };
    assert_eq!(cleaner.failed(&partition, &error, limit), Turn::Rest);
    assert!(!dir_of.offline().is_offline(), "files that were renamed are no failure of the disk");

    // The checkpoint is written with the next round of the directory.
    let other = fill(&manager, 1).await;
    assert_eq!(cleaner.turn(), Turn::Again);
    let written = checkpoint(dir.path());
    assert_eq!(written.iter().map(|(name, _)| name).collect::<Vec<_>>(), [other.name()]);
}

#[tokio::test]
async fn a_damaged_log_is_given_up_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &compacted());
    lead(&manager, 2, &compacted());
    let (bad, good) = (fill(&manager, 0).await, fill(&manager, 1).await);
    let cleanable = bad.cleanable(None, manager.clock().wall()).unwrap();
    let snapshot = bad.snapshot_for_cleaner(cleanable).unwrap().unwrap();
    let file = &snapshot.sources[0].file;
    file.write_all_at(&mut [io::IoSlice::new(&[0xff; 8])], 70).unwrap();

    let cleaner = Cleaner::new(Arc::clone(&manager), broker(&[]));
    let before = good.offsets().size_in_bytes;
    assert_eq!((cleaner.turn(), cleaner.turn()), (Turn::Again, Turn::Again));
    assert_eq!(cleaner.turn(), Turn::Rest);
    assert!(good.offsets().size_in_bytes < before);
    let facts = cleaner.facts();
    let counts = (&facts.rounds, &facts.failures);
    assert_eq!((counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(facts.uncleanable.load(Ordering::Relaxed), 1);
    assert!(!manager.log_dirs()[0].offline().is_offline(), "damage is no failure of the disk");
}

/// Method: a log of more keys than fit; a round ends at the batch whose keys would not.
#[tokio::test]
async fn a_round_takes_as_many_keys_as_buffer_threads_and_load_factor_give_room_for() {
    let settings = [("cleanup.policy", "compact"), ("segment.bytes", "4000")];
    let config = config(&settings);
    // 240 slots of 24 bytes, or half as many.
    let cases = [
        ("5760", "1", "0.5", 120),
        ("5760", "1", "0.25", 60),
        ("5760", "2", "0.5", 60),
        ("2880", "1", "0.5", 60),
    ];
    for (size, threads, load_factor, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let manager = open(&[dir.path()], &config);
        lead(&manager, 1, &config);
        let partition = manager.partition("t", 0).unwrap();
        for first in (0..1_000).step_by(10) {
            let mut batch = BatchBuilder::new(Offset(0), Compression::None);
            for key in first..first + 10_i32 {
                batch.push(TimestampMs(1_000), Some(&key.to_be_bytes()), Some(b"value"));
            }
            visible(&manager, &partition, append_bytes(&partition, &batch.finish().unwrap())).await;
        }
        let cleaner = Cleaner::new(
            Arc::clone(&manager),
            broker(&[
                &format!("log.cleaner.dedupe.buffer.size={size}"),
                &format!("log.cleaner.threads={threads}"),
                &format!("log.cleaner.io.buffer.load.factor={load_factor}"),
            ]),
        );
        assert_eq!(cleaner.turn(), Turn::Again);
        let cleaned_to = checkpoint(dir.path())[0].1;
        assert_eq!(cleaned_to, Offset(expected), "{size} {threads} {load_factor}");
    }
}

/// At one byte a second a round would take minutes: a stop, and a new rate, end the wait.
#[tokio::test]
async fn a_throttled_round_ends_when_the_cleaner_stops() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &compacted());
    lead(&manager, 1, &compacted());
    fill(&manager, 0).await;
    let slow = broker(&["log.cleaner.io.max.bytes.per.second=1", "log.cleaner.backoff.ms=1"]);
    let cleaner = Cleaner::new(Arc::clone(&manager), Arc::clone(&slow));
    let turn = tokio::task::spawn_blocking({
        let cleaner = Arc::clone(&cleaner);
        move || cleaner.turn()
    });
    while !cleaner.throttle.is_charged() {
        tokio::task::yield_now().await;
    }
    cleaner.stop();
    assert_eq!(turn.await.unwrap(), Turn::Rest);
    assert_eq!(cleaner.facts().rounds.load(Ordering::Relaxed), 0);
    assert_eq!(cleaner.turn(), Turn::Rest, "no round begins after the stop");
}
