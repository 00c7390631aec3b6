//! Candidates among whom everything goes wrong: clocks of unlike rates and offsets, writes that are lost, late or made
//! without an answer, processes that stall, die and come back.

#![allow(clippy::disallowed_methods, reason = "an origin for the clocks of the simulation")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

mod world;

use world::{Faults, World};

const SECOND: Duration = Duration::from_secs(1);

fn candidate(name: &str) -> Candidate {
    Candidate::new(name.to_owned(), Timing::default())
}

/// When the Lease of these tests was created, and what a term has of it.
const CREATED: u64 = 1_700_000_000;
const BASE: u64 = CREATED << 20;

fn lease(version: &str) -> Identity {
    Identity { version: version.to_owned(), created: CREATED }
}

fn seen(holder: &str, transitions: u64, renewed: i64, version: &str) -> Observed {
    let duration = Duration::from_secs(15);
    let record = Record { holder: holder.to_owned(), duration, acquired: 0, renewed, transitions };
    Observed { record, lease: lease(version) }
}

fn write(step: Step) -> Write {
    let Step::Write(write) = step else { panic!("{step:?} is no write") };
    write
}

/// Where there is no Lease it is made, and led from the moment that the write was sent.
#[test]
fn the_first_candidate_makes_the_lease() {
    let start = Instant::now();
    let mut a = candidate("a");
    assert_eq!(a.step(start, 100), Step::Read);
    a.read(None, start);
    let made = write(a.step(start, 100));
    assert_eq!((made.record.transitions, made.over.clone()), (1, None));
    a.answered(made, start, Answer::Written(lease("1")), start + 3 * SECOND);
    assert_eq!(a.leading(start + 3 * SECOND), Some((BASE + 1, start + 10 * SECOND)));
    assert_eq!(a.leading(start + 10 * SECOND), None);
}

/// Another's record is waited for on our clock, from when it was seen first; a renewal begins anew, a label does not.
#[test]
fn a_holder_is_over_when_its_record_stands_still_for_its_duration() {
    let start = Instant::now();
    let mut b = candidate("b");
    b.read(Some(seen("a", 7, 1, "1")), start);
    assert!(matches!(b.step(start, 0), Step::Wait(_)));
    b.read(Some(seen("a", 7, 2, "2")), start + 14 * SECOND);
    assert!(matches!(b.step(start + 20 * SECOND, 0), Step::Wait(_)));
    b.read(Some(seen("a", 7, 2, "3")), start + 28 * SECOND);
    assert!(matches!(b.step(start + 28 * SECOND, 0), Step::Wait(at) if at == start + 29 * SECOND));
    assert_eq!(b.step(start + 29 * SECOND, 0), Step::Read);
    b.read(Some(seen("a", 7, 2, "3")), start + 29 * SECOND);
    let taken = write(b.step(start + 29 * SECOND, 50));
    assert_eq!((taken.record.transitions, taken.over.as_deref()), (8, Some("3")));
}

/// What was given back is taken at once, with a higher term, also by who gave it back.
#[test]
fn what_was_given_back_is_free_at_once() {
    let start = Instant::now();
    let mut a = candidate("a");
    a.read(None, start);
    let made = write(a.step(start, 100));
    a.answered(made, start, Answer::Written(lease("1")), start);
    let back = a.resign(start + SECOND, 200).unwrap();
    assert_eq!((a.leading(start + SECOND), back.record.holder.as_str()), (None, ""));
    assert_eq!(a.resign(start + SECOND, 200), None);
    for name in ["a", "b"] {
        let mut next = candidate(name);
        next.read(Some(seen("", 1, 200, "2")), start + SECOND);
        assert_eq!(write(next.step(start + SECOND, 300)).record.transitions, 2);
    }
}

/// A process that comes back under its old name does not trust what an earlier one wrote.
#[test]
fn the_own_name_alone_is_no_leadership() {
    let start = Instant::now();
    let mut a = candidate("a");
    a.read(Some(seen("a", 4, 1, "1")), start);
    assert!(matches!(a.step(start, 0), Step::Wait(_)));
    assert_eq!(a.leading(start), None);
}

/// Nor is it while it leads: where another process has its name and took the Lease, the term is another.
#[test]
fn the_own_name_in_another_term_ends_leadership() {
    let start = Instant::now();
    let mut a = candidate("a");
    a.read(None, start);
    let made = write(a.step(start, 100));
    a.answered(made, start, Answer::Written(lease("1")), start);
    a.read(Some(seen("a", 2, 200, "2")), start + SECOND);
    assert_eq!(a.leading(start + SECOND), None);
}

