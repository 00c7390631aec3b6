//! What was acknowledged is on the disk, and a disk that failed once is not believed again.

use broker_storage::fs::Open;
use broker_storage::fs::faulty::{Failure, FaultyFs};

use super::*;
use crate::replica::manager::Truncation;
use crate::replica::partition::follower::Cut;

const DIR: &str = "/data";
const ID_OF_U: Uuid = Uuid::from_bytes([2; 16]);

/// Makes partition 0 of `t` in a directory in memory.
fn partition_on(fs: &FaultyFs, config: &Arc<TopicConfig>) -> (Arc<Manager>, Arc<Partition>) {
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let manager = open_on(&shared, &[Path::new(DIR)], config);
    lead(&manager, 1, config);
    let partition = manager.partition("t", 0).unwrap();
    (manager, partition)
}

/// Asserts that nothing is acknowledged any more, whoever met the failed sync.
async fn assert_nothing_is_acknowledged(manager: &Manager, partition: &Arc<Partition>) {
    manager.set_config("t", &config(&[]));
    if let Ok(appended) = append(partition, 1) {
        assert_ne!(visible(partition, appended).await, AckState::Done, "bytes before it are lost");
    }
    assert!(manager.log_dirs()[0].offline().is_offline());
    assert_eq!(partition.offsets().recovery_point, Offset(0), "nothing was claimed to be durable");
}

#[tokio::test]
async fn a_sync_that_fails_in_a_deletion_of_records_fails_every_acknowledgement_after_it() {
    let fs = FaultyFs::new(3);
    let (manager, partition) = partition_on(&fs, &relaxed());
    append(&partition, 3).unwrap();
    fs.fail_from(fs.operations(), Failure::Broken, false);
    manager.delete_records(&partition, Offset(2)).unwrap_err();
    assert_nothing_is_acknowledged(&manager, &partition).await;
}

#[tokio::test]
async fn a_sync_that_fails_in_retention_fails_every_acknowledgement_after_it() {
    let fs = FaultyFs::new(3);
    let settings =
        [("ottla.durability", "replicated"), ("retention.bytes", "1"), ("segment.bytes", "100")];
    let (manager, partition) = partition_on(&fs, &config(&settings));
    for _ in 0..3 {
        append(&partition, 1).unwrap();
    }
    assert!(partition.offsets().segment_count > 1);
    fs.fail_from(fs.operations(), Failure::Broken, false);
    manager.keep();
    assert_nothing_is_acknowledged(&manager, &partition).await;
}

#[test]
fn leading_writes_nothing_yet_the_epoch_is_known_at_once_and_kept() {
    let fs = FaultyFs::new(3);
    let (manager, partition) = partition_on(&fs, &relaxed());
    let begin = |epoch| {
        let written = fs.operations();
        lead_in(&manager, &relaxed(), epoch, 1);
        assert_eq!(fs.operations(), written, "no file is written for an epoch without records");
    };
    let latest = || {
        let found = partition.find(Target::Latest, None, NO_LEADER_EPOCH).unwrap().unwrap();
        (found.leader_epoch.0, found.offset.0)
    };
    let end_of = |epoch| {
        let end = partition.end_offset_for_epoch(LeaderEpoch(epoch), NO_LEADER_EPOCH).unwrap();
        (end.leader_epoch.0, end.end_offset.0)
    };
    begin(LeaderEpoch(4));
    assert_eq!((latest(), end_of(4), end_of(5)), ((4, 0), (4, 0), (-1, -1)));
    append(&partition, 3).unwrap();
    lead_in(&manager, &relaxed(), LeaderEpoch(6), 1);
    assert_eq!((latest(), end_of(4), end_of(5), end_of(6)), ((6, 3), (4, 3), (4, 3), (6, 3)));

    let written = fs.operations();
    append(&partition, 2).unwrap();
    assert_eq!(fs.operations(), written + 1, "the first append in an epoch only appends");

    // What a recovery point covers is not scanned again: its epochs must be in their file by then.
    partition.request_sync().wait().unwrap();
    manager.checkpoint_recovery_points();
    let checkpoint = fs.open(&Path::new(DIR).join("t-0/leader-epoch-checkpoint"), Open::Read);
    let mut text = vec![0; 64];
    let size = checkpoint.unwrap().read_at(&mut text, 0).unwrap();
    assert_eq!(String::from_utf8_lossy(&text[..size]), "0\n2\n4 0\n6 3\n");
}

