//! Brokers come and go, volumes grow, pods hear where they are.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_admin::v1::Accept;
use serde_json::{Value, json};

use super::orders::{edit, held, status};
use super::stage::{self, Stage, pass};
use super::support::brokers::permit::Permit;
use super::support::fake::Fake;
use super::support::fake::exhaustive::{End, Scenario};

fn stage() -> Stage {
    Stage::new(stage::controllers)
}

/// Three brokers that are to be, and a topic of nine partitions with three replicas each.
fn world(stage: &Stage) -> Fake {
    let fake = stage.world();
    fake.create(stage::cluster(json!({})));
    fake.create(stage::topic("a", json!({ "partitions": 9 })));
    fake
}

fn names(fake: &Fake, resource: &str) -> Vec<String> {
    let name = |one: Value| one["metadata"]["name"].as_str().unwrap().to_owned();
    fake.list(resource, "default").into_iter().map(name).collect()
}

/// Runs once what the user does; returns the end.
fn play(stage: &Stage, world: impl Fn(&Stage) -> Fake, user: impl AsyncFn(Fake)) -> End {
    let scenario = Scenario {
        world: || world(stage),
        operator: async |connection| stage.operate(connection).await,
        user,
        before: Duration::ZERO,
        quiet: Duration::from_mins(1),
        ignored: &["events.events.k8s.io"],
    };
    let end = scenario.run(None);
    stage.model().assert_sound();
    end
}

/// Three become five, and what is there is spread; five become three, and what leaves is on the others.
#[test]
fn brokers_come_and_go_with_what_lies_on_them() {
    let stage = stage();
    let user = async |fake: Fake| {
        pass(60).await;
        assert_eq!(held(&stage), BTreeMap::from([(0, 9), (1, 9), (2, 9)]));
        edit(&fake, "brokers", 5);
        pass(300).await;
        let spread: Vec<usize> = held(&stage).into_values().collect();
        assert!(spread.len() == 5 && spread.iter().all(|one| (5..=6).contains(one)), "{spread:?}");
        assert!(status(&fake)["plan"].is_null(), "{}", status(&fake));
        edit(&fake, "brokers", 3);
        let mut phases: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for _ in 0..300 {
            pass(1).await;
            for member in status(&fake)["members"].as_array().unwrap() {
                let phase = member["phase"].as_str().unwrap().to_owned();
                let phases = phases.entry(member["id"].as_i64().unwrap()).or_default();
                if phases.last() != Some(&phase) {
                    phases.push(phase);
                }
            }
        }
        assert!([3, 4].iter().all(|id| phases[id] == ["Leaving", "Stopping"]), "{phases:?}");
        assert!([0, 1, 2].iter().all(|id| phases[id] == ["Serving"]), "{phases:?}");
    };
    let end = play(&stage, world, user);
    assert_eq!(held(&stage), BTreeMap::from([(0, 9), (1, 9), (2, 9)]));
    assert_eq!(names(&end.fake, "statefulsets"), ["orders-0", "orders-1", "orders-2"]);
    assert!(status(&end.fake)["drains"].is_null(), "{}", status(&end.fake));
    assert_eq!(names(&end.fake, "persistentvolumeclaims").len(), 5, "they are retained");
    assert_eq!(stage.count("ForgetBroker", |asked| asked.has_changed), 2);
}

/// Clients find brokers at ports of their nodes; brokers hear of both from the operator before they start.
#[test]
fn brokers_at_ports_of_their_nodes_come_up() {
    let stage = stage();
    let outside = |stage: &Stage| {
        let fake = stage.world();
        fake.create(stage::cluster(json!({ "listeners": [
            { "name": "inside", "port": 9092 },
            { "name": "outside", "port": 9094, "type": "NodePort" },
        ] })));
        fake
    };
    let end = play(&stage, outside, async |_| pass(60).await);
    let (fake, mut told) = (&end.fake, Vec::new());
    assert_eq!(stage::condition(fake, "clusters", "orders", "Ready"), "True", "{}", status(fake));
    for id in 0..3 {
        let pod = fake.get("pods", "default", &format!("orders-{id}-0")).unwrap();
        let node = fake.get("nodes", "", pod["spec"]["nodeName"].as_str().unwrap()).unwrap();
        let host = node["status"]["addresses"][0]["address"].as_str().unwrap();
        let service = fake.get("services", "default", &format!("orders-outside-{id}")).unwrap();
        let at = format!("OUTSIDE://{host}:{}", service["spec"]["ports"][0]["nodePort"]);
        let advertised = stage
            .model()
            .with(|state| state.processes[&id].settings["advertised.listeners"].clone());
        assert!(advertised.ends_with(&at), "{advertised} {at}");
        told.push(at);
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 3);
    let starts: Vec<u32> = stage.model().starts().into_iter().map(|(_, count)| count).collect();
    assert_eq!(starts, [1, 1, 1], "nobody is told something else later");
}

