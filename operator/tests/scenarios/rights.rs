//! The rights that the chart gives are those that the operator needs: no call lacks one, and each of them is missed.
//!
//! Method: one tour through everything that an operator does, held to the table of the chart.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use operator::candidacy::Election;
use operator::clock::Clock;
use operator::health::Health;
use operator::metrics::Metrics;
use operator::progress::Progress;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::orders::edit;
use super::stage::{self, Stage, pass};
use super::support::brokers::tree::Topic;
use super::support::fake::Fake;
use super::support::fake::connection::Connection;
use super::support::fake::exhaustive::{End, Scenario, on_threads};
use super::support::fake::rights::{Right, Rights};

/// Stands for the place of a release.
const HELD: &str = "operator";

/// Everything that an operator does, as far as it needs rights of different kinds. Ends early where something is refused.
async fn tour(stage: &Stage, fake: &Fake) {
    let storage = |size: &str| {
        json!({
            "volumes": [{ "name": "data", "size": size, "class": "standard" }], "onDelete": "Delete",
        })
    };
    let inside = json!({ "name": "inside", "port": 9092 });
    let outside = json!({ "name": "outside", "port": 9094, "type": "NodePort" });
    fake.create(stage::cluster(json!({
        "brokers": 4,
        "rack": { "nodeLabel": "topology.kubernetes.io/zone" },
        "listeners": [inside, outside],
        "storage": storage("10Gi"),
    })));
    fake.create(stage::topic("a", json!({ "config": { "min.insync.replicas": "2" } })));
    pass(60).await;
    edit(fake, "storage", storage("20Gi"));
    pass(60).await;
    edit(fake, "listeners", json!([inside]));
    pass(240).await;
    edit(fake, "brokers", 3);
    pass(120).await;
    // What is said again is one event with a count.
    for _ in 0..2 {
        stage.model().with(|state| {
            let drift = |topic: &mut Topic| {
                topic.settings.insert("min.insync.replicas".to_owned(), "1".to_owned());
                "User:ann".clone_into(&mut topic.author);
            };
            state.change_topic("a", drift);
        });
        pass(30).await;
    }
    fake.delete("topics", "default", "a");
    pass(30).await;
    fake.delete("clusters", "default", "orders");
    pass(60).await;
    // Whether its cluster is there is asked before a topic is let go.
    fake.create(stage::topic("b", json!({})));
    fake.edit("topics", "default", "b", "/metadata/finalizers", json!(["ottla.dev/topic"]))
        .unwrap();
    fake.delete("topics", "default", "b");
    pass(30).await;
}

/// An operator that has won its Lease before: it renews that, and acts.
async fn operate(stage: &Stage, connection: Connection) {
    let clock = Clock::system();
    let progress = Arc::new(Progress::new(clock));
    let health = Arc::new(Health::new(clock, progress));
    let metrics = Arc::new(Metrics::new().unwrap());
    let leases: Api<Lease> = Api::namespaced(connection.client(), "default");
    let election = Election::new(leases, ("ottla-operator", HELD), clock, health, metrics);
    tokio::join!(election.run(CancellationToken::new()), stage.operate(connection));
}

/// Goes on the tour with these rights, as far as nothing is refused.
fn go(rights: &Rights) -> End {
    let stage = Stage::new(stage::controllers);
    let scenario = Scenario {
        world: || {
            let fake = stage.world();
            fake.restrict("first", rights.clone());
            fake
        },
        operator: async |connection| operate(&stage, connection).await,
        user: async |fake: Fake| {
            tokio::select! {
                () = tour(&stage, &fake) => {}
                () = refused(&fake) => {}
            }
        },
        before: Duration::ZERO,
        quiet: Duration::from_secs(1),
        ignored: &[],
    };
    scenario.run(None)
}

/// Returns once a call was refused for want of a right, and tried again or left.
async fn refused(fake: &Fake) {
    loop {
        pass(1).await;
        if fake.has_forbidden() {
            return;
        }
    }
}

/// Nothing is lacking, and nothing is given that is not asked for.
#[test]
fn the_chart_gives_what_is_asked_for_and_no_more() {
    let rights = Rights::of_chart();
    let end = go(&rights);
    assert!(!end.fake.has_forbidden());
    assert!(end.fake.get("clusters", "default", "orders").is_none(), "the tour went to its end");
    let calls = end.fake.calls();
    let difference = rights.difference(calls.iter().filter(|call| call.resource != "brokers"));
    assert!(difference.is_empty(), "{}", difference.join("\n"));
}

/// Each right that is taken away is missed: a call is refused.
#[test]
fn every_right_is_missed_once_it_is_taken_away() {
    let all = Rights::of_chart();
    let seen: Vec<&Right> = all.seen().collect();
    on_threads(|number| {
        let Some(right) = seen.get(number as usize - 1) else { return false };
        let end = go(&all.clone().without(right));
        assert!(end.fake.has_forbidden(), "nobody misses {right}");
        true
    });
}
