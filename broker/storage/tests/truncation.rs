//! A follower whose log went another way than its leader's, and how the two agree again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_storage::fs::Fs;
use broker_storage::fs::faulty::{Failure, FaultyFs};
use broker_storage::log::Log;
use broker_storage::log_dir::LogDir;
use proptest::prelude::*;
use support::{
    DIR, NOW, append, batch, commit, config, create, load_one, open_dir, partition, read_all,
};

/// The epochs that a broker led in, each with the number of batches it wrote.
type History = Vec<(i32, u8)>;

/// Writes `shared`, then `own`; what differs between two brokers has another content.
fn log_of(fs: &Arc<dyn Fs>, shared: &History, own: &History, seed: u8) -> Log {
    let dir = open_dir(fs, Path::new(DIR));
    let mut log = create(&dir, &config(&[("segment.bytes", "300")]));
    for (history, seed) in [(shared, 0), (own, seed)] {
        for (epoch, batches) in history {
            for _ in 0..*batches {
                append(&mut log, &[batch(2, 20, seed, 5)], *epoch).unwrap();
            }
        }
    }
    log
}

/// The log of whoever leads now, in an epoch above all others.
fn leader_of(shared: &History, own: &History) -> Log {
    let mut log = log_of(&memory(), shared, own, 1);
    log.begin_epoch(LeaderEpoch(1000));
    log
}

/// Asks the leader and truncates, as long as it takes; returns how often.
fn agree(leader: &Log, follower: &mut Log) -> u32 {
    let mut asked = 0;
    while let Some(latest) = follower.latest_epoch() {
        asked += 1;
        let (epoch, end_offset) = leader.end_offset_for_epoch(latest).unwrap();
        if follower.truncate_to_epoch_end(epoch, end_offset, NOW).unwrap().is_complete {
            break;
        }
        assert!(follower.latest_epoch() < Some(latest), "each answer leads to an earlier epoch");
    }
    asked
}

fn memory() -> Arc<dyn Fs> {
    Arc::new(FaultyFs::new(1))
}

fn whole(log: &Log) -> Vec<u8> {
    read_all(log, Offset(0), 100_000)
}

/// The leader changes fast, and neither of the two ever saw the other's epoch (KIP-279).
#[test]
fn an_epoch_that_the_leader_never_saw_is_cut_whole() {
    let shared = vec![(0, 3)];
    let leader = leader_of(&shared, &vec![(2, 4)]);
    let mut follower = log_of(&memory(), &shared, &vec![(1, 2)], 2);
    assert_eq!(agree(&leader, &mut follower), 1);
    assert_eq!(follower.log_end_offset(), Offset(6));
    assert!(whole(&leader).starts_with(&whole(&follower)));
}

#[test]
fn a_follower_that_never_saw_the_leaders_epoch_asks_for_an_earlier_one() {
    let shared = vec![(0, 3)];
    let leader = leader_of(&shared, &vec![(1, 4), (3, 1)]);
    let mut follower = log_of(&memory(), &shared, &vec![(2, 5)], 2);
    assert_eq!(agree(&leader, &mut follower), 2);
    assert_eq!(follower.log_end_offset(), Offset(6));
}

/// Cuts as the server does: the recovery point first, then the cut, then the sync.
fn cut(dir: &LogDir, log: &mut Log, leader: &Log) -> Result<(), ()> {
    let latest = log.latest_epoch().unwrap();
    let (epoch, end) = leader.end_offset_for_epoch(latest).unwrap();
    let (offset, _) = log.epoch_cut(epoch, end);
    let points = [(partition(), offset.min(log.recovery_point()))].into_iter().collect();
    dir.lower_recovery_points(&points).map_err(drop)?;
    log.truncate_to_epoch_end(epoch, end, NOW).map_err(drop)?;
    commit(dir, log.sync_point()).map_err(drop)?;
    Ok(())
}

/// Takes all that the leader has and this log has not.
fn catch_up(dir: &LogDir, log: &mut Log, leader: &Log) -> Result<(), ()> {
    let bytes = read_all(leader, log.log_end_offset(), 100_000);
    log.append_as_follower(&bytes, LeaderEpoch(1000), NOW).map_err(drop)?;
    commit(dir, log.sync_point()).map_err(drop)?;
    log.flush_epochs().map_err(drop)?;
    let points = [(partition(), log.recovery_point())].into_iter().collect();
    dir.write_recovery_points(&points).map_err(drop)
}

