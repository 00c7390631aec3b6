//! What was acknowledged is on the disk, and a disk that failed once is not believed again.

use broker_storage::fs::faulty::{Failure, FaultyFs};

use super::*;

const DIR: &str = "/data";

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
fn records_that_were_not_synced_yet_are_deleted_once_they_are() {
    let (manager, partition) = partition_on(&FaultyFs::new(3), &relaxed());
    append(&partition, 5).unwrap();
    assert_eq!(partition.offsets().recovery_point, Offset(0));
    assert_eq!(manager.delete_records(&partition, Offset(-1)).unwrap(), Offset(5));
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start_offset, offsets.recovery_point), (Offset(5), Offset(5)));
}