#[test]
fn records_that_were_not_synced_yet_are_deleted_once_they_are() {
    let (manager, partition) = partition_on(&FaultyFs::new(3), &relaxed());
    append(&partition, 5).unwrap();
    assert_eq!(partition.offsets().recovery_point, Offset(0));
    assert_eq!(manager.delete_records(&partition, Offset(-1)).unwrap(), Offset(5));
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start_offset, offsets.recovery_point), (Offset(5), Offset(5)));
}

/// What one cut log costs: it is cut, and synced.
const CUT_OPERATIONS: u64 = 2;
/// What a checkpoint costs: it is created, written, synced and renamed, and its directory synced.
const CHECKPOINT_OPERATIONS: u64 = 5;

/// A topic of many partitions goes as fast as one of few.
#[test]
fn any_number_of_logs_is_deleted_with_one_sync() {
    let fs = FaultyFs::new(3);
    let (manager, _) = partition_on(&fs, &relaxed());
    lead(&manager, 10, &relaxed());
    let before = fs.operations();
    let stop = |number| Stop {
        partition: TopicPartition { topic: "t".into(), partition: number },
        delete: true,
    };
    let stopped = manager.stop(&(0..11).map(stop).collect::<Vec<_>>());
    assert!(stopped.iter().all(Result::is_ok), "the last was not there");
    assert_eq!(fs.operations(), before + 10 + 1, "renamed one by one, and synced together");
    assert_eq!(manager.partitions().len(), 0);
}

/// Brings `count` partitions into another state.
fn turn(manager: &Manager, count: i32, leader: i32, epoch: i32) {
    let change = |number| Become {
        partition: TopicPartition { topic: "t".into(), partition: number },
        topic_id: ID,
        config: relaxed(),
        leadership: Leadership::alone(BrokerId(leader), LeaderEpoch(epoch), 2),
        leads: leader == 0,
        is_in_sync: leader == 0,
        is_new: false,
    };
    let outcomes = manager.apply((0..count).map(change).collect());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(_))));
}

/// A failover moves thousands of partitions at once. Method: what is written for one, for two and for twenty
/// of them; each part that all of them share is there once.
#[test]
fn many_partitions_are_turned_without_a_write_and_cut_with_one_checkpoint() {
    let operations = |count: i32| {
        let fs = FaultyFs::new(3);
        let (manager, _) = partition_on(&fs, &relaxed());
        lead(&manager, count, &relaxed());
        for partition in manager.partitions() {
            append(&partition, 1).unwrap();
            append(&partition, 1).unwrap();
            partition.request_sync().wait().unwrap();
        }
        let before = fs.operations();
        turn(&manager, count, 9, 1);
        turn(&manager, count, 0, 2);
        turn(&manager, count, 9, 3);
        assert_eq!(fs.operations(), before, "{count} led and followed");

        let cut = |partition| Truncation {
            partition,
            leader_epoch: LeaderEpoch(3),
            fetch_offset: Offset(2),
            last_fetched_epoch: LeaderEpoch(0),
            cut: Cut::At(Offset(1)),
        };
        let cuts: Vec<_> = manager.partitions().into_iter().map(cut).collect();
        let cut = manager.truncate(&cuts);
        assert!(cut.iter().all(Result::is_ok), "{cut:?}");
        let cut_operations = fs.operations() - before;
        let offsets: Vec<_> = cuts.iter().map(|cut| cut.partition.offsets()).collect();
        assert!(
            offsets
                .iter()
                .all(|it| (it.log_end_offset, it.recovery_point) == (Offset(1), Offset(1)))
        );
        cut_operations
    };
    let [one, two, twenty] = [1, 2, 20].map(operations);
    let each = two - one;
    assert_eq!(twenty, one + 19 * each, "in proportion");
    assert!(each <= CUT_OPERATIONS, "{each} operations a log");
    assert!(one - each <= CHECKPOINT_OPERATIONS, "{} for all of them", one - each);
}

#[test]
fn logs_that_a_full_disk_has_no_room_for_are_told_of_and_made_when_they_are_asked_for_again() {
    let fs = FaultyFs::new(3);
    let (manager, _) = partition_on(&fs, &relaxed());
    let another = TopicPartition { topic: "u".into(), partition: 0 };
    let lead = || lead_one(&manager, another.clone(), ID_OF_U, &relaxed(), (LeaderEpoch(0), 1));
    fs.fail_from(fs.operations(), Failure::Full, true);
    assert!(!lead());
    assert_eq!((*manager.uncreated().borrow(), *manager.failed_dirs().borrow()), (1, 0));
    fs.heal();
    assert!(lead(), "nothing of the first try is in the way");
    assert_eq!(*manager.uncreated().borrow(), 1);
}
