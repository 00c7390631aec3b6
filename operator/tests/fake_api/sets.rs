//! Stateful sets: order, revisions, both strategies, claims, adoption.

use serde_json::{Value, json};

use super::objects::{container, stateful_set};
use super::support::fake::Fake;
use super::support::fake::deletion::{Deletion, Propagation};
use super::support::fake::json::text;
use super::support::fake::world::PodIs;

fn set(fake: &Fake) -> Value {
    fake.get("statefulsets", "default", "broker").unwrap()
}

/// Returns the names of the pods, each with a mark where it is ready.
fn pods(fake: &Fake) -> Vec<String> {
    let show = |pod: Value| {
        let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        format!("{}{}", text(&pod, "/metadata/name"), if ready { "+" } else { "" })
    };
    fake.list("pods", "default").into_iter().map(show).collect()
}

/// Returns the revision of each pod.
fn revisions(fake: &Fake) -> Vec<String> {
    let label = "/metadata/labels/controller-revision-hash";
    fake.list("pods", "default").iter().map(|pod| text(pod, label).to_owned()).collect()
}

fn change_image(fake: &Fake, tag: &str) {
    let path = "/spec/template/spec/containers";
    fake.edit("statefulsets", "default", "broker", path, json!([container(tag)])).unwrap();
}

/// Pods start one after the other, or all at once. A row is (management, pods while the first is not ready).
#[tokio::test(start_paused = true)]
async fn pods_start_as_the_management_says() {
    let cases: [(&str, &[&str]); 2] =
        [("OrderedReady", &["broker-0"]), ("Parallel", &["broker-0", "broker-1+", "broker-2+"])];
    for (management, expected) in cases {
        let fake = Fake::new();
        fake.pods(|pod| {
            let is_first = text(pod, "/metadata/name") == "broker-0";
            if is_first { PodIs::Running } else { PodIs::Ready }
        });
        fake.create(stateful_set(3, "OnDelete", management));
        fake.settle();
        assert_eq!(pods(&fake), expected, "{management}");
        fake.pods(|_| PodIs::Ready);
        fake.settle();
        assert_eq!(pods(&fake), ["broker-0+", "broker-1+", "broker-2+"], "{management}");
        let status = &set(&fake)["status"];
        assert_eq!(status["readyReplicas"], 3);
        assert_eq!(status["observedGeneration"], 1);
        assert_eq!(status["currentRevision"], status["updateRevision"]);
        let nodes: std::collections::BTreeSet<_> = fake
            .list("pods", "default")
            .iter()
            .map(|pod| text(pod, "/spec/nodeName").to_owned())
            .collect();
        assert_eq!(nodes.len(), 3, "spread");
    }
}

/// With `OnDelete` a changed template reaches a pod once that is deleted; the current revision stays what it was.
#[tokio::test(start_paused = true)]
async fn on_delete_rolls_nothing_by_itself() {
    let fake = Fake::new();
    fake.create(stateful_set(2, "OnDelete", "Parallel"));
    fake.settle();
    let old = revisions(&fake)[0].clone();
    change_image(&fake, "2");
    fake.settle();
    assert_eq!(revisions(&fake), [old.clone(), old.clone()]);
    let status = set(&fake)["status"].clone();
    assert!(status.get("updatedReplicas").is_none(), "zero is left out");
    let new = status["updateRevision"].as_str().unwrap().to_owned();
    for (pod, expected) in [("broker-1", [&old, &new]), ("broker-0", [&new, &new])] {
        fake.delete("pods", "default", pod);
        fake.settle();
        assert_eq!(revisions(&fake).iter().collect::<Vec<_>>(), expected);
    }
    let status = set(&fake)["status"].clone();
    assert_eq!((&status["updatedReplicas"], &status["readyReplicas"]), (&json!(2), &json!(2)));
    assert_eq!(status["currentRevision"], old, "only a rolling update completes it");
    // Back to the first template: its revision is used again.
    change_image(&fake, "1");
    fake.settle();
    assert_eq!(set(&fake)["status"]["updateRevision"], old);
    assert_eq!(fake.list("controllerrevisions", "default").len(), 2);
}

