//! A thousand topics: how long until all are ready, what that costs the API server and the operator, and that nothing is
//! written once they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::deadline::{self, Stopwatch};
use e2e::kubernetes::ottla::{Operator, Ottla, builds, observe};

const NAMESPACE: &str = "shop";

/// How many there are.
const COUNT: usize = 1_000;

/// How long all of them may take.
const SECONDS: u64 = 240;

/// The most memory of the operator, its program's pages and all.
const MEMORY_KIB: u64 = 64 << 10;

/// For how long nothing may be written. What passes are slower than that the operator's own tests wait for: twenty
/// minutes, on a clock that does not.
const REST: Duration = Duration::from_secs(30);

const CLUSTER: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Cluster
metadata: { name: orders, namespace: shop }
spec: { version: VERSION, brokers: 1, storage: { volumes: [{ size: 1Gi }] } }
";

#[test]
fn a_thousand_topics_cost_little_and_then_nothing() -> Result<()> {
    let this = builds::this()?;
    let load = Path::new(env!("CARGO_BIN_EXE_load"));
    let ottla = Ottla::start("many", 1, std::slice::from_ref(&this), load)?;
    let operator = ottla.install(&this, 1)?;
    ottla.namespace(NAMESPACE)?;
    ottla.kubernetes.apply(&CLUSTER.replace("VERSION", &this.version))?;
    ottla.is_settled(NAMESPACE, "cluster/orders", SECONDS)?;
    let before = requests(&ottla, &operator)?;
    let time = Stopwatch::start();
    ottla.kubernetes.kubectl_within(SECONDS, &["create", "-f", "-"], &topics())?;
    println!("FIGURE {:.1} s to create {COUNT} objects", time.elapsed().as_secs_f64());
    all_are_ready(&ottla, time)?;
    let calls: f64 = difference(&before, &requests(&ottla, &operator)?).values().sum();
    println!("FIGURE {:.2} API calls a topic", calls / COUNT as f64);
    let (peak, anonymous) = memory()?;
    println!("FIGURE {peak} KiB at most, {anonymous} KiB of them no file's, after {COUNT} topics");
    ensure!(peak < MEMORY_KIB, "the operator had {peak} KiB");
    let before = requests(&ottla, &operator)?;
    deadline::pass(REST);
    let during = difference(&before, &requests(&ottla, &operator)?);
    println!("FIGURE requests in {} s at rest: {during:?}", REST.as_secs());
    let is_write =
        |name: &str| ["create", "update", "patch", "delete"].iter().any(|verb| name.contains(verb));
    let writes: Vec<_> = during
        .iter()
        .filter(|(name, count)| is_write(name) && !name.contains("Lease") && **count > 0.5)
        .collect();
    ensure!(writes.is_empty(), "written at rest: {writes:?}");
    ottla.end()
}

fn topics() -> String {
    let mut all = String::new();
    for number in 0..COUNT {
        let _ = write!(
            all,
            "---\napiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {{ name: t{number}, namespace: {NAMESPACE} }}\n\
             spec: {{ cluster: orders, replicas: 1, config: {{ retention.ms: \"3600000\" }} }}\n"
        );
    }
    all
}

fn all_are_ready(ottla: &Ottla, time: Stopwatch) -> Result<()> {
    let mut told = 0;
    let ready = ottla.kubernetes.wait("all topics to be ready", SECONDS, || {
        let path = "jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        let all = ottla.kubernetes.kubectl(&["get", "topics", "-n", NAMESPACE, "-o", path])?;
        let ready = all.lines().filter(|line| *line == "True").count();
        if ready / 200 != told {
            told = ready / 200;
            println!("  {:5.1} s  {ready} are ready", time.elapsed().as_secs_f64());
        }
        deadline::pass(Duration::from_millis(500));
        Ok((ready == COUNT).then_some(()))
    });
    println!("FIGURE {:.1} s until {COUNT} topics were ready", time.elapsed().as_secs_f64());
    ready
}

fn requests(ottla: &Ottla, operator: &Operator) -> Result<BTreeMap<String, f64>> {
    ottla.sums(operator, "ottla_operator_api_requests_total")
}

fn difference(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    let since = |(name, count): (&String, &f64)| {
        (name.clone(), count - before.get(name).copied().unwrap_or_default())
    };
    after.iter().map(since).filter(|(_, count)| *count > 0.5).collect()
}

/// The operator's memory in KiB: at most, and now without files. Of all that run on this machine the largest.
fn memory() -> Result<(u64, u64)> {
    let all = observe::memory("ottla-operator")?;
    Ok((
        all.iter().map(|one| one.0).max().unwrap_or(0),
        all.iter().map(|one| one.1).max().unwrap_or(0),
    ))
}
