//! A follower whose log went another way than its leader's, and how the two agree again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_storage::fs::Fs;
use broker_storage::fs::faulty::FaultyFs;
use broker_storage::log::Log;
use proptest::prelude::*;
use support::{DIR, NOW, append, batch, config, create, load_one, open_dir, read_all};

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
    log.begin_epoch(LeaderEpoch(1000)).unwrap();
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

#[test]
fn what_was_cut_stays_cut_after_a_power_loss() {
    let fs = FaultyFs::new(1);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let leader = leader_of(&vec![(0, 1)], &vec![(5, 1)]);
    let mut follower = log_of(&shared, &vec![(0, 1)], &vec![(4, 9)], 2);
    agree(&leader, &mut follower);
    for _ in 0..20 {
        let survivor: Arc<dyn Fs> = Arc::new(fs.crash());
        let dir = open_dir(&survivor, Path::new(DIR));
        let found = load_one(&dir, &config(&[("segment.bytes", "300")]));
        assert!(whole(&leader).starts_with(&whole(&found)));
        assert_eq!(found.latest_epoch(), Some(LeaderEpoch(0)));
    }
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
