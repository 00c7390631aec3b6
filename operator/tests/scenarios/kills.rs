//! The operator is killed at every call of what it does with a cluster, and another one comes: the end is the same.
//!
//! Method: a scenario begins with a cluster at rest and an operator that knows it, and runs undisturbed from the user's edit
//! on. An operator that is killed leaves nothing but what it has changed: so what there was before and after each call is
//! kept, and from each of them another operator goes on. No call is left out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::orders::{edit, held, is_whole, starts};
use super::stage::{self, Stage, Start, condition};
use super::support::fake::Fake;
use super::support::fake::exhaustive::{End, Scenario, follow_every_stop};

/// Longer than anything that is looked at again soon, and than what is looked at for good measure.
const QUIET: Duration = Duration::from_secs(40);
/// The same where a new controller may give no leave for a while.
const LONG: Duration = Duration::from_secs(70);
/// Written at other times, or with other words, by another operator.
const IGNORED: &[&str] = &["events.events.k8s.io"];
/// Until an operator that has come knows all.
const BEFORE: Duration = Duration::from_secs(3);

/// A server that knows the definitions.
fn nothing() -> Start {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stage = Stage::new(stage::controllers);
        let fake = stage.world();
        stage.keeper()(&fake)
    })
}

/// A cluster as `spec` says, with a topic of so many partitions, that has come to rest.
fn at_rest(spec: &Value, partitions: i32) -> Start {
    let stage = Stage::new(stage::controllers);
    let kept = RefCell::default();
    let scenario = Scenario {
        world: || stage.world(),
        operator: async |connection| stage.operate(connection).await,
        user: async |fake: Fake| {
            stage.model().with(|state| {
                let known = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
                state.protocols.insert("0.1.0".to_owned(), known(&["3.7", "3.8"]));
                state.protocols.insert("0.2.0".to_owned(), known(&["3.7", "3.8", "3.9"]));
            });
            make(&fake, spec, partitions);
            fake.rest(QUIET).await;
            stage.model().forget_calls();
            *kept.borrow_mut() = Some(stage.keeper()(&fake));
        },
        before: Duration::ZERO,
        quiet: Duration::from_secs(1),
        ignored: &[],
    };
    let end = scenario.run(None);
    is_whole(&end.fake);
    kept.take().unwrap()
}

/// Makes a cluster as `spec` says, with a topic of so many partitions.
fn make(fake: &Fake, spec: &Value, partitions: i32) {
    fake.create(stage::cluster(spec.clone()));
    let config = json!({ "min.insync.replicas": "2" });
    fake.create(stage::topic("a", json!({ "partitions": partitions, "config": config })));
}

/// What a user does to a cluster at rest, and what must be true then, however often it is done.
struct Edit {
    start: Start,
    /// How long the operator is there before.
    before: Duration,
    quiet: Duration,
    change: fn(&Fake),
    check: fn(&Stage, &End),
}

impl Edit {
    /// Runs it undisturbed, and what follows from every call at which the operator may die; returns how many kills there were.
    fn kill(&self) -> usize {
        let stage = Stage::new(stage::controllers);
        let scenario = Scenario {
            world: || stage.resume(&self.start),
            operator: async |connection| stage.operate(connection).await,
            user: async |fake: Fake| (self.change)(&fake),
            before: self.before,
            quiet: self.quiet,
            ignored: IGNORED,
        };
        let (end, stops) = scenario.stops(|| stage.keeper());
        self.is_well(&stage, &end);
        follow_every_stop(&end, &stops, |start| self.follow(start));
        stops.iter().map(|stop| stop.kills).sum()
    }

    fn follow(&self, start: &Start) -> End {
        let stage = Stage::new(stage::controllers);
        let scenario = Scenario {
            world: || stage.resume(start),
            operator: async |connection| stage.operate(connection).await,
            user: async |_| {},
            before: Duration::ZERO,
            quiet: self.quiet,
            ignored: IGNORED,
        };
        let end = scenario.follow();
        self.is_well(&stage, &end);
        end
    }

    fn is_well(&self, stage: &Stage, end: &End) {
        stage.model().assert_sound();
        is_whole(&end.fake);
        (self.check)(stage, end);
    }
}

#[test]
fn a_cluster_is_made_whenever_the_operator_dies() {
    let edit = Edit {
        start: nothing(),
        before: Duration::ZERO,
        quiet: QUIET,
        change: |fake| make(fake, &json!({}), 2),
        check: |stage, end| {
            assert_eq!(starts(stage), [1, 1, 1]);
            assert_eq!(condition(&end.fake, "topics", "a", "Ready"), "True");
            assert_eq!(stage.count("CreateTopic", |asked| asked.has_changed), 1);
        },
    };
    let kills = edit.kill();
    assert!(kills > 50, "{kills} kills");
}

#[test]
fn a_roll_ends_with_one_restart_of_each_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({}), 2),
        before: BEFORE,
        quiet: QUIET,
        change: |fake| edit(fake, "config", json!({ "num.partitions": "4" })),
        check: |stage, _| {
            assert_eq!(starts(stage), [2, 2, 2]);
        },
    };
    let kills = edit.kill();
    assert!(kills > 50, "{kills} kills");
}

#[test]
fn brokers_that_come_get_their_share_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({}), 8),
        before: BEFORE,
        quiet: QUIET,
        change: |fake| edit(fake, "brokers", 4),
        check: |stage, _| {
            assert_eq!(starts(stage), [1, 1, 1, 1]);
            assert_eq!(held(stage), BTreeMap::from([(0, 6), (1, 6), (2, 6), (3, 6)]));
        },
    };
    let kills = edit.kill();
    assert!(kills > 50, "{kills} kills");
}

#[test]
fn brokers_that_go_leave_nothing_behind_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({ "brokers": 4 }), 8),
        before: BEFORE,
        quiet: QUIET,
        change: |fake| edit(fake, "brokers", 3),
        check: |stage, end| {
            assert_eq!(starts(stage), [1, 1, 1, 1]);
            assert_eq!(held(stage), BTreeMap::from([(0, 8), (1, 8), (2, 8)]));
            assert_eq!(end.fake.list("statefulsets", "default").len(), 3);
        },
    };
    let kills = edit.kill();
    assert!(kills > 50, "{kills} kills");
}

/// Binaries first, then what they speak: two rolls.
#[test]
fn an_upgrade_ends_with_two_restarts_of_each_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({}), 2),
        before: BEFORE,
        quiet: LONG,
        change: |fake| edit(fake, "version", "0.2.0"),
        check: |stage, end| {
            assert_eq!(starts(stage), [3, 3, 3]);
            let cluster = end.fake.get("clusters", "default", "orders").unwrap();
            assert_eq!(cluster["status"]["version"], "0.2.0");
            assert_eq!(cluster["status"]["protocolVersion"], "3.9");
        },
    };
    let kills = edit.kill();
    assert!(kills > 100, "{kills} kills");
}

#[test]
fn a_topic_is_deleted_once_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({}), 2),
        before: BEFORE,
        quiet: QUIET,
        change: |fake| drop(fake.delete("topics", "default", "a")),
        check: |stage, end| {
            assert!(end.fake.get("topics", "default", "a").is_none());
            assert!(stage.model().with(|state| state.tree.topics.is_empty()));
            assert_eq!(stage.count("DeleteTopic", |asked| asked.has_changed), 1);
        },
    };
    let kills = edit.kill();
    assert!(kills > 5, "{kills} kills");
}