/// A rolling update goes from the last pod to the partition, and waits for a pod that is not ready.
#[tokio::test(start_paused = true)]
async fn a_rolling_update_goes_down_to_the_partition() {
    let fake = Fake::new();
    let mut object = stateful_set(3, "RollingUpdate", "OrderedReady");
    object["spec"]["updateStrategy"]["rollingUpdate"] = json!({ "partition": 1 });
    fake.create(object);
    fake.settle();
    let old = revisions(&fake)[0].clone();
    fake.pods(|pod| {
        let image = text(pod, "/spec/containers/0/image");
        if image.ends_with(":2") { PodIs::Running } else { PodIs::Ready }
    });
    change_image(&fake, "2");
    fake.settle();
    assert_eq!(pods(&fake), ["broker-0+", "broker-1+", "broker-2"], "it waits");
    fake.pods(|_| PodIs::Ready);
    fake.settle();
    let new = set(&fake)["status"]["updateRevision"].as_str().unwrap().to_owned();
    assert_eq!(revisions(&fake), [old, new.clone(), new.clone()]);
    let path = "/spec/updateStrategy/rollingUpdate/partition";
    fake.edit("statefulsets", "default", "broker", path, 0).unwrap();
    fake.settle();
    assert_eq!(revisions(&fake), [new.clone(), new.clone(), new.clone()]);
    assert_eq!(set(&fake)["status"]["currentRevision"], new);
}

/// Scaling down takes the last pods and leaves their claims; scaling up finds them again.
#[tokio::test(start_paused = true)]
async fn claims_outlive_their_pods() {
    let fake = Fake::new();
    fake.create(stateful_set(3, "OnDelete", "Parallel"));
    fake.settle();
    let claim = |fake: &Fake| fake.get("persistentvolumeclaims", "default", "data-broker-2");
    let uid = claim(&fake).unwrap()["metadata"]["uid"].clone();
    fake.edit("statefulsets", "default", "broker", "/spec/replicas", 2).unwrap();
    fake.settle();
    assert_eq!(pods(&fake), ["broker-0+", "broker-1+"]);
    fake.edit("statefulsets", "default", "broker", "/spec/replicas", 3).unwrap();
    fake.settle();
    assert_eq!(claim(&fake).unwrap()["metadata"]["uid"], uid);
    // A claim in use waits for its pod, and a new pod for a new claim.
    assert!(fake.delete("persistentvolumeclaims", "default", "data-broker-2").is_some());
    fake.settle();
    assert_eq!(claim(&fake).unwrap()["metadata"]["uid"], uid);
    fake.delete("pods", "default", "broker-2");
    fake.settle();
    assert_ne!(claim(&fake).unwrap()["metadata"]["uid"], uid);
    assert_eq!(fake.list("persistentvolumes", "").len(), 3, "the old volume went with its claim");
}

/// A claim grows with its request where the class allows it, and never shrinks.
#[tokio::test(start_paused = true)]
async fn volumes_grow_in_place() {
    let fake = Fake::new();
    fake.create(stateful_set(1, "OnDelete", "Parallel"));
    fake.settle();
    let path = "/spec/resources/requests/storage";
    let ask = |size: &str| {
        fake.edit("persistentvolumeclaims", "default", "data-broker-0", path, size).map(drop)
    };
    fake.set_volumes_grow(false);
    ask("2Gi").unwrap();
    fake.settle();
    let claim = fake.get("persistentvolumeclaims", "default", "data-broker-0").unwrap();
    assert_eq!(claim["status"]["capacity"]["storage"], "1Gi", "not yet");
    fake.set_volumes_grow(true);
    fake.settle();
    let claim = fake.get("persistentvolumeclaims", "default", "data-broker-0").unwrap();
    assert_eq!(claim["status"]["capacity"]["storage"], "2Gi");
    assert_eq!(ask("1Gi").unwrap_err().code, 422);
    fake.edit("storageclasses", "", "standard", "/allowVolumeExpansion", false).unwrap();
    assert_eq!(ask("3Gi").unwrap_err().code, 403);
    let path = "/spec/volumeClaimTemplates";
    let refused = fake.edit("statefulsets", "default", "broker", path, json!([]));
    assert_eq!(refused.unwrap_err().code, 422, "templates of claims are fixed");
}

