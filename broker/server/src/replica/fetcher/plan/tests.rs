//! Tables of what is asked and expected, and random changes against a model of the source.

use std::collections::BTreeMap;

use super::*;
use crate::clock::{Clock, SystemClock};

const LONGEST: Duration = Duration::from_secs(1);

fn name(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn id(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

fn at(epoch: i32, offset: i64) -> Position {
    Position {
        leader_epoch: LeaderEpoch(epoch),
        fetch_offset: Offset(offset),
        last_fetched_epoch: LeaderEpoch(epoch - 1),
        log_start_offset: Offset(0),
    }
}

fn follow(topic: &str, topic_id: Uuid, position: Position) -> Follow {
    Follow { partition: name(topic, 0), topic_id, position }
}

fn wanted(ask: &Ask) -> Vec<String> {
    ask.wanted.iter().map(|one| one.partition.to_string()).collect()
}

fn forgotten(ask: &Ask) -> Vec<String> {
    ask.forgotten.iter().map(|(name, _)| name.to_string()).collect()
}

/// A plan of topics a and b in a session that has had its first answer.
fn two() -> (Plan, Key, Key) {
    let mut plan = Plan::default();
    let a = plan.add(&follow("a", id(1), at(5, 10)));
    let b = plan.add(&follow("b", id(2), at(5, 20)));
    let first = plan.ask(true);
    assert_eq!((first.session_id, first.session_epoch), (0, 0));
    assert_eq!(wanted(&first), ["a-0", "b-0"]);
    plan.answered(77);
    (plan, a, b)
}

#[test]
fn a_session_names_only_what_moved() {
    let (mut plan, a, _) = two();
    let idle = plan.ask(true);
    assert_eq!((idle.session_id, idle.session_epoch), (77, 1));
    assert!(idle.wanted.is_empty() && idle.forgotten.is_empty());
    plan.answered(77);
    plan.advance(a, at(5, 11));
    let moved = plan.ask(true);
    assert_eq!(moved.session_epoch, 2);
    assert_eq!(moved.wanted, [follow("a", id(1), at(5, 11))]);
}

#[test]
fn a_session_that_is_lost_begins_with_everything_and_ends_the_old_one() {
    let (mut plan, a, _) = two();
    plan.lost();
    assert_eq!(plan.expected(Topic::Id(id(1)), 0), None, "what was asked is not answered any more");
    plan.advance(a, at(5, 12));
    let again = plan.ask(true);
    assert_eq!((again.session_id, again.session_epoch), (77, 0));
    assert_eq!(wanted(&again), ["a-0", "b-0"]);
    plan.answered(0);
    assert_eq!(wanted(&plan.ask(true)), ["a-0", "b-0"], "no session: everything is named again");
}

/// An answer counts for the epoch and the offset that were asked for, and for nothing else.
///
/// Method: table of (name, what happens while the request is on the wire, whether its answer counts).
#[test]
fn an_answer_to_what_is_not_wanted_any_more_is_not_expected() {
    type Change = fn(&mut Plan, Key);
    let cases: [(&str, Change, bool); 8] = [
        ("nothing", |_, _| {}, true),
        (
            "a new epoch",
            |plan, _| {
                plan.add(&follow("a", id(1), at(6, 10)));
            },
            false,
        ),
        (
            "the same told again",
            |plan, _| {
                plan.add(&follow("a", id(1), at(5, 10)));
            },
            true,
        ),
        (
            "another topic of the name",
            |plan, _| {
                plan.add(&follow("a", id(9), at(5, 10)));
            },
            false,
        ),
        ("removed", |plan, _| plan.remove(&name("a", 0)), false),
        ("held", |plan, key| plan.hold(key), false),
        ("ended", |plan, key| plan.end(key), false),
        ("advanced", |plan, key| plan.advance(key, at(5, 11)), false),
    ];
    for (what, change, counts) in cases {
        let (mut plan, a, b) = two();
        assert_eq!(plan.expected(Topic::Id(id(1)), 0), Some(a));
        change(&mut plan, a);
        assert_eq!(plan.expected(Topic::Id(id(1)), 0).is_some(), counts, "{what}");
        assert_eq!(plan.expected(Topic::Id(id(2)), 0), Some(b), "{what}: the other is untouched");
        assert_eq!(plan.expected(Topic::Id(id(3)), 0), None, "{what}: a stranger");
        assert_eq!(plan.expected(Topic::Id(id(2)), 1), None, "{what}: a stranger");
    }
}

#[test]
fn what_is_held_leaves_the_session_until_it_is_resumed() {
    let (mut plan, a, _) = two();
    plan.hold(a);
    assert_eq!(forgotten(&plan.ask(true)), ["a-0"]);
    plan.answered(77);
    plan.resume(a, at(5, 8));
    assert_eq!(plan.ask(true).wanted, [follow("a", id(1), at(5, 8))]);
}

#[test]
fn work_for_an_older_epoch_ends_without_effect() {
    let (mut plan, a, _) = two();
    plan.hold(a);
    let newer = plan.add(&follow("a", id(1), at(6, 4)));
    plan.resume(a, at(5, 8));
    plan.end(a);
    plan.back_off(a, SystemClock.now(), LONGEST);
    assert!(plan.get(a).is_none());
    assert_eq!(plan.get(newer).unwrap().1, at(6, 4));
    assert_eq!(plan.ask(true).wanted, [follow("a", id(1), at(6, 4))]);
}

#[test]
fn a_partition_removed_and_added_between_two_requests_is_not_forgotten() {
    let (mut plan, _, _) = two();
    plan.remove(&name("a", 0));
    assert_eq!(plan.len(), 1);
    plan.add(&follow("a", id(1), at(6, 10)));
    let ask = plan.ask(true);
    assert_eq!((wanted(&ask), forgotten(&ask)), (vec!["a-0".to_owned()], vec![]));
}

#[test]
fn a_topic_made_again_takes_the_place_of_its_predecessor() {
    let (mut plan, _, _) = two();
    plan.add(&follow("a", id(9), at(0, 0)));
    let ask = plan.ask(true);
    assert_eq!(ask.wanted, [follow("a", id(9), at(0, 0))]);
    assert_eq!(ask.forgotten, [(name("a", 0), id(1))]);
    plan.answered(77);
    assert!(plan.expected(Topic::Id(id(9)), 0).is_some());
    assert!(plan.expected(Topic::Id(id(1)), 0).is_none());
}

#[test]
fn one_topic_without_an_id_has_all_named_by_name_in_a_new_session() {
    let (mut plan, _, _) = two();
    plan.add(&follow("c", Uuid::ZERO, at(1, 0)));
    let ask = plan.ask(true);
    assert_eq!((ask.uses_topic_ids, ask.session_epoch), (false, 0));
    assert_eq!(wanted(&ask), ["a-0", "b-0", "c-0"]);
    plan.answered(78);
    assert!(plan.expected(Topic::Name("a"), 0).is_some());
    plan.remove(&name("c", 0));
    assert_eq!(plan.ask(true).session_epoch, 0, "and by id again once it is gone");
}

#[test]
fn errors_are_waited_out_ever_longer_and_forgotten_after_a_good_answer() {
    let (mut plan, a, b) = two();
    plan.remove(&name("b", 0));
    let mut now = SystemClock.now();
    let mut wait = |plan: &mut Plan| {
        plan.back_off(a, now, LONGEST);
        let Due::At(until) = plan.due(now) else { panic!("something else is due") };
        let waited = until - now;
        assert_eq!(plan.due(now + waited / 2), Due::At(until));
        assert_eq!(plan.due(until), Due::Now);
        now = until;
        waited
    };
    assert_eq!(wait(&mut plan), FIRST_BACKOFF);
    assert_eq!(wait(&mut plan), FIRST_BACKOFF * 2);
    for _ in 0..40 {
        wait(&mut plan);
    }
    assert_eq!(wait(&mut plan), LONGEST);
    plan.advance(a, at(5, 10));
    assert_eq!(wait(&mut plan), FIRST_BACKOFF);
    assert!(plan.get(b).is_none());
    plan.end(a);
    assert_eq!(plan.due(now), Due::Never);
    plan.remove(&name("a", 0));
    assert!(plan.is_empty());
}

/// Whatever happens, the source's session holds exactly what is fetched, at its position.
///
/// Method: random changes against a model of the source that adds first and forgets afterwards, as
/// Kafka does; a partition may not be in both lists.
#[test]
fn the_session_of_the_source_is_what_the_plan_fetches() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut plan, mut source) = (Plan::default(), BTreeMap::new());
        let mut keys: Vec<Key> = Vec::new();
        let now = SystemClock.now();
        for _ in 0..300 {
            let any = |rng: &mut fastrand::Rng, keys: &[Key]| keys[rng.usize(..keys.len())];
            match rng.u32(..10) {
                0..3 => {
                    let topic = ["a", "b", "c"][rng.usize(..3)];
                    let partition = TopicPartition { topic: topic.into(), partition: rng.i32(..3) };
                    // Without an id in a few runs only, and again with one later.
                    let no_id = seed % 3 == 0 && topic == "c" && rng.bool();
                    let topic_id = if no_id { Uuid::ZERO } else { id(topic.as_bytes()[0]) };
                    let position = at(rng.i32(..5), rng.i64(..5));
                    keys.push(plan.add(&Follow { partition, topic_id, position }));
                }
                _ if keys.is_empty() => {}
                3 => {
                    let gone = plan.get(any(&mut rng, &keys)).map(|(name, _)| name.clone());
                    if let Some(gone) = gone {
                        plan.remove(&gone);
                    }
                }
                4 => plan.hold(any(&mut rng, &keys)),
                5 | 6 => {
                    let key = any(&mut rng, &keys);
                    if let Some((_, position)) = plan.get(key) {
                        let to = at(position.leader_epoch.0, rng.i64(..5));
                        plan.resume(key, to);
                        plan.advance(key, to);
                    }
                }
                7 => plan.back_off(any(&mut rng, &keys), now, LONGEST),
                8 => plan.lost(),
                _ => {
                    let ask = plan.ask(true);
                    if ask.session_epoch == 0 {
                        source.clear();
                    }
                    let key = |name: &TopicPartition, id: Uuid| {
                        (if ask.uses_topic_ids { id } else { Uuid::ZERO }, name.clone())
                    };
                    for one in &ask.wanted {
                        source.insert(key(&one.partition, one.topic_id), one.position);
                    }
                    for (name, id) in &ask.forgotten {
                        assert!(source.remove(&key(name, *id)).is_some(), "{seed}: {name}");
                    }
                    plan.answered(if rng.bool() { 1 } else { 2 });
                    let fetched = plan.slots.iter().flatten();
                    let fetched = fetched.filter(|slot| slot.phase == Phase::Fetching);
                    let fetched: BTreeMap<_, _> = fetched
                        .map(|slot| (key(&slot.partition, slot.topic_id), slot.position))
                        .collect();
                    assert_eq!(source, fetched, "seed {seed}");
                    assert_eq!(plan.fetching_count, fetched.len(), "seed {seed}");
                }
            }
            let there = plan.slots.iter().flatten().filter(|slot| slot.phase != Phase::Gone);
            assert_eq!(plan.len(), there.count(), "seed {seed}");
        }
    }
}

