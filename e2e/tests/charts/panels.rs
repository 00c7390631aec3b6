//! Dashboards and alerts ask for what brokers and the operator have, by their tables of families.
//!
//! That a broker's page has them, and that Prometheus answers, is seen in the stage `metrics`.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::chart::dashboard::Dashboard;
use e2e::chart::expression::{is_of, metrics};
use e2e::chart::render::Values;
use e2e::chart::rule::alerts;
use e2e::workspace;
use serde_json::Value;

/// The first text in quotes of every line of a source that has `mark`.
fn families(source: &str, mark: &str) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(workspace::root().join(source)).context(source.to_owned())?;
    let lines = text.lines().filter(|line| line.contains(mark));
    let found: BTreeSet<String> =
        lines.filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect();
    ensure!(found.len() > 5, "{source} has only {} families", found.len());
    Ok(found)
}

#[test]
fn every_metric_that_is_asked_for_is_served() -> Result<()> {
    let mut served = families("operator/src/metrics/family.rs", "name: \"ottla_operator_")?;
    served.extend(families("broker/server/src/metrics/catalogue.rs", "] \"")?);
    let mut asked: Vec<(String, String)> = Vec::new();
    for dashboard in Dashboard::all()? {
        for expression in dashboard.expressions() {
            asked.push((dashboard.name.clone(), expression));
        }
    }
    asked.extend(alerts()?.into_iter().map(|alert| (alert.name, alert.expression)));
    ensure!(asked.len() > 80, "only {} expressions", asked.len());
    for (who, expression) in asked {
        for metric in metrics(&expression) {
            ensure!(is_of(&served, &metric), "{who} asks for {metric}, which nobody has");
        }
    }
    Ok(())
}

#[test]
fn every_dashboard_explains_itself_and_is_in_the_object() -> Result<()> {
    let all = Dashboard::all()?;
    let names: Vec<&str> = all.iter().map(|dashboard| dashboard.name.as_str()).collect();
    ensure!(names == ["cluster", "operator", "topics"], "{names:?}");
    all.iter().try_for_each(Dashboard::explains_itself)?;
    let mut seen = 0;
    for set in Values::all()? {
        for object in set.render()?.iter().filter(|object| object["kind"] == "ConfigMap") {
            seen += 1;
            for dashboard in &all {
                let key = format!("ottla-{}.json", dashboard.name);
                let text = object["data"][&key].as_str().context("a dashboard is missing")?;
                let model: Value = serde_json::from_str(text).context("read it back")?;
                ensure!(model == dashboard.model, "{}: {key} is not the file", set.name);
            }
        }
    }
    ensure!(seen == 2, "{seen} ConfigMaps");
    Ok(())
}
