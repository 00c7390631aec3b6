//! What Helm makes of the chart with a set of values.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{directory, files, parse, stem};
use crate::tools::kubernetes;

/// The namespace that every value set of the chart is written for.
pub const NAMESPACE: &str = "ottla-ci";

/// The release that is rendered.
pub const RELEASE: &str = "ci";

/// The Kubernetes that is rendered for: a Helm of ours does not know a default that the chart takes.
const VERSION: &str = "1.34.0";

/// A set of values in `ci/`.
#[derive(Debug, Clone)]
pub struct Values {
    /// The name of its file.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

impl Values {
    /// Every set, by name.
    pub fn all() -> Result<Vec<Self>> {
        let sets = files("ci", "yaml")?.into_iter();
        Ok(sets.map(|path| Self { name: stem(&path), path }).collect())
    }

    /// What `helm template` makes of it.
    pub fn render(&self) -> Result<Vec<Value>> {
        let values = format!("--values={}", self.path.display());
        objects(&template(&[&values])?).with_context(|| format!("read what {} renders", self.name))
    }

    /// Has Helm look for what is wrong.
    pub fn lint(&self) -> Result<()> {
        let mut helm = Command::new(kubernetes::helm()?);
        helm.args(["lint", "--strict", "--kube-version", VERSION, "--namespace", NAMESPACE]);
        let said = call(helm.arg("--values").arg(&self.path).arg(directory()))?;
        // A template that fails is no finding to Helm.
        if said.contains("Fail:") || said.contains("[WARNING]") {
            bail!("{}: {said}", self.name);
        }
        Ok(())
    }
}

/// What `helm template` prints with these arguments besides.
pub fn template(arguments: &[&str]) -> Result<String> {
    let mut helm = Command::new(kubernetes::helm()?);
    helm.args(["template", RELEASE]).arg(directory());
    helm.args(["--kube-version", VERSION, "--namespace", NAMESPACE]);
    call(helm.args(arguments))
}

/// The objects in what Helm prints.
pub fn objects(printed: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in printed.split("\n---\n") {
        let object = parse(document.trim_start_matches("---\n"))
            .with_context(|| format!("read {document}"))?;
        if !object.is_null() {
            objects.push(object);
        }
    }
    Ok(objects)
}

/// Runs Helm, which keeps nothing, and returns all that it says.
fn call(helm: &mut Command) -> Result<String> {
    let home = tempfile::tempdir().context("make a directory for Helm")?;
    let output = helm.env("HOME", home.path()).output().context("run helm")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!("{helm:?}: {}{}", text(&output.stderr), text(&output.stdout));
    }
    Ok(text(&output.stdout) + &text(&output.stderr))
}
