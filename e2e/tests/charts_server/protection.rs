//! `spec.deletionProtection` of a `Cluster`, by the server's own word: the operator does not run.

use anyhow::{Result, bail, ensure};
use e2e::chart::render::NAMESPACE;
use e2e::kubernetes::Kubernetes;
use serde_json::json;

use super::MORE;
use super::account::{install, uninstall};

/// What the refusal says to do.
const WORDS: &str =
    "spec.deletionProtection is true: set it to false first, then delete the Cluster";

/// How long a new policy may take until the server goes by it.
const POLICY_SECONDS: u64 = 60;

/// How long the garbage collector may take for an object that owns nothing.
const END_SECONDS: u64 = 60;

/// However it is deleted, a protected one stays whole: it is not even about to go. One that is not protected goes as
/// always, and so does a protected one once it is protected no more.
pub(super) fn holds_until_taken_off(cluster: &Kubernetes) -> Result<()> {
    make(cluster, "guarded", true)?;
    install(cluster, "default")?;
    refused(cluster)?;
    let ways: [&[&str]; 4] = [
        &[],
        &["--cascade=foreground"],
        &["--cascade=orphan"],
        // Somebody who has been given everything in a namespace.
        &["--as=ann", "--as-group=system:masters"],
    ];
    for way in ways {
        let Err(error) = delete(cluster, "guarded", way) else { bail!("{way:?}: it was deleted") };
        ensure!(format!("{error:#}").contains(WORDS), "{way:?}: {error:#}");
    }
    let all = ["delete", "clusters", "--all", "--namespace", NAMESPACE, "--wait=false"];
    ensure!(cluster.kubectl(&all).is_err(), "it was deleted with all others");
    let guarded = cluster.get(&["cluster", "guarded", "--namespace", NAMESPACE])?;
    ensure!(guarded["metadata"]["deletionTimestamp"].is_null(), "it is about to go: {guarded}");

    // A namespace that goes takes it along.
    let namespaces = "--as=system:serviceaccount:kube-system:namespace-controller";
    delete(cluster, "guarded", &[namespaces, "--dry-run=server"])?;

    make(cluster, "plain", false)?;
    delete(cluster, "plain", &["--cascade=foreground"])?;
    make(cluster, "guarded", false)?;
    delete(cluster, "guarded", &["--cascade=foreground"])?;
    cluster.wait("both to be gone", END_SECONDS, || {
        let left = cluster.get(&["clusters", "--namespace", NAMESPACE])?;
        Ok(left["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;
    uninstall(cluster)?;

    // Where a release does not look nobody is refused.
    make(cluster, "guarded", true)?;
    // What is refused from now on is refused by the next release.
    cluster.wait("the policy of the first release to be gone", POLICY_SECONDS, || {
        Ok(delete(cluster, "guarded", &["--dry-run=server"]).is_ok().then_some(()))
    })?;
    install(cluster, "namespaced-nodes")?;
    refused(cluster)?;
    apply(cluster, MORE, "elsewhere", true)?;
    cluster.kubectl(&["delete", "cluster", "elsewhere", "--namespace", MORE])?;
    uninstall(cluster)?;
    cluster.wait("the policy to be gone", POLICY_SECONDS, || {
        Ok(delete(cluster, "guarded", &[]).is_ok().then_some(()))
    })
}

/// Waits until the server goes by the policy.
fn refused(cluster: &Kubernetes) -> Result<()> {
    cluster.wait("the policy to hold", POLICY_SECONDS, || {
        let said = delete(cluster, "guarded", &["--dry-run=server"]);
        Ok(said.is_err_and(|error| format!("{error:#}").contains(WORDS)).then_some(()))
    })
}

fn make(cluster: &Kubernetes, name: &str, is_protected: bool) -> Result<()> {
    apply(cluster, NAMESPACE, name, is_protected)
}

fn apply(cluster: &Kubernetes, namespace: &str, name: &str, is_protected: bool) -> Result<()> {
    let object = json!({
        "apiVersion": "ottla.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "brokers": 1, "version": "0.1.0", "deletionProtection": is_protected },
    });
    cluster.apply(&object.to_string()).map(drop)
}

fn delete(cluster: &Kubernetes, name: &str, how: &[&str]) -> Result<String> {
    let delete = ["delete", "cluster", name, "--namespace", NAMESPACE, "--wait=false"];
    cluster.kubectl(&[&delete, how].concat())
}
