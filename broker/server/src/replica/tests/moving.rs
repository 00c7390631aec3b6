//! Logs that move from one directory to another, while they are appended to, cut and deleted.

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::replica::manager::{AlterDirError, Stop, Truncation};
use crate::replica::partition::follower::Cut;
use crate::replica::partition_state::Leadership;

/// A broker with two directories.
struct Machine {
    dirs: [TempDir; 2],
    config: Arc<TopicConfig>,
}

impl Machine {
    fn new(durability: &str) -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let settings = [
            ("ottla.durability", durability),
            ("file.delete.delay.ms", "0"),
            // Several segments of what the tests append.
            ("segment.bytes", "300"),
        ];
        Self { dirs, config: config(&settings) }
    }

    fn start(&self) -> Arc<Manager> {
        open(&[self.dirs[0].path(), self.dirs[1].path()], &self.config)
    }

    /// Starts, leads `t-0` and appends to it.
    fn begin(&self, batches: i32) -> (Arc<Manager>, Arc<Partition>) {
        let manager = self.start();
        lead(&manager, 1, &self.config);
        let partition = manager.partition("t", 0).unwrap();
        for _ in 0..batches {
            append(&partition, 2).unwrap();
        }
        (manager, partition)
    }

    /// The directory that the partition is not in.
    fn other(&self, partition: &Partition) -> PathBuf {
        let here = partition.dir().path().to_owned();
        let mut paths = self.dirs.iter().map(|dir| dir.path().to_owned());
        paths.find(|path| *path != here).unwrap()
    }

    /// The names of all log directories of `t-0`.
    fn found(&self) -> Vec<String> {
        let entries = self.dirs.iter().flat_map(|dir| std::fs::read_dir(dir.path()).unwrap());
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("t-0")).collect();
        names.sort_unstable();
        names
    }
}

fn name() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

/// Goes on until nothing moves.
pub(super) fn finish(manager: &Manager) {
    for _ in 0..1000 {
        let Some(partition) = manager.moving().pop() else { return };
        manager.move_on(&partition);
    }
    panic!("a log moves for ever");
}

/// All bytes that replicas see from `offset` on.
fn bytes(partition: &Partition, offset: i64) -> Vec<u8> {
    let mut found = Vec::new();
    let mut offset = Offset(offset);
    loop {
        let position = FetchPosition { max_bytes: 1 << 20, ..at(offset.0) };
        let read = partition.read(&position, Isolation::ReadUncommitted, 1 << 20, true).unwrap();
        let Some(slice) = read.slice else { return found };
        let mut bytes = vec![0; slice.size as usize];
        slice.file.read_exact_at(&mut bytes, u64::from(slice.position)).unwrap();
        for entry in broker_protocol::record::entries::entries(&bytes) {
            let Ok(broker_protocol::record::entries::Entry::Batch(batch)) = entry else { panic!() };
            offset = Offset(batch.header.last_offset().0 + 1);
        }
        found.extend(bytes);
    }
}

fn durable(partition: &Arc<Partition>) {
    partition.request_sync().wait().unwrap();
}

#[test]
fn a_log_that_moves_has_the_same_bytes_there_and_is_gone_here() {
    for durability in ["replicated", "synced"] {
        let machine = Machine::new(durability);
        let (manager, partition) = machine.begin(20);
        durable(&partition);
        let (there, before) = (machine.other(&partition), bytes(&partition, 0));
        assert!(partition.offsets().segment_count > 1);
        manager.alter_dir(&name(), &there).unwrap();
        assert_eq!(partition.moving().unwrap().offset_lag, 40);
        // Appended while it is being copied, and acknowledged there.
        manager.move_on(&partition);
        let acks = PendingAcks::new(1);
        let appended = append(&partition, 2).unwrap();
        partition.when_visible(appended.required_offset, &acks, 0);
        finish(&manager);
        durable(&partition);
        assert_eq!(acks.state(0), AckState::Done, "{durability}");
        assert_eq!(partition.dir().path(), there);
        assert!(bytes(&partition, 0).starts_with(&before), "{durability}");
        append(&partition, 3).unwrap();
        durable(&partition);
        let after = bytes(&partition, 0);
        manager.purge();
        assert_eq!(machine.found(), ["t-0"]);
        manager.close(1);
        drop((manager, partition));
        let manager = machine.start();
        lead(&manager, 1, &machine.config);
        let partition = manager.partition("t", 0).unwrap();
        assert_eq!(partition.dir().path(), there);
        assert_eq!(partition.offsets().log_end_offset, Offset(45), "{durability}");
        durable(&partition);
        assert!(bytes(&partition, 0) == after, "{durability}");
    }
}

