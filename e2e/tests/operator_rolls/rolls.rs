//! Restarts that were asked for, and those that nobody asked for.

use anyhow::{Result, ensure};
use e2e::chart::dashboard::Dashboard;
use e2e::kubernetes::ottla::builds;

use super::{NAMESPACE, OBJECT, SECONDS, Scene};

/// The spec that the others change.
pub(crate) const PLAIN: &str = "version: VERSION";

pub(crate) fn a_dynamic_setting_restarts_nobody(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    for value in ["2", "1"] {
        scene.spec(&format!("{PLAIN}\nconfig: {{ log.cleaner.threads: \"{value}\" }}"))?;
        scene.settled()?;
    }
    scene.are_the_same_as(&before)
}

pub(crate) fn a_static_setting_restarts_each_once(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"3\" }}"))?;
    scene.settled_with_others_than(&before)?;
    let after = scene.brokers()?;
    // The same again is nothing to do.
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"3\" }}"))?;
    scene.settled()?;
    scene.are_the_same_as(&after)
}

/// What the second says is what brokers end with, and whoever had not begun has one restart.
pub(crate) fn a_second_edit_in_mid_roll(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"4\" }}"))?;
    begun(scene, &before)?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"5\" }}"))?;
    scene.settled_with_others_than(&before)?;
    let config = ["get", "configmap", "-n", NAMESPACE, "orders-config", "-o", "yaml"];
    let config = scene.kubectl(&config)?;
    ensure!(config.contains("num.partitions=5"), "{config}");
    Ok(())
}

/// Waits until the first broker is away.
pub(crate) fn begun(
    scene: &Scene,
    before: &std::collections::BTreeMap<String, e2e::kubernetes::ottla::observe::Pod>,
) -> Result<()> {
    scene.ottla.wait_for(NAMESPACE, OBJECT, "the first restart", SECONDS, |_| {
        let now = scene.brokers()?;
        let is_same = |name: &String| {
            let (old, new) = (before.get(name), now.get(name));
            old.map(|pod| &pod.uid) == new.map(|pod| &pod.uid)
                && new.is_some_and(|pod| !pod.leaving)
        };
        Ok((!before.keys().all(is_same)).then_some(()))
    })
}

/// Killed three times at whatever it is doing: each broker still has one restart.
pub(crate) fn an_operator_that_dies_in_mid_roll(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"6\" }}"))?;
    let (namespace, labels) = (&scene.operator.namespace, &scene.operator.labels);
    for _ in 0..3 {
        begun(scene, &before)?;
        let kill = ["delete", "pod", "-n", namespace, "-l", labels, "--grace-period=0", "--force"];
        scene.kubectl(&kill)?;
        scene.ottla.operator_is_ready(&scene.operator)?;
    }
    scene.settled_with_others_than(&before)
}

/// The next operator, then this one again.
pub(crate) fn another_operator_restarts_nobody(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    for build in [builds::next()?, builds::this()?] {
        scene.ottla.install(&build, 1)?;
        scene.ottla.kubernetes.wait("the other operator to lead", SECONDS, || {
            let leader = scene.ottla.leader(&scene.operator)?;
            Ok((leader.image == build.image()).then_some(()))
        })?;
        scene.settled()?;
        scene.are_the_same_as(&before)?;
    }
    Ok(())
}

/// Prometheus has found brokers and operator by their annotations, and answers every panel of every dashboard.
pub(crate) fn every_panel_has_data(scene: &Scene) -> Result<()> {
    let asked: Vec<String> = Dashboard::all()?.iter().flat_map(Dashboard::expressions).collect();
    scene.monitoring.prometheus.wait_for_data(asked, || Ok(()))
}

/// Neither permits nor cordons nor words of a roll.
pub(crate) fn nothing_is_left(scene: &Scene) -> Result<()> {
    scene.spec(PLAIN)?;
    scene.settled()?;
    let object = scene.ottla.kubernetes.get(&[OBJECT, "-n", NAMESPACE])?;
    ensure!(object["status"]["roll"].is_null(), "{}", object["status"]);
    let budget = scene.ottla.kubernetes.get(&["pdb", "-n", NAMESPACE, "orders-brokers"])?;
    ensure!(budget["spec"]["maxUnavailable"] == 1, "{}", budget["spec"]);
    Ok(())
}
