//! How even a cluster gets, by how few moves, and that an interruption changes neither.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::layout::tests::{begin, finish, layout, topic};
use super::super::layout::{Layout, Topic, batch};
use super::*;

fn members(racks: &[Option<u8>]) -> Vec<Broker> {
    let member =
        |(id, rack): (i32, &Option<u8>)| Broker { id, rack: rack.map(|rack| format!("r{rack}")) };
    (0..).zip(racks).map(member).collect()
}

fn unracked(count: usize) -> Vec<Broker> {
    members(&vec![None; count])
}

/// What a broker holds, and leads by preference.
fn counts(layout: &Layout, id: i32) -> (usize, usize) {
    let targets = layout.partitions().map(|(_, _, partition)| partition.targets());
    targets.fold((0, 0), |(held, led), targets| {
        let holds = usize::from(targets.contains(&id));
        (held + holds, led + usize::from(targets.first() == Some(&id)))
    })
}

/// How far members are apart, in what they hold and in what they lead.
fn apart(layout: &Layout, members: &[Broker]) -> (usize, usize) {
    let all: Vec<_> = members.iter().map(|member| counts(layout, member.id)).collect();
    let range = |of: fn(&(usize, usize)) -> usize| {
        all.iter().map(of).max().unwrap() - all.iter().map(of).min().unwrap()
    };
    (range(|one| one.0), range(|one| one.1))
}

/// Carries everything out, a batch at a time, which `choose` chooses of leaders; returns all moves that were made, in
/// order.
fn carry_out(
    layout: &mut Layout,
    members: &[Broker],
    mut choose: impl FnMut(&Layout, Vec<Move>) -> Vec<Move>,
) -> (Vec<Move>, Vec<Move>) {
    let (mut replicas, mut leaders) = (Vec::new(), Vec::new());
    for _ in 0..10_000 {
        let next = moves(layout, members);
        let begun = if next.replicas.is_empty() {
            let begun = choose(layout, next.leaders);
            leaders.extend(begun.clone());
            begun
        } else {
            let begun = batch(layout, next.replicas);
            replicas.extend(begun.clone());
            begun
        };
        if begun.is_empty() {
            return (replicas, leaders);
        }
        begin(layout, &begun);
        finish(layout);
    }
    panic!("it never ends")
}

/// Where each partition that moves ends.
fn ends(moves: &[Move]) -> BTreeMap<(String, usize), Vec<i32>> {
    moves.iter().map(|one| ((one.topic.clone(), one.partition), one.to.clone())).collect()
}

/// How many replicas are copied.
fn copies(moves: &[Move]) -> usize {
    moves.iter().map(|one| one.added().count()).sum()
}

/// As many partitions as a large cluster has, in many topics and in few: a plan is made in one look, and looks through
/// nothing again for each replica that moves.
#[test]
fn a_plan_for_many_partitions_is_made_at_once() {
    let replicas = |number: i32| [number % 3, (number + 1) % 3, (number + 2) % 3];
    for (topics, partitions) in [(4_000, 5), (5, 4_000)] {
        let all = (0..topics).map(|of| {
            let all: Vec<[i32; 3]> = (0..partitions).map(|one| replicas(of + one)).collect();
            let all: Vec<&[i32]> = all.iter().map(|one| &one[..]).collect();
            topic(&format!("t{of}"), &all, 1)
        });
        let mut layout = layout(&[0, 1, 2, 3, 4], all.collect());
        let five = unracked(5);
        let moves = moves(&layout, &five);
        assert_eq!(moves.replicas.len(), 24_000);
        begin(&mut layout, &moves.replicas);
        finish(&mut layout);
        begin(&mut layout, &moves.leaders);
        finish(&mut layout);
        assert_eq!(apart(&layout, &five), (0, 0), "{topics} topics");
    }
}