#[test]
fn what_was_cut_stays_cut_after_a_power_loss() {
    let fs = FaultyFs::new(1);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let leader = leader_of(&vec![(0, 1)], &vec![(5, 1)]);
    let mut follower = log_of(&shared, &vec![(0, 1)], &vec![(4, 9)], 2);
    let dir = open_dir(&(Arc::new(FaultyFs::new(2)) as Arc<dyn Fs>), Path::new(DIR));
    cut(&dir, &mut follower, &leader).unwrap();
    for _ in 0..20 {
        let survivor: Arc<dyn Fs> = Arc::new(fs.crash());
        let dir = open_dir(&survivor, Path::new(DIR));
        let found = load_one(&dir, &config(&[("segment.bytes", "300")]));
        assert!(whole(&leader).starts_with(&whole(&found)));
        assert_eq!(found.latest_epoch(), Some(LeaderEpoch(0)));
    }
}

/// The power goes at each operation of: cut, sync, append, checkpoint, twice over with two leaders. What
/// is found afterwards is a beginning of what the log was, or of a leader's log: never a mixture, whose
/// epochs would pass for those of a log that nobody ever had.
#[test]
fn a_power_loss_around_a_cut_leaves_no_mixture() {
    let shared = [(0, 2)];
    let histories = [vec![(4, 5)], vec![(3, 1), (5, 4)], vec![(3, 2), (6, 6)]];
    // Whoever led in an epoch wrote the same.
    let write = |log: &mut Log, history: &History| {
        for (epoch, batches) in shared.iter().chain(history) {
            for _ in 0..*batches {
                append(log, &[batch(2, 20, *epoch as u8, 5)], *epoch).unwrap();
            }
        }
    };
    let [own, first, second] = histories.map(|history| {
        let mut log = create(&open_dir(&memory(), Path::new(DIR)), &config(&[]));
        write(&mut log, &history);
        log.begin_epoch(LeaderEpoch(1000));
        (whole(&log), history, log)
    });
    let settings = config(&[("segment.bytes", "300")]);
    let mut lost = 0;
    for point in 0..400 {
        let fs = FaultyFs::new(point);
        let disk: Arc<dyn Fs> = Arc::new(fs.clone());
        let dir = open_dir(&disk, Path::new(DIR));
        let mut log = create(&dir, &settings);
        write(&mut log, &own.1);
        catch_up(&dir, &mut log, &own.2).unwrap();
        fs.fail_from(fs.operations() + point, Failure::Power, true);
        let done: Result<(), ()> = [&first.2, &second.2].into_iter().try_for_each(|leader| {
            while log.latest_epoch()
                != leader.epoch_for_offset(Offset(leader.log_end_offset().0 - 1))
            {
                cut(&dir, &mut log, leader)?;
                catch_up(&dir, &mut log, leader)?;
            }
            Ok(())
        });
        if done == Ok(()) {
            break;
        }
        lost += 1;
        drop((log, dir));
        for _ in 0..5 {
            let survivor: Arc<dyn Fs> = Arc::new(fs.crash());
            let dir = open_dir(&survivor, Path::new(DIR));
            let found = whole(&load_one(&dir, &settings));
            let is_of = |log: &[u8]| log.starts_with(&found);
            assert!(is_of(&own.0) || is_of(&first.0) || is_of(&second.0), "operation {point}");
        }
    }
    assert!(lost > 20 && lost < 400, "{lost}");
}

prop_compose! {
    /// Rising epochs that start at `from`, with as many batches each.
    fn history(from: i32)(steps in prop::collection::vec((1..3_i32, 1..4_u8), 0..5)) -> History {
        let mut epoch = from;
        steps.into_iter().map(|(step, batches)| { epoch += step; (epoch, batches) }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// No two brokers lead in one epoch: the leader's own epochs are even here, the follower's odd.
    #[test]
    fn a_truncated_follower_has_a_part_of_the_leaders_log_and_all_they_share(
        shared in history(-1), leader in history(100), follower in history(100),
    ) {
        let parity = |history: History, odd| -> History {
            history.into_iter().map(|(epoch, batches)| (2 * epoch + odd, batches)).collect()
        };
        let leader = leader_of(&shared, &parity(leader, 0));
        let mut follower = log_of(&memory(), &shared, &parity(follower, 1), 2);
        let common = whole(&log_of(&memory(), &shared, &Vec::new(), 0));
        agree(&leader, &mut follower);
        prop_assert!(whole(&leader).starts_with(&whole(&follower)));
        prop_assert!(whole(&follower).starts_with(&common));
    }
}