/// A source that does not say where logs diverge is asked before anything is fetched, and again after a
/// wait, a sync or a cut, until the log is in line.
#[test]
fn a_log_is_brought_in_line_before_it_is_fetched_where_a_fetch_would_not_show_it() {
    let now = SystemClock.now();
    let mut plan = Plan::asking_first();
    let a = plan.add(&follow("a", id(1), at(5, 10)));
    assert_eq!(plan.due(now), Due::Now);
    assert!(!plan.is_fetching() && plan.ask(false).wanted.is_empty());
    assert_eq!(plan.take_asking(), [a]);
    assert_eq!(plan.due(now), Due::Never, "it is being asked about");
    plan.back_off(a, now, LONGEST);
    assert_eq!(plan.due(now + LONGEST), Due::Now);
    assert_eq!(plan.take_asking(), [a], "no answer came");
    plan.resume(a, at(5, 9));
    assert_eq!(plan.take_asking(), [a], "cut in part");
    plan.in_line(a);
    plan.resume(a, at(5, 8));
    assert!(plan.is_fetching() && plan.take_asking().is_empty());
    assert_eq!(plan.ask(false).wanted, [follow("a", id(1), at(5, 8))]);
    let again = plan.add(&follow("a", id(1), at(6, 8)));
    assert!(!plan.is_fetching(), "another leader, another log");
    plan.remove(&name("a", 0));
    assert!(plan.take_asking().is_empty());
    plan.in_line(again);
}
