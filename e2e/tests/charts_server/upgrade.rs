//! Definitions outlive releases, and a release that is newer than them waits for them.

use anyhow::{Context, Result, bail, ensure};
use e2e::chart::render::NAMESPACE;
use e2e::chart::{self, word};
use e2e::kubernetes::Kubernetes;

use super::MORE;
use super::objects::helm;

/// A namespace that is not there is told before any role is changed: the operator that runs goes on with its rights.
pub(super) fn waits_for_namespaces(cluster: &Kubernetes) -> Result<()> {
    let chart = chart::directory().display().to_string();
    let upgrade = ["upgrade", "--install", "one", &chart, "--namespace", NAMESPACE];
    helm(cluster, &upgrade)?;
    let name = format!("{NAMESPACE}-one-operator");
    let before = cluster.get(&["clusterrole", &name])?;
    let nowhere = [&upgrade[..], &["--set", "watchNamespaces={nowhere}"]].concat();
    for how in [&[][..], &["--dry-run=server"]] {
        let Err(error) = helm(cluster, &[&nowhere[..], how].concat()) else { bail!("{how:?}") };
        let words = "there is no such namespace. First: kubectl create namespace nowhere";
        ensure!(format!("{error:#}").contains(words), "{error:#}");
    }
    // Nobody is asked.
    helm(cluster, &[&nowhere[..], &["--dry-run=client"]].concat())?;
    let after = cluster.get(&["clusterrole", &name])?;
    ensure!(before["rules"] == after["rules"], "its rights are others: {after}");
    let there = format!("watchNamespaces={{{NAMESPACE},{MORE}}}");
    helm(cluster, &[&upgrade[..], &["--set", &there]].concat())?;
    helm(cluster, &["uninstall", "one", "--namespace", NAMESPACE, "--wait"]).map(drop)
}

/// One operator looks after a namespace: a second release of it is refused, and told whose it is.
pub(super) fn waits_for_others(cluster: &Kubernetes) -> Result<()> {
    let chart = chart::directory().display().to_string();
    let one = ["upgrade", "--install", "one", &chart, "--namespace", NAMESPACE];
    let two = ["install", "two", &chart, "--namespace", MORE, "--dry-run=server"];
    let try_two = |given: &str| helm(cluster, &[&two[..], &["--set", given]].concat());
    let refused = |given: &str, place: &str| {
        let Err(error) = try_two(given) else { bail!("{given}: it was taken") };
        let words = format!("release one of namespace {NAMESPACE} looks after {place} already");
        ensure!(format!("{error:#}").contains(&words), "{given}: {error:#}");
        Ok(())
    };
    let (all, here, there) = (
        "replicas=1",
        format!("watchNamespaces={{{NAMESPACE}}}"),
        format!("watchNamespaces={{{MORE}}}"),
    );
    helm(cluster, &one)?;
    helm(cluster, &one).context("upgrade to the same")?;
    refused(all, "all namespaces")?;
    refused(&there, "all namespaces")?;
    try_two("checks.releases=false")?;
    helm(cluster, &[&one[..], &["--set", &here]].concat())?;
    refused(all, NAMESPACE)?;
    refused(&here, NAMESPACE)?;
    try_two(&there)?;
    helm(cluster, &["uninstall", "one", "--namespace", NAMESPACE, "--wait"])?;
    try_two(all).map(drop)
}

/// What the README of the chart has the user call, in a shell.
const UPDATE: &str =
    "helm show crds charts/ottla | kubectl apply --server-side --force-conflicts -f -";

/// The words of the refusal: the command, as it stands in the README.
const REFUSAL: &str = "is not that of this chart. First: helm show crds CHART | kubectl apply";

pub(super) fn waits(cluster: &Kubernetes) -> Result<()> {
    let chart = chart::directory().display().to_string();
    let upgrade = ["upgrade", "--install", "one", &chart, "--namespace", NAMESPACE];
    helm(cluster, &upgrade)?;
    helm(cluster, &upgrade).context("upgrade to the same")?;
    let column = "/spec/versions/0/additionalPrinterColumns/0";
    let older = format!("[{{\"op\": \"remove\", \"path\": \"{column}\"}}]");
    let topics = ["customresourcedefinition", "topics.ottla.dev"];
    let patch = ["patch", topics[0], topics[1], "--type=json", "--patch", &older];
    cluster.kubectl(&patch)?;
    let Err(error) = helm(cluster, &upgrade) else { bail!("an upgrade over older definitions") };
    ensure!(format!("{error:#}").contains(REFUSAL), "{error:#}");
    ensure!(format!("{error:#}").contains("topics.ottla.dev"), "{error:#}");
    helm(cluster, &[&upgrade[..], &["--set", "crds.check=false"]].concat())?;

    ensure!(chart::text("README.md")?.contains(UPDATE), "the README has another command");
    let definitions = helm(cluster, &["show", "crds", &chart])?;
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    cluster.kubectl_within(60, &apply, &definitions)?;
    helm(cluster, &upgrade).context("upgrade after the definitions")?;

    helm(cluster, &["uninstall", "one", "--namespace", NAMESPACE, "--wait"])?;
    let left = cluster.get(&topics)?;
    ensure!(word(&left["metadata"]["name"]) == topics[1], "a definition went with its release");
    Ok(())
}
