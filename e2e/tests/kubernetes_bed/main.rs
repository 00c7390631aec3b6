//! The bed of the operator's tests, judged by itself: a real Kubernetes does here what tests count on.

#![expect(clippy::disallowed_methods, reason = "a test reads what the kernel says of the machine")]

mod faults;
mod left;
mod set;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::deadline::Deadline;
use e2e::deeds::{self, Deed};
use e2e::kubernetes::{Component, Kubernetes, leftover};
use e2e::logs;
use e2e::process::Process;

use left::Machine;

/// In their order; each leaves the cluster as it was.
const LOOKS: [Deed<Kubernetes>; 14] = [
    ("nodes are in zones of their own", nodes_are_in_zones_of_their_own),
    ("a set of three pods is ready", set::create),
    ("volumes outlive pods", set::volumes_outlive_pods),
    ("claims grow", set::claims_grow),
    ("names lead to pods", set::names_lead_to_pods),
    ("ports lead to pods and services", set::ports_lead_to_pods_and_services),
    ("a budget refuses and allows", set::a_budget_refuses_and_allows),
    ("a node is drained", set::a_node_is_drained),
    ("a root pod is refused", set::a_root_pod_is_refused),
    ("an account may do what it is allowed", set::an_account_may_do_what_it_is_allowed),
    ("killed components come back", faults::killed_components_come_back),
    ("a held kubelet loses its node", faults::a_held_kubelet_loses_its_node),
    ("a node that is cut off comes back", faults::a_node_that_is_cut_off_comes_back),
    ("a node without power comes back", faults::a_node_without_power_comes_back),
];

/// One cluster for all: it takes longer to start than most of these take.
#[test]
fn a_cluster_of_three_nodes_does_what_tests_count_on() -> Result<()> {
    let before = Machine::look()?;
    let cluster = Kubernetes::start("bed", 3)?;
    let id = left::id(&cluster.kubeconfig())?;
    deeds::play(&cluster, &LOOKS, |_| Ok(()))?;
    for component in [Component::ControllerManager, Component::Scheduler, Component::Dns] {
        ensure!(cluster.ends(component)? == 0, "{component} ended by itself");
    }
    ensure!(before == Machine::look()?, "the machine is not as it was");
    cluster.end()?;
    left::nothing(&id, &before)?;
    left::no_files(&id)
}

fn nodes_are_in_zones_of_their_own(cluster: &Kubernetes) -> Result<()> {
    for number in 1..=3 {
        let node = cluster.get(&["node", &format!("node-{number}")])?;
        let zone = &node["metadata"]["labels"]["topology.kubernetes.io/zone"];
        ensure!(*zone == format!("zone-{number}"), "{zone}");
        let version = &node["status"]["nodeInfo"]["kubeletVersion"];
        ensure!(version.as_str().is_some_and(|version| version.starts_with("v1.34.")), "{version}");
    }
    Ok(())
}

/// Beside the other: two clusters at once hinder each other in nothing.
#[test]
fn nothing_outlives_a_program_that_is_killed() -> Result<()> {
    let before = Machine::look()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubernetes"));
    command.args(["--name", "killed", "--nodes", "1"]);
    let mut child = Process::spawn("killed", &mut command, &logs::file("kubernetes-killed"))?;
    let kubeconfig = child.wait_for("the way to its cluster", Deadline::seconds(180), |line| {
        line.strip_prefix("export KUBECONFIG=").map(str::to_owned)
    })?;
    let id = left::id(kubeconfig.as_ref())?;
    ensure!(!left::processes(&id)?.is_empty(), "no process of {id} is seen");
    // Not its group: what it started is not told.
    let process = rustix::process::Pid::from_raw(child.id() as i32).context("its id")?;
    rustix::process::kill_process(process, rustix::process::Signal::KILL)?;
    child.wait(Deadline::seconds(30))?;
    Deadline::seconds(30).poll("the end of what it started", || {
        Ok(left::processes(&id)?.is_empty().then_some(()))
    })?;
    // Whoever starts the next cluster does this first.
    leftover::sweep()?;
    left::nothing(&id, &before)?;
    left::no_files(&id)
}