#[test]
fn a_move_goes_on_after_a_start() {
    let machine = Machine::new("replicated");
    let (manager, partition) = machine.begin(20);
    let there = machine.other(&partition);
    manager.alter_dir(&name(), &there).unwrap();
    manager.move_on(&partition);
    assert!(partition.moving().unwrap().size_in_bytes > 0);
    let before = bytes(&partition, 0);
    drop((manager, partition));
    let manager = machine.start();
    lead(&manager, 1, &machine.config);
    let partition = manager.partition("t", 0).unwrap();
    let moving = partition.moving().expect("it is found again");
    assert_eq!(moving.dir.path(), there);
    assert!(moving.size_in_bytes > 0, "what was copied is not copied again");
    finish(&manager);
    assert_eq!(partition.dir().path(), there);
    assert!(bytes(&partition, 0) == before);
    manager.purge();
    assert_eq!(machine.found(), ["t-0"]);
}

#[test]
fn of_two_logs_that_a_move_left_the_larger_is_used_and_the_other_kept_aside() {
    let machine = Machine::new("replicated");
    let (manager, partition) = machine.begin(20);
    let (here, there) = (partition.dir().path().to_owned(), machine.other(&partition));
    manager.close(1);
    drop((manager, partition));
    // As if the process had ended before the old log was renamed away.
    std::fs::create_dir(there.join("t-0")).unwrap();
    for entry in std::fs::read_dir(here.join("t-0")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, there.join("t-0").join(path.file_name().unwrap())).unwrap();
    }
    let manager = machine.start();
    let partition = manager.partition("t", 0).unwrap();
    assert_eq!(partition.offsets().log_end_offset, Offset(40));
    let found = machine.found();
    assert_eq!((found.len(), &*found[0]), (2, "t-0"), "{found:?}");
    assert!(found[1].ends_with("-stray"), "{found:?}");
}

#[test]
fn what_is_deleted_or_sent_elsewhere_leaves_no_copy() {
    let machine = Machine::new("replicated");
    let (manager, partition) = machine.begin(10);
    let (here, there) = (partition.dir().path().to_owned(), machine.other(&partition));
    manager.alter_dir(&name(), &there).unwrap();
    manager.move_on(&partition);
    manager.alter_dir(&name(), &here).unwrap();
    assert!(partition.moving().is_none(), "it is there already");
    manager.purge();
    assert_eq!(machine.found(), ["t-0"]);
    manager.alter_dir(&name(), &there).unwrap();
    manager.move_on(&partition);
    manager.stop(&[Stop { partition: name(), delete: true }]).pop().unwrap().unwrap();
    manager.purge();
    assert_eq!(machine.found(), [""; 0]);
    let refused = manager.alter_dir(&name(), &there);
    assert!(matches!(refused, Err(AlterDirError::NoReplica)));
    let nowhere = manager.alter_dir(&name(), Path::new("/nowhere"));
    assert!(matches!(nowhere, Err(AlterDirError::NoSuchDir)));
    // Where it was wanted before it was here.
    lead(&manager, 1, &machine.config);
    assert_eq!(manager.partition("t", 0).unwrap().dir().path(), there);
}

#[test]
fn a_log_whose_first_batch_was_deleted_in_part_moves_and_is_copied() {
    let machine = Machine::new("replicated");
    let (manager, partition) = machine.begin(20);
    durable(&partition);
    manager.delete_records(&partition, Offset(7)).unwrap();
    let after = bytes(&partition, 7);
    manager.alter_dir(&name(), &machine.other(&partition)).unwrap();
    finish(&manager);
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start_offset, offsets.log_end_offset), (Offset(7), Offset(40)));
    assert!(bytes(&partition, 7) == after);
}

/// What is cut off a log that moves is cut off its copy.
#[test]
fn a_copy_is_cut_with_its_log() {
    let machine = Machine::new("replicated");
    let (manager, partition) = machine.begin(20);
    let there = machine.other(&partition);
    manager.alter_dir(&name(), &there).unwrap();
    for _ in 0..3 {
        manager.move_on(&partition);
    }
    assert!((1..40 - 6).contains(&partition.moving().unwrap().offset_lag), "beyond the cut");
    let leadership = Leadership::alone(BrokerId(9), LeaderEpoch(1), 2);
    partition.follow(leadership).unwrap();
    let position = partition.follower_position().unwrap();
    let cut = Truncation {
        partition: Arc::clone(&partition),
        leader_epoch: LeaderEpoch(1),
        fetch_offset: position.fetch_offset,
        last_fetched_epoch: position.last_fetched_epoch,
        cut: Cut::At(Offset(6)),
    };
    manager.truncate(&[cut]).pop().unwrap().unwrap();
    assert_eq!(partition.moving().unwrap().offset_lag, 0, "it had all that is left");
    assert!(lead_one(&manager, name(), ID, &machine.config, (LeaderEpoch(2), 1)));
    append(&partition, 3).unwrap();
    let expected = bytes(&partition, 0);
    finish(&manager);
    assert_eq!(partition.dir().path(), there);
    assert_eq!(partition.offsets().log_end_offset, Offset(9));
    assert!(bytes(&partition, 0) == expected);
    append(&partition, 1).unwrap();
}
