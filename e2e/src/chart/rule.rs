//! The alerts of `rules/`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{files, items, parse, word};

/// An alert.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// When it is given.
    pub expression: String,
    /// As Prometheus reads it.
    pub rule: Value,
}

/// Every alert of the files in `rules/`.
pub fn alerts() -> Result<Vec<Alert>> {
    let mut all = Vec::new();
    for path in files("rules", "yaml")? {
        let text = std::fs::read_to_string(&path).context("read a file of rules")?;
        let file = parse(&text).with_context(|| format!("read {}", path.display()))?;
        for rule in items(&file["groups"]).flat_map(|group| items(&group["rules"])) {
            let (name, expression) = (word(&rule["alert"]), word(&rule["expr"]));
            all.push(Alert {
                name: name.to_owned(),
                expression: expression.to_owned(),
                rule: rule.clone(),
            });
        }
    }
    Ok(all)
}

impl Alert {
    /// Fails where somebody who is woken by it would not know what is wrong and what to do.
    pub fn explains_itself(&self) -> Result<()> {
        let name = &self.name;
        ensure!(name.starts_with("Ottla"), "{name:?} is no name of an alert of ours");
        let severity = word(&self.rule["labels"]["severity"]);
        ensure!(["critical", "warning", "info"].contains(&severity), "{name}: {severity:?}");
        for line in ["summary", "description", "runbook"] {
            let text = word(&self.rule["annotations"][line]);
            ensure!(text.ends_with('.') && !text.contains('\n'), "{name} has no {line}: {text:?}");
        }
        Ok(())
    }

    /// The labels that its annotations name.
    pub fn told_labels(&self) -> Vec<String> {
        let annotations = self.rule["annotations"].to_string();
        let parts = annotations.split("$labels.").skip(1);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        parts.map(|part| part.chars().take_while(|&c| is_word(c)).collect()).collect()
    }
}
