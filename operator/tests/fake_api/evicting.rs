//! Evictions, as far as disruption budgets allow them; nodes that are lost or closed.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::EvictParams;

use super::objects::{budget, code, stateful_set};
use super::support::fake::Fake;
use super::support::fake::world::PodIs;

fn allowed(fake: &Fake) -> i64 {
    let budget = fake.get("poddisruptionbudgets", "default", "brokers").unwrap();
    budget["status"]["disruptionsAllowed"].as_i64().unwrap()
}

/// One pod may go; a second one only once the first is back; none at a budget of zero.
#[tokio::test(start_paused = true)]
async fn a_budget_refuses_the_second_eviction() {
    let fake = Fake::new();
    fake.create(stateful_set(3, "OnDelete", "Parallel"));
    fake.create(budget(1));
    let pods: Api<Pod> = Api::namespaced(fake.connect("drain").client(), "default");
    let params = EvictParams::default();
    // Not yet counted: the budget refuses rather than guess, but a pod that is not there is not found.
    assert_eq!(code(pods.evict("broker-9", &params).await), 404);
    fake.settle();
    assert_eq!(allowed(&fake), 1);
    pods.evict("broker-0", &params).await.unwrap();
    assert_eq!(code(pods.evict("broker-1", &params).await), 429);
    fake.pods(|_| PodIs::Running);
    fake.step();
    assert_eq!(code(pods.evict("broker-1", &params).await), 429);
    fake.pods(|_| PodIs::Ready);
    fake.settle();
    assert_eq!(allowed(&fake), 1);
    fake.edit("poddisruptionbudgets", "default", "brokers", "/spec/maxUnavailable", 0).unwrap();
    assert_eq!(code(pods.evict("broker-1", &params).await), 429, "it was changed and not counted");
    fake.settle();
    assert_eq!(code(pods.evict("broker-1", &params).await), 429);
    assert!(fake.delete("pods", "default", "broker-1").is_some(), "a deletion asks no budget");
}

/// Pods of a lost node are unready and stay; a closed node takes none.
#[tokio::test(start_paused = true)]
async fn a_lost_node_keeps_its_pods() {
    let fake = Fake::new();
    fake.create(stateful_set(3, "OnDelete", "Parallel"));
    fake.create(budget(1));
    fake.settle();
    let node = |name: &str| {
        let pod = fake.get("pods", "default", name).unwrap();
        pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
    };
    let lost = node("broker-1");
    fake.set_node(&lost, false);
    fake.settle();
    assert_eq!(allowed(&fake), 0);
    fake.delete("pods", "default", "broker-1");
    fake.settle();
    assert_eq!(node("broker-1"), lost, "nobody there ends it");
    fake.set_node(&lost, true);
    fake.edit("nodes", "", &lost, "/spec/unschedulable", true).unwrap();
    fake.settle();
    assert_ne!(node("broker-1"), lost);
    assert_eq!(allowed(&fake), 1);
}
