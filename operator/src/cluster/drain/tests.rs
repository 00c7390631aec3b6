//! Which brokers can go, and where what they hold goes.

use proptest::prelude::*;

use super::super::layout::batch;
use super::super::layout::tests::{begin, finish, layout, topic};
use super::*;

fn usable(ids: &[i32]) -> Vec<Broker> {
    ids.iter().map(|id| Broker { id: *id, rack: None }).collect()
}

fn refusals(layout: &Layout, wanted: &[i32], leaving: &[i32]) -> BTreeMap<i32, String> {
    Ground { layout, wanted, leaving, assigned: &BTreeMap::new() }.refusals()
}

/// Three replicas want three brokers; the topic that wants most is named.
#[test]
fn as_many_brokers_stay_as_a_topic_has_replicas() {
    let topics = vec![topic("orders", &[&[0, 1, 2]], 1), topic("two", &[&[0, 2]], 1)];
    let layout = layout(&[0, 1, 2, 3], topics);
    assert!(refusals(&layout, &[0, 1, 2], &[3]).is_empty());
    assert!(refusals(&layout, &[0, 1, 3], &[2]).is_empty());
    let refused = refusals(&layout, &[0, 1], &[2, 3]);
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), [2, 3]);
    let words = "topic orders has 3 replicas and 2 brokers would be left";
    assert!(refused[&2].starts_with(words), "{}", refused[&2]);
}

/// What another hand has put on brokers that are not ours stays there, and makes no room either.
#[test]
fn brokers_of_another_hand_keep_what_they_have() {
    let layout = layout(&[0, 1, 9], vec![topic("t", &[&[0, 1, 9]], 1)]);
    let refused = refusals(&layout, &[0], &[1]);
    assert!(refused[&1].contains("has 3 replicas"), "{refused:?}");
    let layout =
        super::super::layout::tests::layout(&[0, 1, 2, 9], vec![topic("t", &[&[1, 9]], 1)]);
    assert!(refusals(&layout, &[0, 2], &[1]).is_empty());
    let moved = moves(&layout, &[1], &usable(&[0, 2]), 10).resting;
    assert_eq!(moved[0].to, [0, 9]);
}

#[test]
fn a_broker_stays_that_a_topic_names() {
    let layout = layout(&[0, 1, 2], vec![]);
    let assigned = BTreeMap::from([("payments".to_owned(), BTreeSet::from([2]))]);
    let ground = Ground { layout: &layout, wanted: &[0], leaving: &[1, 2], assigned: &assigned };
    let refused = ground.refusals();
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), [2]);
    assert!(refused[&2].contains("Topic payments assigns partitions to broker 2"), "{refused:?}");
}

/// Whoever has the only copy and is away is waited for; what others have is moved meanwhile.
#[test]
fn nothing_is_moved_that_nobody_can_copy() {
    let topics = vec![topic("alone", &[&[2], &[2, 0]], 1)];
    let mut layout = layout(&[0, 1, 2], topics);
    let asked = |layout: &Layout| moves(layout, &[2], &usable(&[0, 1]), 10);
    assert_eq!(asked(&layout).resting.len(), 2);
    layout.brokers[2].is_registered = false;
    let moved = asked(&layout);
    assert_eq!(moved.resting.len(), 1);
    assert_eq!((moved.resting[0].partition, &moved.resting[0].to), (1, &vec![0, 1]));
    assert!(moved.stuck.contains("alone-0: broker 2 has, and is waited for"), "{}", moved.stuck);
}

/// Too few serve just now: that is said, and nothing loses a replica for it.
#[test]
fn a_partition_keeps_as_many_replicas_as_it_has() {
    let layout = layout(&[0, 1, 2], vec![topic("t", &[&[0, 2]], 1)]);
    let moved = moves(&layout, &[2], &usable(&[0]), 10);
    assert_eq!(moved.resting, []);
    assert_eq!(moved.stuck, "t-0 has 2 replicas, and 1 brokers serve");
}

/// What was on its way to a broker that is to go now goes elsewhere, however much moves.
#[test]
fn what_is_on_its_way_to_a_broker_is_turned() {
    let mut layout = layout(&[0, 1, 2, 3], vec![topic("t", &[&[0, 1], &[3, 1]], 1)]);
    let to_three = Move {
        topic: "t".to_owned(),
        topic_id: "id-of-t".to_owned(),
        partition: 0,
        from: vec![0, 1],
        to: vec![0, 3],
        size: Some(1),
    };
    begin(&mut layout, &[to_three]);
    let moved = moves(&layout, &[3], &usable(&[0, 1, 2]), 0);
    assert_eq!(moved.resting, []);
    assert_eq!((moved.turned[0].partition, &moved.turned[0].to), (0, &vec![0, 2]));
}

/// What is left is told in replicas and bytes: those that wait and those that are on their way.
#[test]
fn progress_is_told_in_replicas_and_bytes() {
    let mut layout = layout(&[0, 1, 2], vec![topic("t", &[&[2], &[2], &[0]], 1000)]);
    assert_eq!(left(&layout, 2, None), (2, 2000));
    let first = moves(&layout, &[2], &usable(&[0, 1]), 1).resting;
    begin(&mut layout, &first);
    assert_eq!(left(&layout, 2, Some(300)), (2, 1300));
    assert_eq!(left(&layout, 2, None), (2, 2000));
    finish(&mut layout);
    assert_eq!(left(&layout, 2, Some(0)), (1, 1000));
}

proptest! {
    /// Brokers that can go are empty in the end; nobody loses a replica, nothing else moves, and the others get about as
    /// much each.
    #[test]
    fn brokers_that_can_go_are_emptied(
        partitions in proptest::collection::vec(1..4_usize, 1..60),
        brokers in 2..8_usize,
        gone in 1..4_usize,
    ) {
        let ids: Vec<i32> = (0..brokers as i32).collect();
        prop_assume!(gone < brokers);
        let (wanted, leaving) = ids.split_at(brokers - gone);
        let mut load = Load::default();
        let lists: Vec<Vec<i32>> = partitions
            .iter()
            .map(|replicas| fit(&usable(&ids), &[], &mut load, &[], (*replicas).min(brokers)).unwrap())
            .collect();
        let lists: Vec<&[i32]> = lists.iter().map(Vec::as_slice).collect();
        let mut layout = layout(&ids, vec![topic("t", &lists, 1 << 30)]);
        let before = layout.clone();
        if !refusals(&layout, wanted, leaving).is_empty() {
            let largest = lists.iter().map(|one| one.len()).max().unwrap();
            prop_assert!(largest > wanted.len());
            return Ok(());
        }
        for _ in 0..1000 {
            let next = moves(&layout, leaving, &usable(wanted), 100);
            prop_assert_eq!(next.stuck, "");
            prop_assert!(next.turned.is_empty());
            let begun = batch(&layout, next.resting);
            if begun.is_empty() {
                break;
            }
            begin(&mut layout, &begun);
            finish(&mut layout);
        }
        for id in leaving {
            prop_assert_eq!(left(&layout, *id, None), (0, 0));
        }
        for ((_, _, was), (_, _, is)) in before.partitions().zip(layout.partitions()) {
            let distinct: BTreeSet<_> = is.replicas.iter().collect();
            prop_assert_eq!(distinct.len(), was.replicas.len());
            let stayed = was.replicas.iter().filter(|id| wanted.contains(id));
            prop_assert!(stayed.clone().all(|id| is.replicas.contains(id)));
            if stayed.count() == was.replicas.len() {
                prop_assert_eq!(&is.replicas, &was.replicas);
            }
        }
    }
}
