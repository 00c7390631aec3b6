//! Writes the custom resource definitions, one file each.

#![allow(clippy::disallowed_methods, reason = "it writes the files that it is for")]

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

/// Writes the custom resource definitions of Ottla as YAML, one file each, in place of those that are there.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to: `crds` in the root of the repository, and the same in the chart.
    #[arg(required = true)]
    directories: Vec<PathBuf>,
}

fn main() -> Result<()> {
    let Arguments { directories } = Arguments::parse();
    for (name, text) in operator::crd::files().context("write a definition as YAML")? {
        for directory in &directories {
            let path = directory.join(&name);
            std::fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}