/// A broker that never comes back from its restart has leave; once it is taken away, the others go on, and it is emptied.
#[test]
fn a_broker_that_never_comes_back_is_taken_away() {
    let stage = stage();
    let user = async |fake: Fake| {
        pass(60).await;
        stage.model().with(|state| state.broken.insert(1));
        edit(&fake, "restarts", json!({ "token": "again" }));
        pass(120).await;
        assert_eq!(stage.model().starts(), [(0, 1), (1, 1), (2, 1)], "the others serve");
        edit(&fake, "removed", json!([1]));
        pass(600).await;
    };
    let end = play(&stage, world, user);
    let sets = names(&end.fake, "statefulsets");
    assert_eq!(sets, ["orders-0", "orders-2", "orders-3"], "{:#}", status(&end.fake));
    assert_eq!(held(&stage), BTreeMap::from([(0, 9), (2, 9), (3, 9)]));
    let starts = stage.model().starts();
    assert_eq!(starts, [(0, 2), (1, 1), (2, 2), (3, 1)], "{}", status(&end.fake));
}

/// Two brokers fail, for one reason each: a corrected spec heals first the one that has leave, and then the other.
#[test]
fn two_that_fail_are_healed_by_a_corrected_spec() {
    let stage = stage();
    let user = async |fake: Fake| {
        pass(60).await;
        stage.model().with(|state| state.missing_releases.insert("9.9.9".to_owned()));
        edit(&fake, "version", "9.9.9");
        pass(60).await;
        stage.model().with(|state| state.broken.insert(0));
        stage.model().crash(0);
        pass(60).await;
        edit(&fake, "version", "0.2.0");
        pass(120).await;
        let versions = stage.model().with(|state| {
            state
                .processes
                .values()
                .map(|one| (one.broker, one.version.clone()))
                .collect::<Vec<_>>()
        });
        let [first, second] = ["0.2.0", "0.1.0"].map(str::to_owned);
        assert_eq!(versions, [(1, first), (2, second)], "the one that has leave");
        stage.model().with(|state| state.broken.clear());
        pass(300).await;
    };
    let end = play(&stage, world, user);
    let ready = stage::condition(&end.fake, "clusters", "orders", "Ready");
    assert_eq!(ready, "True", "{}", status(&end.fake));
}

/// Leave of a broker that never comes back, because it is taken away, is in nobody's way.
#[test]
fn a_broker_that_is_taken_away_leaves_no_permit() {
    let stage = stage();
    let user = async |fake: Fake| {
        pass(60).await;
        stage.model().with(|state| {
            state.permit = Some(Permit {
                broker: 2,
                epoch: state.epoch(2),
                roll: "that was given up".to_owned(),
                accept: Accept::Unspecified,
                since: state.now,
                until: state.now + Duration::from_hours(1),
                partitions: [("a".to_owned(), 0)].into(),
                drains: false,
            });
        });
        fake.edit("topics", "default", "a", "/spec/replicas", 2).unwrap();
        pass(60).await;
        edit(&fake, "brokers", 2);
        pass(300).await;
        edit(&fake, "restarts", json!({ "token": "again" }));
        pass(120).await;
    };
    let end = play(&stage, world, user);
    assert_eq!(names(&end.fake, "statefulsets"), ["orders-0", "orders-1"]);
    let starts: Vec<_> = stage.model().starts().into_iter().take(2).collect();
    assert_eq!(starts, [(0, 2), (1, 2)], "{}", status(&end.fake));
}
