//! The Helm chart as it lies in the repository, and what Helm makes of it.
//!
//! [`render`] (value sets and the objects that follow from them), [`rights`] (the table that roles are made of),
//! [`safety`] (what restricted pod security asks of a pod), [`rule`] (alerts), [`dashboard`] (the expressions of panels),
//! [`expression`] (names in PromQL).

pub mod dashboard;
pub mod expression;
pub mod render;
pub mod rights;
pub mod rule;
pub mod safety;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;

/// The directory of the chart.
pub fn directory() -> PathBuf {
    workspace::root().join("charts/ottla")
}

/// Reads a file of YAML or JSON of the chart.
pub fn read(path: &str) -> Result<Value> {
    parse(&text(path)?).with_context(|| format!("read {path} of the chart"))
}

/// Reads a file of the chart.
pub fn text(path: &str) -> Result<String> {
    let path = directory().join(path);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// The files of a directory of the chart whose names end with `extension`, in order.
pub fn files(of: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let place = directory().join(of);
    let entries = fs::read_dir(&place).with_context(|| format!("list {}", place.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The name of a file without its extension.
pub fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// One document of YAML.
pub fn parse(text: &str) -> Result<Value> {
    Ok(serde_yaml::from_str(text)?)
}

/// The items of a list; none where it is no list.
pub fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text; empty where it is none.
pub fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
