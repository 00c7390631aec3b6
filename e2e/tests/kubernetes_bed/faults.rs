//! Components that are killed, nodes that are cut off and that lose their power: all come back.

use anyhow::{Result, ensure};
use e2e::kubernetes::{Component, Kubernetes};

use super::set::{self, SECONDS};

fn becomes(cluster: &Kubernetes, node: &str, ready: bool) -> Result<()> {
    let what = format!("{node} to be {}ready", if ready { "" } else { "not " });
    cluster.wait(&what, SECONDS, || Ok((cluster.is_ready(node)? == ready).then_some(())))
}

pub(crate) fn killed_components_come_back(cluster: &Kubernetes) -> Result<()> {
    for component in [Component::ApiServer, Component::Etcd] {
        cluster.hold(component)?;
        let served = cluster.kubectl(&["get", "nodes", "--request-timeout=2s"]).is_ok();
        ensure!(!served, "it is served without {component}");
        cluster.release(component)?;
        cluster.wait(&format!("service after {component}"), SECONDS, || {
            cluster.get(&["nodes"]).map(Some)
        })?;
    }
    let before = set::field(cluster, "set-0", ".metadata.uid")?;
    for component in [Component::ApiServer, Component::Kubelet(1), Component::Containerd(1)] {
        cluster.kill(component)?;
    }
    // A pod that is made anew needs all of them.
    cluster.wait("set-0 to be deleted", SECONDS, || {
        cluster.kubectl(&["delete", "pod", "-n", set::NAMESPACE, "set-0", "--wait=false"]).map(Some)
    })?;
    set::successor(cluster, "set-0", &before)?;
    set::all_are_ready(cluster)
}

pub(crate) fn a_held_kubelet_loses_its_node(cluster: &Kubernetes) -> Result<()> {
    cluster.hold(Component::Kubelet(2))?;
    becomes(cluster, "node-2", false)?;
    cluster.release(Component::Kubelet(2))?;
    becomes(cluster, "node-2", true)
}

pub(crate) fn a_node_that_is_cut_off_comes_back(cluster: &Kubernetes) -> Result<()> {
    cluster.cut_off(3)?;
    becomes(cluster, "node-3", false)?;
    cluster.mend(3)?;
    becomes(cluster, "node-3", true)
}

pub(crate) fn a_node_without_power_comes_back(cluster: &Kubernetes) -> Result<()> {
    cluster.stop_node(1)?;
    becomes(cluster, "node-1", false)?;
    cluster.start_node(1)?;
    becomes(cluster, "node-1", true)?;
    set::all_are_ready(cluster)
}