/// A write whose answer was lost counts from when it was sent, once it is read back, and not if others came first.
#[test]
fn a_lost_answer_is_looked_up() {
    let start = Instant::now();
    let sent = |a: &mut Candidate| {
        a.read(None, start);
        let made = write(a.step(start, 100));
        a.answered(made.clone(), start, Answer::Unknown, start + 3 * SECOND);
        assert_eq!(a.leading(start + 3 * SECOND), None);
        made.record
    };
    let mut a = candidate("a");
    let record = sent(&mut a);
    assert!(matches!(a.step(start + 3 * SECOND, 0), Step::Wait(_)));
    assert_eq!(a.step(start + 4 * SECOND, 0), Step::Read);
    a.read(Some(Observed { record, lease: lease("1") }), start + 4 * SECOND);
    assert_eq!(a.leading(start + 4 * SECOND), Some((BASE + 1, start + 10 * SECOND)));

    let mut a = candidate("a");
    sent(&mut a);
    a.read(Some(seen("b", 1, 50, "1")), start + 4 * SECOND);
    assert_eq!(a.leading(start + 4 * SECOND), None);
}

/// A Lease that is deleted under its holder ends its leadership; whoever knew it waits as if it were there, and goes
/// above its term.
#[test]
fn a_deleted_lease_is_led_by_nobody_until_its_time_is_over() {
    let start = Instant::now();
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    a.read(Some(seen("", 6, 1, "1")), start);
    let made = write(a.step(start, 100));
    a.answered(made, start, Answer::Written(lease("2")), start);
    b.read(Some(seen("a", 7, 100, "2")), start);
    let renewal = write(a.step(start + 2 * SECOND, 200));
    a.answered(renewal, start + 2 * SECOND, Answer::Refused, start + 2 * SECOND);
    a.read(None, start + 2 * SECOND);
    b.read(None, start + 2 * SECOND);
    assert_eq!(a.leading(start + 2 * SECOND), None);
    assert!(matches!(b.step(start + 2 * SECOND, 0), Step::Wait(_)));
    b.read(None, start + 15 * SECOND);
    let again = write(b.step(start + 15 * SECOND, 0));
    assert_eq!((again.record.transitions, again.over), (8, None));
}

/// Whoever makes the Lease anew knows nothing of what was before: its term is higher all the same.
#[test]
fn a_lease_that_is_made_again_begins_above_all_terms_before() {
    let start = Instant::now();
    let term_in = |lease: Identity, transitions: u64| {
        let mut a = candidate("a");
        a.read(None, start);
        let mut made = write(a.step(start, 100));
        made.record.transitions = transitions;
        a.answered(made, start, Answer::Written(lease), start);
        a.leading(start).unwrap().0
    };
    let later = Identity { version: "1".to_owned(), created: CREATED + 1 };
    assert!(term_in(later, 1) > term_in(lease("1"), 1_000_000));
    assert!(term_in(lease("1"), 2) > term_in(lease("1"), 1));
}

/// A Lease that was deleted and made again of a copy names its holder in another term: it does not lead by it.
#[test]
fn a_copy_of_the_lease_is_led_by_nobody() {
    let start = Instant::now();
    let mut a = candidate("a");
    a.read(None, start);
    let made = write(a.step(start, 100));
    a.answered(made.clone(), start, Answer::Written(lease("1")), start);
    let copy = Identity { version: "2".to_owned(), created: CREATED + 60 };
    a.read(Some(Observed { record: made.record, lease: copy }), start + SECOND);
    assert_eq!(a.leading(start + SECOND), None);
}

/// Whoever leads says so by its own clock alone, which may be a tenth too fast or too slow.
fn run(seed: u64, faults: Faults) -> World {
    let mut world = World::new(seed, faults);
    world.run(Duration::from_mins(10));
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Never two leaders at one instant, and each new one has a higher term than all before.
    #[test]
    fn there_is_one_leader_at_most(seed in any::<u64>()) {
        let world = run(seed, Faults::MANY);
        prop_assert!(world.terms.is_sorted(), "{:?}", world.terms);
    }

    /// Once everything works again, somebody leads soon.
    #[test]
    fn somebody_leads_once_it_can_be_done(seed in any::<u64>()) {
        let mut world = run(seed, Faults::MANY);
        world.faults = Faults::NONE;
        world.run(Duration::from_mins(2));
        prop_assert!(world.leader().is_some());
    }
}

/// Without faults the first leader stays, in one term.
#[test]
fn a_leader_that_nothing_hinders_stays() {
    let world = run(1, Faults::NONE);
    assert_eq!(world.terms, [BASE + 1]);
}

/// The simulation is worth something: leaders do change in it, by expiry and by being given back.
#[test]
fn the_simulation_sees_many_leaders() {
    let terms: BTreeMap<u64, usize> =
        (0..20).map(|seed| (seed, run(seed, Faults::MANY).terms.len())).collect();
    assert!(terms.values().all(|terms| *terms >= 3), "{terms:?}");
}
