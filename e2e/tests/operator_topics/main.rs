//! From an empty Kubernetes to a running cluster with topics, and all that may become of a topic.
//!
//! One Kubernetes for all of it, in the order of [`DEEDS`]; each leaves the cluster ready, and topics of its own.

mod edge;
mod ends;
mod lives;
mod start;

use std::net::SocketAddrV4;
use std::path::Path;

use anyhow::{Context, Result};
use e2e::deeds::{self, Deed};
use e2e::kubernetes::ottla::load::Load;
use e2e::kubernetes::ottla::{Operator, Ottla, builds};
use e2e::kubernetes::relay::Relay;

/// The namespace of everything that a user makes.
const NAMESPACE: &str = "shop";

/// What a deed is done on.
struct Scene {
    ottla: Ottla,
    operator: Operator,
}

/// Under load.
const LIVES: [Deed<Scene>; 15] = [
    ("a topic grows", lives::a_topic_grows),
    ("replicas of a topic are more and fewer", lives::replicas_are_more_and_fewer),
    ("settings are kept, and a drift is put back", lives::settings_are_kept),
    ("a dry run changes nothing", lives::a_dry_run_changes_nothing),
    ("an approval is of one plan", lives::an_approval_is_of_one_plan),
    ("a topic that is there is adopted when asked", lives::a_topic_is_adopted_when_asked),
    ("the older of two objects has the topic", lives::the_older_of_two_has_the_topic),
    ("what cannot be is refused in words", lives::what_cannot_be_is_refused),
    ("retain, protect and delete", ends::policies_are_kept),
    ("nothing is written while nothing changes", lives::nothing_is_written_at_rest),
    ("a cluster of another shape", edge::a_cluster_of_another_shape),
    ("what brokers speak is raised when nobody says otherwise", edge::what_brokers_speak_is_raised),
    ("nothing changes while a cluster is paused", edge::nothing_changes_while_it_is_paused),
    ("what is protected stays", edge::what_is_protected_stays),
    ("its namespace is gone with all of it", edge::its_namespace_is_gone),
];

/// Those after which there is nobody to send to.
const ENDS: [Deed<Scene>; 5] = [
    ("a topic is deleted while its cluster is down", ends::deleted_while_the_cluster_is_down),
    ("a topic goes without its cluster", ends::a_topic_goes_without_its_cluster),
    ("a deleted cluster leaves its volumes", ends::a_deleted_cluster_leaves_its_volumes),
    ("a deleted namespace is gone", ends::a_deleted_namespace_is_gone),
    ("one release is a working cluster", edge::one_release_is_a_working_cluster),
];

#[test]
fn topics_are_what_their_objects_say_from_the_first_record_to_the_last() -> Result<()> {
    let this = builds::this()?;
    builds::says(&this.broker, builds::THIS)?;
    let load = Path::new(env!("CARGO_BIN_EXE_load"));
    let ottla = Ottla::start("topics", 3, std::slice::from_ref(&this), load)?;
    let operator = start::from_nothing_to_a_record(&ottla, &this)?;
    let scene = Scene { ottla, operator };
    scene.topic(
        "steady",
        "{ cluster: orders, partitions: 6, replicas: 3, config: { min.insync.replicas: \"2\" } }",
    )?;
    scene.settled("steady")?;
    let order = "--bootstrap orders:9092 --topic steady:6 --rate 100";
    let load = Load::start(&scene.ottla, NAMESPACE, "load", order)?;
    deeds::play(&scene, &LIVES, |what| load.part(what).map(drop))?;
    load.finish()?;
    deeds::play(&scene, &ENDS, |_| Ok(()))?;
    scene.ottla.end()
}

impl Scene {
    /// Makes a topic of a spec in YAML's flow style, or changes it.
    fn topic(&self, name: &str, spec: &str) -> Result<()> {
        let manifest = format!(
            "apiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {{ name: {name}, namespace: {NAMESPACE} }}\n\
             spec: {spec}\n"
        );
        self.ottla.kubernetes.apply(&manifest).map(drop)
    }

    fn settled(&self, name: &str) -> Result<()> {
        self.ottla.is_settled(NAMESPACE, &format!("topic/{name}"), 90)
    }

    /// A field of a topic's object, by its JSON path.
    fn field(&self, name: &str, path: &str) -> Result<String> {
        let path = format!("jsonpath={{{path}}}");
        self.ottla.kubernetes.kubectl(&["get", "topic", "-n", NAMESPACE, name, "-o", &path])
    }

    /// What kcat lists of a topic: one line a partition. Of all topics: one that is asked for by name may be made.
    fn partitions(&self, topic: &str) -> Result<Vec<String>> {
        let listed = self.kcat("-L")?;
        let head = format!("topic \"{topic}\" with ");
        let after = listed.lines().skip_while(|line| !line.contains(&head)).skip(1);
        let lines = after.map(str::trim).take_while(|line| line.starts_with("partition "));
        Ok(lines.map(str::to_owned).collect())
    }

    /// kcat in the pod with tools.
    fn kcat(&self, arguments: &str) -> Result<String> {
        let script = format!("kcat -b {}:9092 {arguments}", start::CLUSTER);
        self.ottla.sh(NAMESPACE, &script)
    }

    /// The way to one of the brokers, from outside the pods.
    fn broker(&self) -> Result<Relay> {
        let pods = self.ottla.brokers(NAMESPACE, start::CLUSTER)?;
        let address =
            pods.first().and_then(|pod| pod.address).context("no broker has an address")?;
        self.ottla.kubernetes.forward(SocketAddrV4::new(address, 9092))
    }

    fn delete(&self, name: &str) -> Result<()> {
        let gone = ["delete", "topic", "-n", NAMESPACE, name, "--timeout=60s"];
        self.ottla.kubernetes.kubectl_within(90, &gone, "").map(drop)
    }
}
