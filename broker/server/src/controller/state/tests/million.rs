//! The random-event test: runs of thousands of events, each from a seed that is the whole report.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::invariants::check;
use super::random::Life;
use crate::controller::state::Planted;

/// Events in one run; then all heals, and another half follows.
const RUN: usize = 1_000;

fn live(seed: u64, planted: Option<Planted>) {
    let mut life = Life::new(seed);
    life.world.state.planted = planted;
    for number in 0..RUN {
        life.act();
        check(&life.world);
        if number % (RUN / 2) == RUN / 2 - 1 {
            life.heal();
            check(&life.world);
        }
    }
}

/// Nothing that may happen breaks an invariant, in a million events.
#[test]
fn a_million_random_events_break_nothing() {
    for seed in 0..1_000 {
        let lived = catch_unwind(|| live(seed, None));
        assert!(lived.is_ok(), "seed {seed} fails");
    }
}

/// Nor in events that nobody has seen before: 100 runs from anywhere, or those of `OTTLA_SEEDS=FROM..TO`.
#[test]
fn fresh_random_events_break_nothing() {
    let seeds = asked_seeds().unwrap_or_else(|| {
        let from = fastrand::u64(..u64::MAX / 2);
        from..from + 100
    });
    let fails = |seed: &u64| {
        let fails = catch_unwind(|| live(*seed, None)).is_err();
        if fails {
            eprintln!("seed {seed} fails");
        }
        fails
    };
    let failing: Vec<_> = seeds.clone().filter(fails).collect();
    assert!(failing.is_empty(), "of the seeds {seeds:?} these fail: {failing:?}");
}

#[expect(clippy::disallowed_methods, reason = "which seeds to run is no setting of a broker")]
fn asked_seeds() -> Option<Range<u64>> {
    let asked = std::env::var("OTTLA_SEEDS").ok()?;
    let (from, to) = asked.split_once("..").expect("OTTLA_SEEDS=FROM..TO");
    let number = |text: &str| text.parse().expect("OTTLA_SEEDS: a seed is a number");
    Some(number(from)..number(to))
}

/// Each wrong rule is found by words that tell of it: within a few runs, or, where one run in a thousand
/// shows it, from just before one that does.
#[test]
fn planted_wrong_rules_are_caught() {
    for (planted, words, seeds) in [
        (Planted::RemovalWithoutEpoch, "an ISR that nobody asked for keeps its epoch", 0..40),
        (Planted::ElectionOutsideIsr, " is elected out of ", 0..40),
        (
            Planted::NoPartitionEpochCheck,
            "a proposal for another partition epoch is written",
            0..40,
        ),
        (Planted::NoLivenessCheck, "joins and is not alive", 0..40),
        (Planted::UnprovenLeads, "lacks records", 0..40),
        (Planted::EarlyAnswers, " leads View ", 1_400..5_000),
        (Planted::ListProves, "lacks records", 0..40),
    ] {
        let found = seeds.into_iter().find_map(|seed| {
            let live = AssertUnwindSafe(|| live(seed, Some(planted)));
            catch_unwind(live).err().map(|panic| said(&*panic))
        });
        let found = found.unwrap_or_else(|| panic!("{planted:?} goes unseen"));
        assert!(found.contains(words), "{planted:?} is found by {found}");
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let owned = panic.downcast_ref::<String>().cloned();
    owned
        .or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()))
        .unwrap_or_default()
}
