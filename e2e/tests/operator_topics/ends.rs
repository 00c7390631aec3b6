//! How topics, clusters and namespaces end: always, and with what was asked to stay left alone.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::{NAMESPACE, Scene, start};

pub(crate) fn policies_are_kept(scene: &Scene) -> Result<()> {
    scene.topic("retained", "{ cluster: orders, replicas: 2, deletionPolicy: Retain }")?;
    scene.topic("guarded", "{ cluster: orders, replicas: 2, deletionPolicy: Protect }")?;
    scene.topic("fleeting", "{ cluster: orders, replicas: 2 }")?;
    for name in ["retained", "guarded", "fleeting"] {
        scene.settled(name)?;
    }
    scene.delete("retained")?;
    scene.delete("fleeting")?;
    let delete = ["delete", "topic", "-n", NAMESPACE, "guarded", "--wait=false"];
    scene.ottla.kubernetes.kubectl(&delete)?;
    scene.ottla.wait_for(NAMESPACE, "topic/guarded", "protected", 60, |object| {
        let said = object["status"]["conditions"].to_string();
        Ok(said.contains("Protected").then_some(()))
    })?;
    gone(scene, "fleeting")?;
    for name in ["retained", "guarded"] {
        ensure!(scene.partitions(name)?.len() == 1, "{name} is gone");
    }
    scene.topic("guarded", "{ cluster: orders, replicas: 2, deletionPolicy: Delete }")?;
    scene.ottla.kubernetes.kubectl_within(
        90,
        &["wait", "--for=delete", "-n", NAMESPACE, "topic/guarded", "--timeout=60s"],
        "",
    )?;
    gone(scene, "guarded")
}

/// Waits until brokers know a topic no more.
fn gone(scene: &Scene, topic: &str) -> Result<()> {
    scene.ottla.kubernetes.wait(&format!("{topic} to be gone"), 60, || {
        Ok((!scene.kcat("-L")?.contains(&format!("topic \"{topic}\""))).then_some(()))
    })
}

/// Nobody answers: the object goes at once, and the topic once somebody does.
pub(crate) fn deleted_while_the_cluster_is_down(scene: &Scene) -> Result<()> {
    scene.topic("left", "{ cluster: orders, replicas: 3 }")?;
    scene.settled("left")?;
    let kubernetes = &scene.ottla.kubernetes;
    for node in kubernetes.numbers() {
        kubernetes.kubectl(&["cordon", &format!("node-{node}")])?;
    }
    let labels = format!("ottla.dev/cluster={},app.kubernetes.io/component=broker", start::CLUSTER);
    let pods = || scene.ottla.brokers(NAMESPACE, start::CLUSTER);
    let before: BTreeSet<String> = pods()?.into_iter().map(|pod| pod.uid).collect();
    // kubectl takes a pod that follows for one that it waits for, and waits for ever (kubernetes/kubernetes#135562).
    let how = ["--grace-period=1", "--wait=false"];
    kubernetes.kubectl(&[&["delete", "pod", "-n", NAMESPACE, "-l", &labels], &how[..]].concat())?;
    kubernetes.wait("all brokers to be down", 120, || {
        Ok(pods()?.iter().all(|pod| !before.contains(&pod.uid)).then_some(()))
    })?;
    scene.delete("left")?;
    let tombstones = kubernetes.kubectl(&[
        "get",
        "cluster",
        "-n",
        NAMESPACE,
        start::CLUSTER,
        "-o",
        "jsonpath={.status.tombstones}",
    ])?;
    ensure!(tombstones.contains("left"), "no note of it is left: {tombstones}");
    for node in kubernetes.numbers() {
        kubernetes.kubectl(&["uncordon", &format!("node-{node}")])?;
    }
    scene.ottla.is_settled(NAMESPACE, "cluster/orders", 180)?;
    gone(scene, "left")?;
    scene.ottla.wait_for(NAMESPACE, "cluster/orders", "no note of it", 60, |object| {
        let tombstones = object["status"]["tombstones"].as_array();
        Ok(tombstones.is_none_or(Vec::is_empty).then_some(()))
    })
}

pub(crate) fn a_topic_goes_without_its_cluster(scene: &Scene) -> Result<()> {
    scene.topic("orphan", "{ cluster: nowhere, replicas: 1 }")?;
    scene.ottla.has_reason(NAMESPACE, "topic/orphan", ("Ready", "ClusterNotFound"), 60)?;
    scene.delete("orphan")
}

pub(crate) fn a_deleted_cluster_leaves_its_volumes(scene: &Scene) -> Result<()> {
    let kubernetes = &scene.ottla.kubernetes;
    let delete = ["delete", "cluster", "-n", NAMESPACE, start::CLUSTER, "--timeout=120s"];
    kubernetes.kubectl_within(150, &delete, "")?;
    kubernetes.wait("its pods to be gone", 120, || {
        Ok(scene.ottla.brokers(NAMESPACE, start::CLUSTER)?.is_empty().then_some(()))
    })?;
    let claims = kubernetes.kubectl(&["get", "pvc", "-n", NAMESPACE, "-o", "name"])?;
    ensure!(claims.lines().filter(|line| line.contains("data-orders-")).count() >= 3, "{claims}");
    // Topics of a cluster that is gone wait for one, and go when they are told to.
    scene.ottla.has_reason(NAMESPACE, "topic/events", ("Ready", "ClusterNotFound"), 60)?;
    Ok(())
}

pub(crate) fn a_deleted_namespace_is_gone(scene: &Scene) -> Result<()> {
    let delete = ["delete", "namespace", NAMESPACE, "--timeout=120s"];
    scene.ottla.kubernetes.kubectl_within(150, &delete, "").map(drop)
}
