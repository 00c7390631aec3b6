//! kafkajs and its codecs, as the lock file beside the client program pins them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{fingerprint, install as install_dir, installed, step};
use crate::workspace;

fn directory() -> Result<String> {
    let sources = workspace::client_sources().join("node");
    let manifest = fs::read(sources.join("package.json")).context("read package.json")?;
    let lock = fs::read(sources.join("package-lock.json")).context("read package-lock.json")?;
    Ok(format!("npm-{}", fingerprint(&[&manifest, &lock])))
}

/// The directory whose `node_modules` the client program resolves its imports from.
pub fn modules() -> Result<PathBuf> {
    Ok(installed(&directory()?)?.join("node_modules"))
}

/// Installs the locked packages.
pub fn install() -> Result<PathBuf> {
    install_dir(&directory()?, |draft| {
        let sources = workspace::client_sources().join("node");
        for name in ["package.json", "package-lock.json"] {
            fs::copy(sources.join(name), draft.join(name))
                .with_context(|| format!("copy {name}"))?;
        }
        let mut npm = Command::new("npm");
        npm.current_dir(draft).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
        step("npm", &mut npm)
    })
}
