//! The operator itself, with no rights but those of its account.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::chart::dashboard::Dashboard;
use e2e::chart::expression::{families, is_of, metrics};
use e2e::chart::render::NAMESPACE;
use e2e::chart::rule::alerts;
use e2e::kubernetes::Kubernetes;
use e2e::operator::Operator;
use e2e::prometheus::{Prometheus, Target};
use e2e::scrape::{get, value};

use super::account::{install, uninstall, user};

/// How long a first election may take.
const LEAD_SECONDS: u64 = 60;

/// It leads, asks for nothing that it is denied, and a real Prometheus has data for all of its dashboard.
pub(super) fn leads_and_is_scraped(cluster: &Kubernetes) -> Result<()> {
    install(cluster, "default")?;
    let directory = tempfile::tempdir()?;
    let kubeconfig = directory.path().join("kubeconfig");
    let text = fs::read_to_string(cluster.kubeconfig()).context("read the way to the server")?;
    // Whoever may do everything asks as the account, and may then do what the account may.
    let as_account = format!("  user:\n    as: '{}'\n", user());
    ensure!(text.matches("  user:\n").count() == 1, "another kubeconfig than was thought");
    fs::write(&kubeconfig, text.replace("  user:\n", &as_account)).context("write the same")?;
    let operator = Operator::start(
        "charts-operator",
        &kubeconfig,
        &["--lease-namespace", NAMESPACE, "--image", "localhost/ottla"],
    )?;
    let page = || get(&operator.address, "/metrics");
    cluster.wait("the operator to lead", LEAD_SECONDS, || {
        Ok((value(&page()?, "ottla_operator_leader", &[])? > 0.5).then_some(()))
    })?;
    cluster.wait("the operator to be ready", LEAD_SECONDS, || {
        get(&operator.address, "/readyz").map(Some)
    })?;

    let (namespace, pod) = (("namespace", NAMESPACE), ("pod", "the-operator"));
    let labels = [namespace, pod];
    let target =
        Target { job: "operator", address: &operator.address, path: "/metrics", labels: &labels };
    let prometheus = Prometheus::start("charts", directory.path(), &[target])?;
    let dashboards = Dashboard::all()?;
    let own = dashboards.iter().find(|one| one.name == "operator").context("no dashboard")?;
    let found = families(&page()?);
    let asked = alerts()?.into_iter().map(|alert| alert.expression);
    for metric in asked.chain(own.expressions()).flat_map(|one| metrics(&one)) {
        let is_broker = !metric.starts_with("ottla_operator_");
        ensure!(is_broker || is_of(&found, &metric) || is_rare(&metric), "no {metric}");
    }
    let asked = own
        .expressions()
        .into_iter()
        .filter(|asked| !metrics(asked).iter().all(|one| is_rare(one)));
    prometheus.wait_for_data(asked.collect(), || Ok(()))?;
    let page = page()?;
    let denied = page.lines().filter(|line| line.contains("outcome=\"denied\""));
    ensure!(denied.count() == 0, "the operator was denied something:\n{page}");
    operator.stop()?;
    uninstall(cluster)
}

/// What has no series before it happened for the first time: a roll, a refusal; and, without an object, a look at one.
fn is_rare(metric: &str) -> bool {
    const RARE: [&str; 4] = [
        "ottla_operator_rolls_total",
        "ottla_operator_restart_permits_refused_total",
        "ottla_operator_writes_total",
        "ottla_operator_reconcile_duration_seconds_bucket",
    ];
    RARE.contains(&metric)
}
