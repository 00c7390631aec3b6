//! What others do to brokers: all of it is healed without a hand.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::kubernetes::ottla::observe::Pod;
use e2e::scrape;

use super::rolls::PLAIN;
use super::{NAMESPACE, SECONDS, Scene};

pub(crate) fn a_deleted_pod(scene: &Scene) -> Result<()> {
    let before = scene.uid("pod/orders-1-0")?;
    scene.kubectl(&["delete", "pod", "-n", NAMESPACE, "orders-1-0", "--wait=false"])?;
    another_broker(scene, 1, &before)
}

/// Waits until a broker runs in another pod, and the cluster is settled.
fn another_broker(scene: &Scene, id: u8, before: &str) -> Result<()> {
    let name = format!("orders-{id}-0");
    scene.ottla.kubernetes.wait(&format!("another {name}"), SECONDS, || {
        let brokers = scene.brokers()?;
        let pod = brokers.get(&name).with_context(|| format!("there is no {name}"))?;
        Ok((pod.uid != before && pod.ready).then_some(()))
    })?;
    scene.settled()
}

/// By nothing but `kubectl drain`; the load stays where it is.
pub(crate) fn each_node_is_drained(scene: &Scene) -> Result<()> {
    for node in scene.ottla.kubernetes.numbers() {
        let node = format!("node-{node}");
        let selector = "--pod-selector=ottla.dev/cluster";
        let drain = ["drain", &node, selector, "--delete-emptydir-data", "--timeout=150s"];
        scene.kubectl(&drain)?;
        scene.kubectl(&["uncordon", &node])?;
        scene.settled()?;
    }
    Ok(())
}

pub(crate) fn deleted_objects_are_made_anew(scene: &Scene) -> Result<()> {
    let objects = [
        "statefulset/orders-2",
        "service/orders-brokers",
        "service/orders",
        "configmap/orders-1",
        "pdb/orders-brokers",
        "serviceaccount/orders-brokers",
        "networkpolicy/orders-brokers",
    ];
    for object in objects {
        let before = scene.uid(object)?;
        let how = ["--cascade=foreground", "--wait=false"];
        scene.kubectl(&[&["delete", object, "-n", NAMESPACE], &how[..]].concat())?;
        scene.ottla.kubernetes.wait(&format!("another {object}"), SECONDS, || {
            Ok((scene.uid(object)? != before).then_some(()))
        })?;
        scene.settled()?;
    }
    Ok(())
}

/// What has its only replica there is moved away first, as its owner would: nobody else has it.
const ELSEWHERE: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Topic
metadata: { name: single, namespace: shop }
spec: { cluster: orders, partitions: 3, replicas: 1, assignment: [[1], [2], [1]] }
";

/// The claim goes with its volume; the broker comes back with nothing, follows, and leads once it has everything.
pub(crate) fn a_lost_volume(scene: &Scene) -> Result<()> {
    scene.ottla.kubernetes.apply(ELSEWHERE)?;
    scene.ottla.is_settled(NAMESPACE, "topic/single", SECONDS)?;
    let (pod, claim) = (scene.uid("pod/orders-0-0")?, scene.uid("pvc/data-orders-0-0")?);
    scene.kubectl(&["delete", "pvc", "-n", NAMESPACE, "data-orders-0-0", "--wait=false"])?;
    scene.kubectl(&["delete", "pod", "-n", NAMESPACE, "orders-0-0", "--wait=false"])?;
    another_broker(scene, 0, &pod)?;
    ensure!(scene.uid("pvc/data-orders-0-0")? != claim, "the claim is the same");
    Ok(())
}

/// One that hangs in the middle of a roll, for longer than its Lease, writes nothing when it goes on: another has done
/// what was to be done, and something else after it.
pub(crate) fn a_stale_operator_changes_nothing(scene: &Scene) -> Result<()> {
    let this = e2e::kubernetes::ottla::builds::this()?;
    scene.ottla.install(&this, 2)?;
    scene.ottla.kubernetes.wait("two operators", SECONDS, || {
        let pods = scene.ottla.pods(&scene.operator.namespace, &scene.operator.labels)?;
        Ok((pods.iter().filter(|pod| pod.ready).count() == 2).then_some(()))
    })?;
    let before = scene.brokers()?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"7\" }}"))?;
    scene.begun(&before, 1)?;
    let stale = scene.ottla.leader(&scene.operator)?;
    let process = process_of(&stale.uid)?;
    signal(process, "-STOP")?;
    let changed = changed_by_another(scene, &stale, &before);
    let there = changed.and_then(|()| generations(scene));
    signal(process, "-CONT")?;
    let there = there?;
    scene.ottla.kubernetes.wait("the stale operator to know it", 60, || {
        let page = scene.ottla.page(&stale, 8080, "/metrics")?;
        Ok((scrape::value(&page, "ottla_operator_leader", &[])? < 0.5).then_some(()))
    })?;
    let brokers = scene.brokers()?;
    scene.settled()?;
    scene.are_the_same_as(&brokers)?;
    let now = generations(scene)?;
    ensure!(now == there, "the stale operator has written: {there:#?}, then {now:#?}");
    ensure!(scene.ottla.leader(&scene.operator)?.uid != stale.uid, "the stale operator leads");
    scene.ottla.install(&this, 1).map(drop)
}

/// Has another operator end the roll, and set a dynamic setting.
fn changed_by_another(scene: &Scene, stale: &Pod, before: &BTreeMap<String, Pod>) -> Result<()> {
    let path = "jsonpath={.spec.holderIdentity}";
    let lease = ["get", "lease", "-n", &scene.operator.namespace, "ottla-operator", "-o", path];
    scene.ottla.kubernetes.wait("another to lead", 60, || {
        Ok((!scene.kubectl(&lease)?.starts_with(&stale.name)).then_some(()))
    })?;
    scene.settled_after_a_roll(before, &[])?;
    scene.spec(&format!(
        "{PLAIN}\nconfig: {{ num.partitions: \"7\", log.cleaner.threads: \"2\" }}"
    ))?;
    scene.settled()
}

/// What tells whether objects of the cluster were written: their spec, or who they are.
fn generations(scene: &Scene) -> Result<BTreeMap<String, String>> {
    let kinds = "clusters.ottla.dev,topics.ottla.dev,statefulsets,services,pdb,networkpolicies,configmaps,pods";
    let path = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}/{.metadata.generation}/\
                {.metadata.annotations}{.data}{\"\\n\"}{end}";
    let all = scene.kubectl(&["get", kinds, "-n", NAMESPACE, "-o", path])?;
    let lines = all.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.map(|(name, is)| (name.to_owned(), is.to_owned())).collect())
}

/// The operator's process in a pod, as this machine numbers it.
fn process_of(uid: &str) -> Result<u32> {
    for entry in std::fs::read_dir("/proc").context("list processes")? {
        let path = entry?.path();
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        if read("comm").trim() == "ottla-operator" && read("cgroup").contains(uid) {
            let name = path.file_name().context("a process")?.to_string_lossy().into_owned();
            return name.parse().context("the id of a process");
        }
    }
    anyhow::bail!("no process of pod {uid} runs")
}

fn signal(process: u32, signal: &str) -> Result<()> {
    let status = Command::new("kill").args([signal, &process.to_string()]).status()?;
    ensure!(status.success(), "kill {signal} {process} ended with {status}");
    Ok(())
}