/// Two brokers join three: each topic is spread over all five, by as few replicas as there can be.
#[test]
fn new_brokers_get_a_share_of_each_topic() {
    let three: [&[i32]; 10] = [
        &[0, 1, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[0, 2, 1],
        &[1, 0, 2],
        &[2, 1, 0],
        &[0, 1, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[0, 1, 2],
    ];
    let topics = vec![topic("cold", &three, 1), topic("hot", &three, 1 << 30)];
    let mut layout = layout(&[0, 1, 2, 3, 4], topics);
    let members = unracked(5);
    assert!(is_called_for(&layout, &members));
    let planned = moves(&layout, &members);
    // Sixty replicas are twelve each: twelve for either of the new ones.
    assert_eq!(planned.replicas.len(), 24);
    carry_out(&mut layout, &members, batch);
    assert_eq!(apart(&layout, &members), (0, 0));
    for topic in &layout.topics {
        for id in 0..5 {
            let held = topic.partitions.iter().filter(|one| one.replicas.contains(&id)).count();
            assert!((5..=7).contains(&held), "{held} of {} on {id}", topic.name);
        }
    }
    assert!(!is_called_for(&layout, &members) && moves(&layout, &members).is_empty());
}

/// Of two that do as well, the smaller one moves.
#[test]
fn as_few_bytes_move_as_need_to() {
    let mut large = topic("a-large", &[&[0]], 100);
    large.partitions.extend(topic("", &[&[0], &[0]], 7).partitions);
    let layout = layout(&[0, 1], vec![large]);
    let planned = moves(&layout, &unracked(2)).replicas;
    let moved: Vec<_> = planned.iter().map(|one| (one.partition, one.to.clone())).collect();
    assert_eq!(moved, [(1, vec![1])]);
}

/// A topic that somebody else decides about stays; the others make up for it.
#[test]
fn what_is_fixed_stays() {
    let fixed = Topic { is_fixed: true, ..topic("fixed", &[&[0], &[0], &[0]], 1) };
    let nameless = Topic { id: None, ..topic("nameless", &[&[0]], 1) };
    let going = Topic { is_going: true, ..topic("going", &[&[0], &[0], &[0]], 1) };
    let free = topic("free", &[&[0], &[1], &[1]], 1);
    let mut layout = layout(&[0, 1], vec![fixed, going, nameless, free]);
    let (moved, _) = carry_out(&mut layout, &unracked(2), batch);
    assert!(moved.iter().all(|one| one.topic == "free"), "{moved:?}");
    assert_eq!((counts(&layout, 0).0, counts(&layout, 1).0), (4, 3));
}

/// Leaders go round by way of a third where the two share no partition.
#[test]
fn leaders_are_evened_out_by_way_of_others() {
    let partitions: [&[i32]; 6] = [&[0, 1], &[0, 1], &[0, 1], &[1, 2], &[1, 2], &[2, 1]];
    let mut layout = layout(&[0, 1, 2], vec![topic("t", &partitions, 1)]);
    assert!(moves(&layout, &[]).is_empty(), "nobody is there to lead");
    let (_, leaders) = carry_out(&mut layout, &unracked(3), batch);
    assert!(leaders.iter().all(|one| one.added().next().is_none()));
    assert_eq!((leaders.len(), apart(&layout, &unracked(3)).1), (2, 0));
}

/// Any layout on some of the brokers.
fn any_layout() -> impl Strategy<Value = (Vec<Option<u8>>, Layout)> {
    let racks = proptest::collection::vec(proptest::option::of(0..3_u8), 2..9);
    racks.prop_flat_map(|racks| {
        let count = racks.len() as i32;
        let ids: Vec<i32> = (0..count).collect();
        let replicas = proptest::sample::subsequence(ids.clone(), 1..=(racks.len().min(4)));
        let partition = (replicas.prop_shuffle(), proptest::option::of(0..1000_u64));
        let lists = proptest::collection::vec(partition, 1..12);
        let one = (lists, proptest::bool::weighted(0.1));
        let topics = proptest::collection::vec(one, 0..6);
        (Just(racks), topics).prop_map(move |(racks, given)| {
            let topics = given.into_iter().enumerate().map(|(number, (partitions, is_fixed))| {
                let lists: Vec<&[i32]> = partitions.iter().map(|one| &*one.0).collect();
                let mut topic = topic(&format!("t{number}"), &lists, 0);
                for (partition, (_, size)) in topic.partitions.iter_mut().zip(&partitions) {
                    partition.size = *size;
                }
                Topic { is_fixed, ..topic }
            });
            (racks, layout(&ids, topics.collect()))
        })
    })
}

fn racks_of(members: &[Broker], replicas: &[i32]) -> usize {
    let rack = |id: &i32| {
        let rack = members.iter().find(|one| one.id == *id).and_then(|one| one.rack.clone());
        rack.unwrap_or_else(|| format!("of {id} alone"))
    };
    replicas.iter().map(rack).collect::<BTreeSet<_>>().len()
}

proptest! {
    /// Partitions that are moved in batches end where the plan had them at first, by no more copies; then leaders move,
    /// which costs no copy: as many as were planned, none of them twice, wherever that is interrupted; then nothing moves.
    #[test]
    fn an_interruption_changes_nothing(
        (racks, mut layout) in any_layout(),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 1..20),
    ) {
        let members = members(&racks);
        let planned = moves(&layout, &members);
        let before = layout.clone();
        // Any of the leaders that are to change is the only one that does before the next look.
        let mut picks = picks.iter().cycle();
        let pick = |_: &Layout, mut leaders: Vec<Move>| match leaders.len() {
            0 => leaders,
            count => vec![leaders.swap_remove(picks.next().unwrap().index(count))],
        };
        let (replicas, leaders) = carry_out(&mut layout, &members, pick);
        prop_assert_eq!(ends(&replicas), ends(&planned.replicas));
        prop_assert!(copies(&replicas) <= copies(&planned.replicas));
        prop_assert_eq!(leaders.len(), planned.leaders.len());
        let once: BTreeSet<_> = leaders.iter().map(|one| (&one.topic, one.partition)).collect();
        prop_assert_eq!(once.len(), leaders.len(), "each leader changes once");
        prop_assert!(leaders.iter().all(|one| one.added().next().is_none()));
        prop_assert!(moves(&layout, &members).is_empty());
        for ((_, _, was), (_, _, is)) in before.partitions().zip(layout.partitions()) {
            let distinct: BTreeSet<_> = is.replicas.iter().collect();
            prop_assert_eq!(distinct.len(), was.replicas.len());
            prop_assert!(racks_of(&members, &is.replicas) >= racks_of(&members, &was.replicas));
        }
    }

    /// Without racks and fixed topics, brokers end with the same number of replicas, give or take one, by as few moves
    /// as that takes; leaders get no less even.
    #[test]
    fn brokers_get_even_by_as_few_moves_as_it_takes((racks, mut layout) in any_layout()) {
        let members = unracked(racks.len());
        for topic in &mut layout.topics {
            topic.is_fixed = false;
        }
        let held: Vec<usize> = members.iter().map(|one| counts(&layout, one.id).0).collect();
        let (low, rest) = (held.iter().sum::<usize>() / held.len(), held.iter().sum::<usize>() % held.len());
        let over: usize = held.iter().map(|one| one.saturating_sub(low + usize::from(rest > 0))).sum();
        let under: usize = held.iter().map(|one| low.saturating_sub(*one)).sum();
        let (replicas, _) = carry_out(&mut layout, &members, batch);
        prop_assert_eq!(copies(&replicas), over.max(under));
        prop_assert!(apart(&layout, &members).0 <= 1);
    }

    /// New brokers beside ones that are even: nothing moves between those that were there.
    #[test]
    fn only_new_brokers_get_replicas(
        partitions in 1..40_usize,
        replicas in 1..4_usize,
        old in 3..6_usize,
        new in 1..4_usize,
    ) {
        let placed = crate::assignment::place(&unracked(old), crate::assignment::Load::default(), partitions, replicas);
        let placed = placed.unwrap();
        let lists: Vec<&[i32]> = placed.iter().map(Vec::as_slice).collect();
        let ids: Vec<i32> = (0..(old + new) as i32).collect();
        let mut layout = layout(&ids, vec![topic("t", &lists, 5)]);
        let members = unracked(old + new);
        let (moved, _) = carry_out(&mut layout, &members, batch);
        let is_new = |id: i32| id >= old as i32;
        prop_assert!(moved.iter().all(|one| one.added().all(is_new)));
        let (held, led) = apart(&layout, &members);
        prop_assert!(held <= 1 && led <= 1, "{held} {led}");
    }
}
