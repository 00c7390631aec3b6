//! The chart is of this release: its definitions, its version, its names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::chart::render::{Values, template};
use e2e::chart::{self, items, word};
use e2e::workspace;

fn definitions(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).context("list definitions")? {
        let path = entry?.path();
        files.insert(chart::stem(&path), fs::read_to_string(&path)?);
    }
    Ok(files)
}

#[test]
fn definitions_and_versions_are_those_of_the_crates() -> Result<()> {
    let ours = definitions(&workspace::root().join("crds"))?;
    ensure!(ours.len() == 2, "{} definitions", ours.len());
    ensure!(
        ours == definitions(&chart::directory().join("crds"))?,
        "charts/ottla/crds is not crds: cargo run -p operator --bin crdgen -- crds charts/ottla/crds"
    );
    let about = chart::read("Chart.yaml")?;
    for field in ["version", "appVersion"] {
        ensure!(
            about[field] == env!("CARGO_PKG_VERSION"),
            "{field} of the chart: {}",
            about[field]
        );
    }
    // Helm prints them as they are, for whoever renders without a cluster.
    let printed = template(&["--include-crds"])?;
    ensure!(printed.matches("kind: CustomResourceDefinition").count() == 2, "Helm has others");
    Ok(())
}

/// What holds records is not a release's to delete, and a cluster runs what the chart is of.
#[test]
fn a_cluster_outlives_its_release() -> Result<()> {
    let mut seen = 0;
    for set in Values::all()? {
        for object in set.render()? {
            if object["apiVersion"] != "ottla.dev/v1alpha1" {
                continue;
            }
            seen += 1;
            let policy = &object["metadata"]["annotations"]["helm.sh/resource-policy"];
            ensure!(policy == "keep", "{}: {}", set.name, object["metadata"]["name"]);
            if object["kind"] == "Cluster" {
                ensure!(object["spec"]["version"] == env!("CARGO_PKG_VERSION"), "{object}");
            }
        }
    }
    ensure!(seen >= 5, "{seen} objects of ours in all value sets");
    Ok(())
}

/// A PodMonitor finds what the operator makes: labels and the port's name are those of its pods.
#[test]
fn the_monitor_selects_the_brokers_that_the_operator_makes() -> Result<()> {
    let source = |file: &str| fs::read_to_string(workspace::root().join(file)).context("a source");
    let names = source("operator/src/names.rs")?;
    let pods = source("operator/src/cluster/build/pod.rs")?;
    let mut seen = 0;
    for set in Values::all()? {
        for object in set.render()?.iter().filter(|object| object["kind"] == "PodMonitor") {
            seen += 1;
            let labels = object["spec"]["selector"]["matchLabels"].as_object();
            for (label, value) in labels.context("a PodMonitor without a selector")? {
                for word in [label.as_str(), word(value)] {
                    ensure!(names.contains(&format!("{word:?}")), "no broker is labelled {word}");
                }
            }
            for label in items(&object["spec"]["podTargetLabels"]) {
                ensure!(names.contains(&label.to_string()), "no broker has the label {label}");
            }
            for endpoint in items(&object["spec"]["podMetricsEndpoints"]) {
                ensure!(
                    pods.contains(&format!("({}, METRICS_PORT)", endpoint["port"])),
                    "{endpoint}"
                );
            }
        }
    }
    ensure!(seen == 2, "{seen} PodMonitors");
    Ok(())
}
