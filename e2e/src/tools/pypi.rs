//! kafka-python and its codecs in a virtual environment of their own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{fingerprint, install as install_dir, installed, step};
use crate::workspace;

fn requirements() -> PathBuf {
    workspace::client_sources().join("python/requirements.txt")
}

fn directory() -> Result<String> {
    let pins = fs::read(requirements()).context("read requirements.txt")?;
    Ok(format!("python-{}", fingerprint(&[&pins])))
}

/// The interpreter that sees the installed packages.
pub fn interpreter() -> Result<PathBuf> {
    Ok(installed(&directory()?)?.join("env/bin/python3"))
}

/// Makes the environment and installs the pinned packages.
pub fn install() -> Result<PathBuf> {
    install_dir(&directory()?, |draft| {
        let env = draft.join("env");
        step("python-venv", Command::new("python3").args(["-m", "venv"]).arg(&env))?;
        let mut pip = Command::new(env.join("bin/python3"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]);
        pip.arg("--requirement").arg(requirements());
        step("python-pip", &mut pip)
    })
}
