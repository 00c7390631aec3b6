//! Logs that are put aside, and what becomes of them when their topic is named again.

use super::*;

const OTHER: Uuid = Uuid::from_bytes([2; 16]);

/// Leads `t-0` of a topic in `epoch`, as one of three replicas.
fn lead_of(manager: &Manager, topic_id: Uuid, epoch: i32, is_new: bool) -> Arc<Partition> {
    let change = Become {
        partition: name(),
        topic_id,
        config: relaxed(),
        leadership: Leadership::alone(BrokerId(0), LeaderEpoch(epoch), 3),
        leads: true,
        is_in_sync: true,
        is_new,
    };
    match manager.apply(vec![change]).pop() {
        Some(Outcome::Done(partition)) => partition,
        other => panic!("{other:?}"),
    }
}

fn sweep(manager: &Manager) {
    assert_eq!(manager.sweep_strays(&|_, _| false), [name()]);
}

fn end(partition: &Partition) -> i64 {
    partition.offsets().log_end_offset.0
}

fn strays(dir: &Path) -> usize {
    let entries = RealFs.list(dir).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with("-stray")).count()
}

/// Method: in the process that put it aside, and in the next one.
#[test]
fn a_log_that_was_put_aside_is_taken_back_by_its_topics_id() {
    for restarts in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut manager = open(&[dir.path()], &relaxed());
        append(&lead_of(&manager, ID, 3, true), 5).unwrap();
        sweep(&manager);
        assert_eq!(strays(dir.path()), 1);
        if restarts {
            drop(manager);
            manager = open(&[dir.path()], &relaxed());
            assert!(manager.partition("t", 0).is_none());
        }
        let back = lead_of(&manager, ID, 4, false);
        assert_eq!((end(&back), strays(dir.path())), (5, 0), "{restarts}");
        append(&back, 2).unwrap();
        assert_eq!(end(&back), 7);
        drop((back, manager));
        let manager = open(&[dir.path()], &relaxed());
        assert_eq!(end(&manager.partition("t", 0).unwrap()), 7);
    }
}

#[test]
fn a_log_that_was_put_aside_stays_there_for_another_topic_and_for_a_new_replica() {
    for (topic_id, epoch, is_new) in [(OTHER, 4, false), (ID, 0, true), (Uuid::ZERO, 4, false)] {
        let dir = tempfile::tempdir().unwrap();
        let manager = open(&[dir.path()], &relaxed());
        append(&lead_of(&manager, ID, 3, true), 5).unwrap();
        sweep(&manager);
        let made = lead_of(&manager, topic_id, epoch, is_new);
        assert_eq!((end(&made), strays(dir.path())), (0, 1), "{topic_id:?} {epoch}");
    }
}

/// A log that was made in the place of one that lies aside, and lies there now, too.
#[test]
fn of_several_logs_the_one_that_reaches_furthest_is_taken_back() {
    for sizes in [[5, 2], [2, 5]] {
        let dir = tempfile::tempdir().unwrap();
        let manager = open(&[dir.path()], &relaxed());
        for size in sizes {
            append(&lead_of(&manager, ID, 3, true), size).unwrap();
            sweep(&manager);
        }
        assert_eq!(end(&lead_of(&manager, ID, 4, false)), 5);
        assert_eq!(strays(dir.path()), 1);
    }
}

/// Each lies in another directory, as where a move was cut short before its last step.
#[test]
fn of_several_directories_the_log_that_reaches_furthest_is_taken_back() {
    for sizes in [[5, 2], [2, 5]] {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let manager = open(&[dirs[0].path(), dirs[1].path()], &relaxed());
        for (dir, size) in dirs.iter().zip(sizes) {
            assert!(manager.alter_dir(&name(), dir.path()).is_err(), "it comes there next");
            append(&lead_of(&manager, ID, 3, true), size).unwrap();
            sweep(&manager);
            assert_eq!(strays(dir.path()), 1);
        }
        assert_eq!(end(&lead_of(&manager, ID, 4, false)), 5, "{sizes:?}");
    }
}

/// A name says nothing of the topic.
#[test]
fn a_log_that_does_not_say_its_topics_id_stays_aside_and_another_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    append(&lead_of(&manager, ID, 3, true), 5).unwrap();
    sweep(&manager);
    let entries = RealFs.list(dir.path()).unwrap();
    let stray = entries.iter().find(|entry| entry.name.ends_with("-stray")).unwrap();
    let metadata = dir.path().join(&stray.name).join("partition.metadata");
    broker_storage::fs::replace_file(&RealFs, &metadata, b"version: 0\n").unwrap();
    let made = lead_of(&manager, ID, 4, false);
    assert_eq!((end(&made), strays(dir.path())), (0, 1));
}

/// What it vouched for since then is not known: it leads only if nobody has more.
#[test]
fn a_log_that_is_taken_back_is_unproven() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(&[dir.path()], &relaxed());
    append(&lead_of(&manager, ID, 3, true), 5).unwrap();
    sweep(&manager);
    let (me, other) = (BrokerId(0), BrokerId(1));
    let alone = Leadership::alone(other, LeaderEpoch(4), 2);
    let change = Become {
        partition: name(),
        topic_id: ID,
        config: relaxed(),
        leadership: Leadership { isr: vec![other, me], ..alone },
        leads: false,
        is_in_sync: true,
        is_new: false,
    };
    assert!(matches!(manager.apply(vec![change])[..], [Outcome::Done(_)]));
    assert_eq!(end(&manager.partition("t", 0).unwrap()), 5);
    assert!(manager.standings().is_unproven(&name()));
}
