//! Restarts that were asked for, and those that nobody asked for.

use anyhow::{Result, ensure};
use e2e::chart::dashboard::Dashboard;
use e2e::kubernetes::ottla::builds;
use serde_json::Value;

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
    scene.settled_after_a_roll(&before, &[])?;
    let after = scene.brokers()?;
    // The same again is nothing to do.
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"3\" }}"))?;
    scene.settled()?;
    scene.are_the_same_as(&after)
}

/// What the second says is what brokers end with; whoever had begun may have another restart, the others have one.
pub(crate) fn a_second_edit_in_mid_roll(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"4\" }}"))?;
    let begun = scene.begun(&before, 1)?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"5\" }}"))?;
    let twice: Vec<_> = begun.iter().map(|name| (name.as_str(), 2)).collect();
    scene.settled_after_a_roll(&before, &twice)?;
    let config = ["get", "configmap", "-n", NAMESPACE, "-l", "ottla.dev/broker", "-o", "yaml"];
    let config = scene.kubectl(&config)?;
    let count = config.matches("num.partitions=5").count();
    ensure!(count >= before.len() && !config.contains("num.partitions=4"), "{config}");
    Ok(())
}

/// Killed at each of three brokers, at whatever it is doing: each of them still has one restart.
pub(crate) fn an_operator_that_dies_in_mid_roll(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"6\" }}"))?;
    for count in 1..=before.len() {
        scene.begun(&before, count)?;
        scene.ottla.kill(&scene.operator)?;
        scene.ottla.operator_is_ready(&scene.operator)?;
    }
    scene.settled_after_a_roll(&before, &[])
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

pub(crate) fn what_brokers_do_not_know_is_refused(scene: &Scene) -> Result<()> {
    scene.spec(PLAIN)?;
    scene.settled()?;
    let before = scene.brokers()?;
    for (key, value) in [("no.such.key", "1"), ("num.partitions", "many")] {
        scene.spec(&format!("{PLAIN}\nconfig: {{ {key}: \"{value}\" }}"))?;
        scene.ottla.wait_for(NAMESPACE, OBJECT, &format!("it names {key}"), SECONDS, |object| {
            let status = object["status"].to_string();
            Ok((status.contains(key) && status.contains("InvalidSpec")).then_some(()))
        })?;
    }
    scene.spec(PLAIN)?;
    scene.settled()?;
    scene.are_the_same_as(&before)
}

/// No pod is restarted for it. What a storage driver does is done by the test: see [`Kubernetes::grow_claims`].
///
/// [`Kubernetes::grow_claims`]: e2e::kubernetes::Kubernetes::grow_claims
pub(crate) fn volumes_grow_in_place(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.gibibytes.set(2);
    scene.spec(PLAIN)?;
    let sizes = |path: &str| -> Result<Vec<String>> {
        let claims = scene.ottla.kubernetes.get(&["pvc", "-n", NAMESPACE])?;
        let of_brokers = claims["items"].as_array().into_iter().flatten().filter(|claim| {
            claim["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("data-orders-") && !name.contains("zookeeper"))
        });
        let size = |claim: &Value| claim.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Ok(of_brokers.filter_map(size).collect())
    };
    scene.ottla.kubernetes.wait("claims to ask for more", SECONDS, || {
        Ok((sizes("/spec/resources/requests/storage")? == ["2Gi"; 3]).then_some(()))
    })?;
    scene.ottla.kubernetes.grow_claims(NAMESPACE)?;
    scene.settled()?;
    ensure!(sizes("/status/capacity/storage")? == ["2Gi"; 3], "they have not grown");
    scene.are_the_same_as(&before)
}

/// Prometheus has found brokers and operator by their annotations, and answers every panel of every dashboard. Some
/// are of consumer groups: there is one.
pub(crate) fn every_panel_has_data(scene: &Scene) -> Result<()> {
    let asked: Vec<String> = Dashboard::all()?.iter().flat_map(Dashboard::expressions).collect();
    scene.ottla.tools(NAMESPACE)?;
    let group = "kcat -b orders:9092 -G readers -q events >/dev/null 2>&1 &";
    scene.ottla.sh(NAMESPACE, group)?;
    scene.ottla.have_data(asked)?;
    scene.kubectl(&["delete", "pod", "-n", NAMESPACE, "tools"]).map(drop)
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
