//! Other releases, and pods that never come up.

use anyhow::{Result, ensure};
use e2e::kubernetes::ottla::builds;

use super::rolls::PLAIN;
use super::{CLUSTER, NAMESPACE, OBJECT, SECONDS, Scene};

pub(crate) fn an_upgrade_and_a_downgrade(scene: &Scene) -> Result<()> {
    for version in [builds::NEXT, builds::THIS] {
        let before = scene.brokers()?;
        scene.spec(&format!("version: {version}"))?;
        scene.settled_after_a_roll(&before, &[])?;
        let object = scene.ottla.kubernetes.get(&[OBJECT, "-n", NAMESPACE])?;
        ensure!(object["status"]["version"] == version, "{}", object["status"]);
        let image = format!("{}:{version}", builds::IMAGE);
        ensure!(scene.brokers()?.values().all(|pod| pod.image == image));
    }
    Ok(())
}

/// Waits until one broker is not ready for a reason that the status names, and sees that the others serve.
fn one_is_stuck(scene: &Scene, words: &str) -> Result<()> {
    scene.ottla.wait_for(NAMESPACE, OBJECT, &format!("it says {words}"), SECONDS, |object| {
        let status = object["status"].to_string();
        Ok(status.contains(words).then_some(()))
    })?;
    let pods = scene.ottla.brokers(NAMESPACE, CLUSTER)?;
    ensure!(pods.iter().filter(|pod| pod.ready).count() == 2, "more than one is away: {pods:?}");
    Ok(())
}

pub(crate) fn an_image_that_is_not_there(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.spec("image: localhost/ottla:missing")?;
    let begun = scene.begun(&before, 1)?;
    one_is_stuck(scene, "Image")?;
    // It is mended without a hand on the pod.
    scene.spec(PLAIN)?;
    scene.settled()?;
    for (name, count) in scene.restarts_since(&before)? {
        let expected = if begun.contains(&name) { 2 } else { 0 };
        ensure!(count == expected, "{name} was restarted {count} times, not {expected}");
    }
    Ok(())
}

pub(crate) fn resources_that_no_node_has(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.spec(&format!("{PLAIN}\nresources: {{ requests: {{ cpu: 900 }} }}"))?;
    let begun = scene.begun(&before, 1)?;
    one_is_stuck(scene, "nsufficient cpu")?;
    scene.spec(&format!("{PLAIN}\nresources: {{ requests: {{ cpu: 10m }} }}"))?;
    let twice: Vec<_> = begun.iter().map(|name| (name.as_str(), 2)).collect();
    scene.settled_after_a_roll(&before, &twice)
}

/// No ZooKeeper is found in a millisecond: the process says so and ends, each time.
pub(crate) fn a_broker_that_ends_again_and_again(scene: &Scene) -> Result<()> {
    let before = scene.brokers()?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ zookeeper.connection.timeout.ms: \"1\" }}"))?;
    let begun = scene.begun(&before, 1)?;
    one_is_stuck(scene, "CrashLoopBackOff")?;
    scene.spec(&format!("{PLAIN}\nconfig: {{ num.partitions: \"8\" }}"))?;
    let twice: Vec<_> = begun.iter().map(|name| (name.as_str(), 2)).collect();
    scene.settled_after_a_roll(&before, &twice)
}
