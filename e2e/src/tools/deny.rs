//! cargo-deny, compiled once.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{install as install_dir, step};

const VERSION: &str = "0.20.2";

/// The program, compiled first if it is not there yet.
pub fn install() -> Result<PathBuf> {
    let place = install_dir(&format!("cargo-deny-{VERSION}"), |draft| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["install", "--locked", "--quiet", "--version", VERSION, "--root"]);
        step("cargo-deny", cargo.arg(draft).arg("cargo-deny"))
    })?;
    Ok(place.join("bin/cargo-deny"))
}
