//! What the tests need from outside the workspace: which, in which version, and where it is put.
//!
//! Everything is pinned and kept under `.cache/tools`, in a directory named after a hash of what
//! asked for it, so that a changed pin installs anew and an unchanged one costs nothing. An
//! installation is prepared beside its place and renamed into it: a directory that exists is whole.
//! Nothing is installed while a test runs; a test that lacks a tool fails and names the command.

pub mod debian;
pub mod deny;
pub mod go;
pub mod java;
pub mod kubernetes;
pub mod maven;
pub mod npm;
pub mod pypi;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::{process, workspace};

/// The longest that one installation may take, cold, on a slow line.
const INSTALL_SECONDS: u64 = 1_200;

/// Eight hexadecimal digits that change whenever one of `parts` does.
fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    format!("{:08x}", hasher.finalize())
}

/// The installed directory `name`, or an error that says how to get it.
fn installed(name: &str) -> Result<PathBuf> {
    let place = workspace::tools_dir().join(name);
    if !place.is_dir() {
        let stage = if name.starts_with(kubernetes::PREFIX) { "kubernetes" } else { "tools" };
        bail!("{} is not installed: run `cargo ci {stage}`", place.display());
    }
    Ok(place)
}

/// Makes the directory `name` by `prepare`, unless it is there already.
fn install(name: &str, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = workspace::tools_dir().join(name);
    if place.is_dir() {
        return Ok(place);
    }
    let draft = workspace::tools_dir().join(format!("{name}.partial"));
    if draft.exists() {
        fs::remove_dir_all(&draft).with_context(|| format!("remove {}", draft.display()))?;
    }
    fs::create_dir_all(&draft).with_context(|| format!("create {}", draft.display()))?;
    prepare(&draft).with_context(|| format!("install {name}"))?;
    fs::rename(&draft, &place).with_context(|| format!("move into {}", place.display()))?;
    Ok(place)
}

/// Runs one step of an installation and logs what it prints.
fn step(name: &str, command: &mut Command) -> Result<()> {
    step_within(INSTALL_SECONDS, name, command)
}

/// The same, for a step that takes longer than most.
fn step_within(seconds: u64, name: &str, command: &mut Command) -> Result<()> {
    let log = workspace::output_dir().join("tools").join(format!("{name}.log"));
    process::run(name, command, &log, Deadline::seconds(seconds)).map(drop)
}

/// Installs every tool that is missing, and prints a line for each.
pub fn install_all() -> Result<()> {
    debian::install(&debian::NEEDED)?;
    for release in maven::RELEASES {
        let jars = maven::install(release)?;
        println!("tools: kafka {} in {}", release.version, jars.display());
    }
    println!("tools: ZooKeeper in {}", maven::install_zookeeper()?.display());
    println!("tools: kafka-python in {}", pypi::install()?.display());
    println!("tools: kafkajs in {}", npm::install()?.display());
    println!("tools: franz-go in {}", go::install()?.display());
    Ok(())
}