/// A set that is deleted as an orphan leaves its pods running; one of the same name takes them over.
#[tokio::test(start_paused = true)]
async fn a_new_set_adopts_the_pods_of_the_old() {
    let fake = Fake::new();
    fake.create(stateful_set(2, "OnDelete", "Parallel"));
    fake.settle();
    let uids = |fake: &Fake| -> Vec<Value> {
        let pods = fake.list("pods", "default");
        pods.into_iter().map(|pod| pod["metadata"]["uid"].clone()).collect()
    };
    let before = uids(&fake);
    let how = Deletion { propagation: Propagation::Orphan, ..Deletion::default() };
    fake.delete_with("statefulsets", "default", "broker", &how);
    fake.settle();
    assert!(fake.get("statefulsets", "default", "broker").is_none());
    fake.create(stateful_set(2, "OnDelete", "Parallel"));
    fake.settle();
    assert_eq!(uids(&fake), before);
    assert_eq!(set(&fake)["status"]["readyReplicas"], 2);
    fake.delete("statefulsets", "default", "broker");
    fake.settle();
    assert_eq!(fake.list("pods", "default").len(), 0, "in the background");
    assert_eq!(fake.list("persistentvolumeclaims", "default").len(), 2);
}

/// A pod that crashes, waits for an image or finds no node says so; a pod that will not end does so after its grace.
#[tokio::test(start_paused = true)]
async fn pods_are_what_the_test_says() {
    let fake = Fake::new();
    let cases = [
        (PodIs::Waiting("CrashLoopBackOff"), "Running"),
        (PodIs::Failed, "Failed"),
        (PodIs::Waiting("ImagePullBackOff"), "Pending"),
    ];
    for (pod_is, phase) in cases {
        let fake = Fake::new();
        let said = pod_is.clone();
        fake.pods(move |_| said.clone());
        fake.create(stateful_set(1, "OnDelete", "Parallel"));
        // A failed pod is replaced for ever, so it is not waited for.
        for _ in 0..4 {
            fake.step();
        }
        let pod = fake.get("pods", "default", "broker-0");
        let is_replaced = pod.is_none() && pod_is == PodIs::Failed;
        assert!(is_replaced || pod.unwrap()["status"]["phase"] == phase, "{pod_is:?}");
    }
    fake.pods(|_| PodIs::Unschedulable("0/3 nodes are available"));
    fake.create(stateful_set(1, "OnDelete", "Parallel"));
    fake.settle();
    let pod = fake.get("pods", "default", "broker-0").unwrap();
    assert_eq!(pod["status"]["conditions"][0]["reason"], "Unschedulable");
    fake.pods(|_| PodIs::Ready);
    fake.ends(|_| false);
    fake.settle();
    let uid = fake.get("pods", "default", "broker-0").unwrap()["metadata"]["uid"].clone();
    assert!(fake.delete("pods", "default", "broker-0").is_some());
    fake.settle();
    let pod = |fake: &Fake| fake.get("pods", "default", "broker-0").unwrap();
    assert_eq!(pod(&fake)["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(pod(&fake)["metadata"]["uid"], uid);
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    fake.settle();
    assert_ne!(pod(&fake)["metadata"]["uid"], uid, "the set made another");
}
