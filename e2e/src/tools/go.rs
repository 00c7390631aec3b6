//! The franz-go client program, built from its locked modules.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{fingerprint, install as install_dir, installed, step};
use crate::workspace;

fn sources() -> PathBuf {
    workspace::client_sources().join("go")
}

fn directory() -> Result<String> {
    let mut parts = Vec::new();
    for name in ["go.mod", "go.sum", "main.go", "operations.go", "groups.go"] {
        let part = fs::read(sources().join(name)).with_context(|| format!("read {name}"))?;
        parts.push(part);
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Ok(format!("go-{}", fingerprint(&parts)))
}

/// The built client program.
pub fn program() -> Result<PathBuf> {
    Ok(installed(&directory()?)?.join("franz"))
}

/// Builds the client program.
pub fn install() -> Result<PathBuf> {
    install_dir(&directory()?, |draft| {
        let mut go = Command::new("go");
        go.current_dir(sources()).args(["build", "-mod=readonly", "-o"]).arg(draft.join("franz"));
        step("go-build", go.arg("."))
    })
}
