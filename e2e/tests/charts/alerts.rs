//! Every alert is understood by Prometheus, explains itself, and is given when it should be and not else.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::chart::render::Values;
use e2e::chart::rule::{Alert, alerts};
use e2e::chart::{self, files, items, stem, word};
use e2e::deadline::Deadline;
use e2e::{logs, process};

fn promtool(name: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new("promtool");
    command.current_dir(chart::directory()).args(arguments);
    process::run("promtool", &mut command, &logs::file(name), Deadline::seconds(120))
}

fn paths(of: &str) -> Result<Vec<String>> {
    Ok(files(of, "yaml")?.iter().map(|path| path.display().to_string()).collect())
}

#[test]
fn prometheus_understands_every_rule() -> Result<()> {
    let files = paths("rules")?;
    let mut arguments = vec!["check", "rules"];
    arguments.extend(files.iter().map(String::as_str));
    promtool("charts-check-rules", &arguments).map(drop)
}

/// One file for each alert, in which it is given for what is ill and not for what is well.
#[test]
fn every_alert_is_given_when_it_should_be() -> Result<()> {
    let files = paths("tests/rules")?;
    let mut arguments = vec!["test", "rules"];
    arguments.extend(files.iter().map(String::as_str));
    promtool("charts-test-rules", &arguments)?;
    let tested: BTreeSet<String> =
        chart::files("tests/rules", "yaml")?.iter().map(|path| stem(path)).collect();
    let there: BTreeSet<String> = alerts()?.into_iter().map(|alert| alert.name).collect();
    ensure!(
        tested == there,
        "alerts and tests/rules differ: {:?}",
        tested.symmetric_difference(&there)
    );
    Ok(())
}

/// A label that a text names is one that the alert has: its test shows them all.
#[test]
fn every_alert_says_what_is_wrong_and_what_to_do() -> Result<()> {
    for alert in alerts()? {
        alert.explains_itself()?;
        let test = chart::text(&format!("tests/rules/{}.yaml", alert.name))?;
        let given = given(&test, &alert)?;
        for label in alert.told_labels() {
            ensure!(given.contains(&format!("{label}=\"")), "{} has no {label}", alert.name);
        }
    }
    Ok(())
}

/// The labels with which the test of an alert sees it given; a test that never does, or never not, tests nothing.
fn given(test: &str, alert: &Alert) -> Result<String> {
    let test = chart::parse(test).context("read the test of a rule")?;
    let looks = items(&test["tests"]).flat_map(|one| items(&one["promql_expr_test"]));
    let looks: Vec<_> = looks.map(|look| &look["exp_samples"]).collect();
    let samples: Vec<_> = looks.iter().flat_map(|samples| items(samples)).collect();
    let is_silent = looks.iter().any(|samples| items(samples).next().is_none());
    let series = items(&test["tests"]).flat_map(|one| items(&one["input_series"])).count();
    ensure!(is_silent || series > 1, "{}: the test never sees it silent", alert.name);
    let sample = samples.first().with_context(|| format!("{} is never given", alert.name))?;
    ensure!(samples.len() == 1, "{}: given for what is well, too", alert.name);
    Ok(word(&sample["labels"]).to_owned())
}

/// What the Prometheus operator is given are the rules, without those that values leave out.
#[test]
fn the_object_has_the_rules_of_the_files() -> Result<()> {
    let all: BTreeSet<String> = alerts()?.into_iter().map(|alert| alert.name).collect();
    let directory = tempfile::tempdir()?;
    let mut seen = 0;
    for set in Values::all()? {
        let values = chart::parse(&fs::read_to_string(&set.path)?)?;
        let rule = &values["prometheusRule"];
        for object in set.render()?.iter().filter(|object| object["kind"] == "PrometheusRule") {
            seen += 1;
            let groups = || items(&object["spec"]["groups"]);
            let given: BTreeSet<String> = groups()
                .flat_map(|group| items(&group["rules"]))
                .map(|rule| word(&rule["alert"]).to_owned())
                .collect();
            let left_out: BTreeSet<String> =
                items(&rule["disabled"]).map(|name| word(name).to_owned()).collect();
            let wanted: BTreeSet<String> = all.difference(&left_out).cloned().collect();
            ensure!(given == wanted, "{}: {:?}", set.name, given.symmetric_difference(&wanted));
            let url = word(&rule["runbookUrl"]);
            for one in groups().flat_map(|group| items(&group["rules"])) {
                let found = word(&one["annotations"]["runbook_url"]);
                ensure!(found.starts_with(url) && found.is_empty() == url.is_empty(), "{found}");
                for (label, value) in rule["alertLabels"].as_object().into_iter().flatten() {
                    ensure!(one["labels"][label] == *value, "{}: {label}", one["alert"]);
                }
                ensure!(one["labels"]["severity"].is_string(), "{}", one["alert"]);
            }
            let file = directory.path().join("rules.json");
            fs::write(&file, object["spec"].to_string()).context("write the rules")?;
            promtool("charts-check-object", &["check", "rules", &file.display().to_string()])?;
        }
    }
    ensure!(seen == 2, "{seen} PrometheusRules");
    Ok(())
}
