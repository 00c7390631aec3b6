//! The operator is killed at every call of what it does with a cluster, and another one comes: the end is the same.
//!
//! Method: where a scenario begins (a cluster at rest) is made once; each run begins there with the operator up, and calls
//! are counted from the user's edit on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{self, Stage, Start, condition};
use super::support::fake::Fake;
use super::support::fake::exhaustive::{Disturbance, End, Scenario, kill_at_every_call};

/// Longer than anything that is looked at again soon, and than what is looked at for good measure.
const QUIET: Duration = Duration::from_secs(40);
/// Until an operator that has come knows all.
const BEFORE: Duration = Duration::from_secs(3);

fn edit(fake: &Fake, field: &str, value: impl Into<Value>) {
    fake.edit("clusters", "default", "orders", &format!("/spec/{field}"), value).unwrap();
}

fn is_whole(fake: &Fake) {
    let all = ["Ready", "Progressing", "Degraded", "Paused"];
    let all = all.map(|name| condition(fake, "clusters", "orders", name));
    let expected = ["True", "False", "False", "False"].map(str::to_owned);
    let cluster = fake.get("clusters", "default", "orders").unwrap();
    assert_eq!(all, expected, "{:#}", cluster["status"]);
}

/// How often each broker was started.
fn starts(stage: &Stage) -> Vec<u32> {
    stage.model().starts().into_iter().map(|(_, count)| count).collect()
}

/// How many replicas each broker holds.
fn held(stage: &Stage) -> BTreeMap<i32, usize> {
    let mut held = BTreeMap::new();
    stage.model().with(|state| {
        for (_, _, partition) in state.tree.partitions() {
            for id in &partition.replicas {
                *held.entry(*id).or_default() += 1;
            }
        }
    });
    held
}

/// A cluster as `spec` says, with a topic of so many partitions, that has come to rest.
fn at_rest(spec: &Value, partitions: i32) -> Start {
    let stage = Stage::new(stage::controllers);
    let kept = RefCell::default();
    let scenario = Scenario {
        world: || begin(&stage, spec, partitions),
        operator: async |connection| stage.operate(connection).await,
        user: async |fake: Fake| {
            fake.rest(QUIET).await;
            *kept.borrow_mut() = Some(stage.keep(&fake));
        },
        before: Duration::ZERO,
        quiet: Duration::from_secs(1),
        ignored: &[],
    };
    let end = scenario.run(None);
    is_whole(&end.fake);
    kept.take().unwrap()
}

fn begin(stage: &Stage, spec: &Value, partitions: i32) -> Fake {
    let fake = stage.world();
    fake.create(stage::cluster(spec.clone()));
    let config = json!({ "min.insync.replicas": "2" });
    fake.create(stage::topic("a", json!({ "partitions": partitions, "config": config })));
    fake
}

/// What a user does to a cluster at rest, and what must be true then, however often it is done.
struct Edit {
    start: Start,
    edit: fn(&Stage, &Fake),
    check: fn(&Stage, &End),
}

impl Edit {
    fn run(&self, disturbance: Option<Disturbance>) -> End {
        let stage = Stage::new(stage::controllers);
        let scenario = Scenario {
            world: || stage.resume(&self.start),
            operator: async |connection| stage.operate(connection).await,
            user: async |fake: Fake| (self.edit)(&stage, &fake),
            before: BEFORE,
            quiet: QUIET,
            ignored: &["events.events.k8s.io"],
        };
        let end = scenario.run(disturbance);
        stage.model().assert_sound();
        (self.check)(&stage, &end);
        end
    }

    fn kill(&self) -> u64 {
        kill_at_every_call(|disturbance| self.run(disturbance))
    }
}

#[test]
fn a_cluster_is_made_whenever_the_operator_dies() {
    let calls = kill_at_every_call(|disturbance| {
        let stage = Stage::new(stage::controllers);
        let scenario = Scenario {
            world: || begin(&stage, &json!({}), 2),
            operator: async |connection| stage.operate(connection).await,
            user: async |_| {},
            before: Duration::ZERO,
            quiet: QUIET,
            ignored: &["events.events.k8s.io"],
        };
        let end = scenario.run(disturbance);
        stage.model().assert_sound();
        is_whole(&end.fake);
        assert_eq!(starts(&stage), [1, 1, 1]);
        assert_eq!(condition(&end.fake, "topics", "a", "Ready"), "True");
        assert_eq!(stage.count("CreateTopic", |asked| asked.has_changed), 1);
        end
    });
    assert!(calls > 50, "{calls} calls");
}

#[test]
fn a_roll_ends_with_one_restart_of_each_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({}), 2),
        edit: |_, fake| edit(fake, "config", json!({ "num.partitions": "4" })),
        check: |stage, end| {
            is_whole(&end.fake);
            assert_eq!(starts(stage), [2, 2, 2]);
        },
    };
    let calls = edit.kill();
    assert!(calls > 50, "{calls} calls");
}

#[test]
fn brokers_that_come_get_their_share_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({}), 8),
        edit: |_, fake| edit(fake, "brokers", 4),
        check: |stage, end| {
            is_whole(&end.fake);
            assert_eq!(starts(stage), [1, 1, 1, 1]);
            assert_eq!(held(stage), BTreeMap::from([(0, 6), (1, 6), (2, 6), (3, 6)]));
        },
    };
    let calls = edit.kill();
    assert!(calls > 50, "{calls} calls");
}

#[test]
fn brokers_that_go_leave_nothing_behind_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({ "brokers": 4 }), 8),
        edit: |_, fake| edit(fake, "brokers", 3),
        check: |stage, end| {
            is_whole(&end.fake);
            assert_eq!(starts(stage), [1, 1, 1, 1]);
            assert_eq!(held(stage), BTreeMap::from([(0, 8), (1, 8), (2, 8)]));
            assert_eq!(end.fake.list("statefulsets", "default").len(), 3);
        },
    };
    let calls = edit.kill();
    assert!(calls > 50, "{calls} calls");
}

/// Binaries first, then what they speak: two rolls.
#[test]
fn an_upgrade_ends_with_two_restarts_of_each_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({}), 2),
        edit: |stage, fake| {
            let newer = ["3.8", "3.9", "4.0"].map(str::to_owned).to_vec();
            stage.model().with(|state| state.protocols.insert("0.2.0".to_owned(), newer));
            edit(fake, "version", "0.2.0");
        },
        check: |stage, end| {
            is_whole(&end.fake);
            assert_eq!(starts(stage), [3, 3, 3]);
            let cluster = end.fake.get("clusters", "default", "orders").unwrap();
            assert_eq!(cluster["status"]["version"], "0.2.0");
            assert_eq!(cluster["status"]["protocolVersion"], "4.0");
        },
    };
    let calls = edit.kill();
    assert!(calls > 100, "{calls} calls");
}

#[test]
fn a_topic_is_deleted_once_whenever_the_operator_dies() {
    let edit = Edit {
        start: at_rest(&json!({}), 2),
        edit: |_, fake| drop(fake.delete("topics", "default", "a")),
        check: |stage, end| {
            is_whole(&end.fake);
            assert!(end.fake.get("topics", "default", "a").is_none());
            assert!(stage.model().with(|state| state.tree.topics.is_empty()));
            assert_eq!(stage.count("DeleteTopic", |asked| asked.has_changed), 1);
        },
    };
    let calls = edit.kill();
    assert!(calls > 5, "{calls} calls");
}
