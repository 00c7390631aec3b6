//! The Grafana dashboards, as far as Prometheus has to answer them.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{files, items, stem, word};

/// What Grafana puts in for `$__rate_interval` where a scrape comes every second.
const INTERVAL: &str = "10s";

/// A dashboard.
#[derive(Debug)]
pub struct Dashboard {
    /// The name of its file.
    pub name: String,
    /// As Grafana reads it.
    pub model: Value,
}

impl Dashboard {
    /// Every dashboard, by name.
    pub fn all() -> Result<Vec<Self>> {
        let read = |path: std::path::PathBuf| {
            let text = fs::read_to_string(&path).context("read a dashboard")?;
            let model = serde_json::from_str(&text);
            let model = model.with_context(|| format!("read {}", path.display()))?;
            Ok(Self { name: stem(&path), model })
        };
        files("dashboards", "json")?.into_iter().map(read).collect()
    }

    /// The panels that show something.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        items(&self.model["panels"]).filter(|panel| panel["type"] != "row")
    }

    /// What its panels ask, with every variable at "all".
    pub fn expressions(&self) -> Vec<String> {
        let targets = self.panels().flat_map(|panel| items(&panel["targets"]));
        targets.map(|target| self.resolve(word(&target["expr"]))).collect()
    }

    fn resolve(&self, expression: &str) -> String {
        let all = expression.replace("$__rate_interval", INTERVAL);
        let names = items(&self.model["templating"]["list"]).map(|one| word(&one["name"]));
        names.fold(all, |all, name| all.replace(&format!("${name}"), ".*"))
    }

    /// Fails where a panel says nothing of itself, or asks what its variables do not choose.
    pub fn explains_itself(&self) -> Result<()> {
        let name = &self.name;
        ensure!(word(&self.model["uid"]) == format!("ottla-{name}"), "{name} has no uid");
        for panel in self.panels() {
            let title = word(&panel["title"]);
            ensure!(!title.is_empty(), "{name}: a panel without a title");
            ensure!(
                word(&panel["description"]).ends_with('.'),
                "{name}: {title} has no description"
            );
            ensure!(
                !word(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(),
                "{title}: no unit"
            );
            ensure!(items(&panel["targets"]).count() > 0, "{name}: {title} asks nothing");
            for target in items(&panel["targets"]) {
                let asked = word(&target["expr"]);
                ensure!(asked.contains("$namespace"), "{name}: {title} is of all namespaces");
                ensure!(target["datasource"]["uid"] == "${datasource}", "{title}: a data source");
            }
        }
        for asked in self.expressions() {
            ensure!(!asked.contains('$'), "{name}: a variable that nobody sets in {asked}");
        }
        Ok(())
    }
}
