//! What becomes of topics while their objects are there.

use anyhow::{Context, Result, bail, ensure};
use e2e::cluster::workload::admin;
use e2e::deadline;
use e2e::wire::Connection;

use super::{NAMESPACE, Scene};

/// What the API server says to a change that it refuses.
fn refused(scene: &Scene, name: &str, spec: &str) -> Result<String> {
    match scene.topic(name, spec) {
        Ok(()) => bail!("{name} was accepted: {spec}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

pub(crate) fn a_topic_grows(scene: &Scene) -> Result<()> {
    scene.topic("growing", "{ cluster: orders, partitions: 3, replicas: 2 }")?;
    scene.settled("growing")?;
    let before = scene.partitions("growing")?;
    ensure!(before.len() == 3, "{before:?}");
    scene.topic("growing", "{ cluster: orders, partitions: 7, replicas: 2 }")?;
    scene.settled("growing")?;
    let after = scene.partitions("growing")?;
    ensure!(after.len() == 7 && after[..3] == before, "{before:?}, then {after:?}");
    ensure!(scene.field("growing", ".status.partitions")? == "7");
    let words = refused(scene, "growing", "{ cluster: orders, partitions: 2, replicas: 2 }")?;
    ensure!(words.contains("a topic cannot lose some"), "{words}");
    scene.delete("growing")
}

pub(crate) fn replicas_are_more_and_fewer(scene: &Scene) -> Result<()> {
    scene.topic("copied", "{ cluster: orders, partitions: 4, replicas: 1 }")?;
    scene.settled("copied")?;
    scene.kcat("-P -t copied -p 2 -X acks=all -K: <<E\nk:kept\nE")?;
    for replicas in [3, 2] {
        let spec = format!("{{ cluster: orders, partitions: 4, replicas: {replicas} }}");
        scene.topic("copied", &spec)?;
        scene.settled("copied")?;
        let partitions = scene.partitions("copied")?;
        let have = |line: &&String| {
            let after = line.split("replicas: ").nth(1).unwrap_or_default();
            after.split(", isrs").next().unwrap_or_default().split(',').count() == replicas
        };
        ensure!(partitions.iter().filter(have).count() == 4, "{partitions:?}");
        let read = scene.kcat("-C -t copied -p 2 -o beginning -e -q")?;
        ensure!(read.trim() == "kept", "{read}");
    }
    // Throttles came and went by the operator's own hand.
    let events = scene.ottla.events(NAMESPACE, "Topic", "copied")?;
    ensure!(!events.iter().any(|event| event.starts_with("Drift")), "{events:#?}");
    scene.topic("copied", "{ cluster: orders, partitions: 4, replicas: 5 }")?;
    let object = "topic/copied";
    let words = scene.ottla.has_reason(NAMESPACE, object, ("Ready", "TooFewBrokers"), 60)?;
    ensure!(words.contains("5 replicas"), "{words}");
    scene.delete("copied")
}

/// A setting that another hand changes is put back, and the event says whose hand that was.
pub(crate) fn settings_are_kept(scene: &Scene) -> Result<()> {
    let spec = |value: &str| {
        format!("{{ cluster: orders, replicas: 2, config: {{ retention.ms: \"{value}\" }} }}")
    };
    scene.topic("kept", &spec("86400000"))?;
    scene.settled("kept")?;
    scene.topic("kept", &spec("3600000"))?;
    scene.settled("kept")?;
    let relay = scene.broker()?;
    let mut broker = Connection::open(&relay.address().to_string())?;
    ensure!(admin::setting(&mut broker, "kept", "retention.ms")? == "3600000");
    let code = admin::alter(&mut broker, "kept", "retention.ms", "1000")?;
    ensure!(code == 0, "a broker answered {code}");
    scene.ottla.kubernetes.wait("the drift to be put back and told", 60, || {
        if admin::setting(&mut broker, "kept", "retention.ms")? != "3600000" {
            return Ok(None);
        }
        let events = scene.ottla.events(NAMESPACE, "Topic", "kept")?;
        let told = events.into_iter().find(|event| event.starts_with("DriftReverted"));
        let Some(told) = told else { return Ok(None) };
        ensure!(told.contains("client \"e2e\""), "{told}");
        Ok(Some(()))
    })?;
    scene.settled("kept")?;
    scene.delete("kept")
}

pub(crate) fn a_dry_run_changes_nothing(scene: &Scene) -> Result<()> {
    scene.topic("dry", "{ cluster: orders, partitions: 2, replicas: 2, dryRun: true }")?;
    scene.ottla.has_reason(NAMESPACE, "topic/dry", ("Ready", "DryRun"), 60)?;
    let steps = scene.field("dry", ".status.plan.steps")?;
    ensure!(steps.contains("dry"), "{steps}");
    let listed = scene.kcat("-L")?;
    ensure!(!listed.contains("topic \"dry\""), "{listed}");
    scene.topic("dry", "{ cluster: orders, partitions: 2, replicas: 2, dryRun: false }")?;
    scene.settled("dry")?;
    scene.delete("dry")
}

pub(crate) fn an_approval_is_of_one_plan(scene: &Scene) -> Result<()> {
    let spec = |digest: &str| {
        format!(
            "{{ cluster: orders, partitions: 2, replicas: 2, approval: {{ digest: \"{digest}\" }} }}"
        )
    };
    scene.topic("asked", &spec("another"))?;
    let object = "topic/asked";
    scene.ottla.has_reason(NAMESPACE, object, ("Ready", "AwaitingApproval"), 60)?;
    let digest = scene.field("asked", ".status.plan.digest")?;
    ensure!(scene.partitions("asked")?.is_empty(), "it was made without leave");
    scene.topic("asked", &spec(&digest))?;
    scene.settled("asked")?;
    scene.delete("asked")
}

pub(crate) fn a_topic_is_adopted_when_asked(scene: &Scene) -> Result<()> {
    scene.topic(
        "first",
        "{ cluster: orders, topicName: there, replicas: 2, deletionPolicy: Retain }",
    )?;
    scene.settled("first")?;
    scene.delete("first")?;
    scene.topic("second", "{ cluster: orders, topicName: there, partitions: 2, replicas: 2 }")?;
    scene.ottla.has_reason(NAMESPACE, "topic/second", ("Ready", "TopicExists"), 60)?;
    ensure!(scene.partitions("there")?.len() == 1, "it was changed without leave");
    let adopting = "{ cluster: orders, topicName: there, partitions: 2, replicas: 2, adopt: true }";
    scene.topic("second", adopting)?;
    scene.settled("second")?;
    ensure!(scene.partitions("there")?.len() == 2);
    scene.delete("second")
}

pub(crate) fn the_older_of_two_has_the_topic(scene: &Scene) -> Result<()> {
    scene.topic("elder", "{ cluster: orders, topicName: shared, replicas: 2 }")?;
    scene.settled("elder")?;
    scene.topic("younger", "{ cluster: orders, topicName: shared, replicas: 1, adopt: true }")?;
    let said = scene.ottla.has_reason(NAMESPACE, "topic/younger", ("Ready", "TopicTaken"), 60)?;
    ensure!(said.contains("elder"), "{said}");
    scene.settled("elder")?;
    scene.delete("younger")?;
    ensure!(scene.partitions("shared")?.len() == 1, "the younger took the topic with it");
    scene.delete("elder")
}

/// Rules of one object are the API server's; what a broker knows is said by the broker.
pub(crate) fn what_cannot_be_is_refused(scene: &Scene) -> Result<()> {
    let refusals = [
        ("{ cluster: orders, replicas: 0 }", "spec.replicas"),
        ("{ cluster: orders, replicas: 1, partitions: 0 }", "spec.partitions"),
        ("{ cluster: orders, replicas: 1, topicName: __own }", "the brokers' own"),
        ("{ cluster: orders, replicas: 1, topicName: '.' }", "cannot be called"),
        ("{ cluster: orders, replicas: 1, colour: red }", "colour"),
        ("{ cluster: orders, replicas: 2, assignment: [[0]] }", "as many brokers"),
        ("{ cluster: orders, replicas: 1, partitions: 2, assignment: [[0]] }", "every partition"),
    ];
    for (spec, words) in refusals {
        let said = refused(scene, "never", spec)?;
        ensure!(said.contains(words), "{spec}: {said}");
    }
    let cases = [
        ("{ cluster: orders, replicas: 1, config: { no.such.key: \"1\" } }", "no.such.key"),
        ("{ cluster: orders, replicas: 1, config: { retention.ms: soon } }", "retention.ms"),
        (
            "{ cluster: orders, replicas: 1, assignment: [[77]] }",
            "partition 0 is to be on broker 77, which is not alive",
        ),
    ];
    for (spec, words) in cases {
        scene.topic("wrong", spec)?;
        let object = "topic/wrong";
        let said = scene.ottla.has_reason(NAMESPACE, object, ("Ready", "InvalidSpec"), 60)?;
        ensure!(said.contains(words), "{spec}: {said}");
        // One that is wrong hurts no other.
        scene.settled("events")?;
        scene.delete("wrong")?;
    }
    scene.topic("homeless", "{ cluster: nowhere, replicas: 1 }")?;
    scene.ottla.has_reason(NAMESPACE, "topic/homeless", ("Ready", "ClusterNotFound"), 60)?;
    scene.delete("homeless")
}

/// For longer than anything is looked at again.
pub(crate) fn nothing_is_written_at_rest(scene: &Scene) -> Result<()> {
    let writes = || scene.ottla.sums(&scene.operator, "ottla_operator_writes_total");
    let before = writes()?;
    let version = |object: &str| {
        let path = "jsonpath={.metadata.resourceVersion}";
        scene.ottla.kubernetes.kubectl(&["get", object, "-n", NAMESPACE, "-o", path])
    };
    let objects = ["cluster/orders", "topic/events"];
    let versions = objects.map(version);
    deadline::pass(std::time::Duration::from_secs(20));
    let after = writes()?;
    let is_of_lease = |name: &str| name.contains("Lease");
    for (name, count) in &after {
        let was = before.get(name).copied().unwrap_or_default();
        ensure!(
            is_of_lease(name) || (count - was).abs() < 0.5,
            "{name} went from {was} to {count}"
        );
    }
    for (object, before) in objects.iter().zip(versions) {
        ensure!(version(object)? == before?, "{object} was written");
    }
    let name = "ottla_operator_writes_while_converged_total";
    let idle = scene.ottla.sums(&scene.operator, name)?;
    ensure!(idle.values().all(|count| *count < 0.5), "{idle:?}");
    let pod = scene.ottla.leader(&scene.operator).context("who leads")?;
    ensure!(pod.restarts == 0, "{pod:?}");
    Ok(())
}
