//! The first minutes of a user: the operator, a cluster, a topic, a record.

use anyhow::{Context, Result, ensure};
use e2e::deadline::Stopwatch;
use e2e::kubernetes::ottla::builds::Build;
use e2e::kubernetes::ottla::{Operator, Ottla};
use e2e::workspace;

use super::NAMESPACE;

/// The name of the cluster.
pub(crate) const CLUSTER: &str = "orders";

/// The page whose manifests a user applies.
const PAGE: &str = "README.md";

/// How long a user waits at most.
const SECONDS: u64 = 240;

/// Installs the operator, applies two manifests, and has a record acknowledged and read.
pub(crate) fn from_nothing_to_a_record(ottla: &Ottla, build: &Build) -> Result<Operator> {
    ottla.namespace(NAMESPACE)?;
    ottla.tools(NAMESPACE)?;
    let time = Stopwatch::start();
    let operator = ottla.install(build, 1)?;
    let apply = ["apply", "--namespace", NAMESPACE, "-f", "-"];
    ottla.kubernetes.kubectl_within(60, &apply, &manifests()?)?;
    ottla.is_ready(NAMESPACE, "topic/events", SECONDS)?;
    let produce =
        "echo first | kcat -b orders:9092 -P -t events -p 0 -X acks=all -X message.timeout.ms=2000";
    ottla
        .kubernetes
        .wait("a record to be acknowledged", SECONDS, || ottla.sh(NAMESPACE, produce).map(Some))?;
    println!("FIGURE {:.1} s from the install to the first record", time.elapsed().as_secs_f64());
    let read = ottla.sh(NAMESPACE, "kcat -b orders:9092 -C -t events -p 0 -o beginning -e -q")?;
    ensure!(read.lines().any(|line| line == "first"), "read {read:?}");
    ottla.is_settled(NAMESPACE, "cluster/orders", SECONDS)?;
    let listed = ottla.kubernetes.kubectl(&["get", "cluster,topic", "-n", NAMESPACE])?;
    println!("{listed}");
    let pods = ottla.brokers(NAMESPACE, CLUSTER)?;
    ensure!(pods.len() == 3, "{pods:?}");
    let first = pods.first().context("a broker")?;
    ensure!(pods.iter().all(|pod| pod.restarts == 0), "a broker was started again: {pods:?}");
    let nodes: std::collections::BTreeSet<_> = pods.iter().map(|pod| &pod.node).collect();
    ensure!(nodes.len() == 3, "brokers share nodes: {pods:?}");
    ensure!(first.image == build.image(), "{first:?}");
    Ok(operator)
}

/// The manifests of the page, as they stand there.
fn manifests() -> Result<String> {
    let page = workspace::root().join(PAGE);
    let page = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let blocks =
        page.split("```yaml\n").filter(|block| block.starts_with("apiVersion: ottla.dev/"));
    let blocks: Vec<&str> = blocks.filter_map(|block| block.split("```").next()).collect();
    ensure!(blocks.len() == 2, "{PAGE} has {} manifests", blocks.len());
    Ok(blocks.join("---\n"))
}
