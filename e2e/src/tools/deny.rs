//! cargo-deny, compiled once.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{install as install_dir, step};

const VERSION: &str = "0.20.2";

/// It runs for a second, so that its own profile (`lto = "fat"`, one codegen unit) is not worth the minutes.
const PROFILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

/// The program, compiled first if it is not there yet.
pub fn install() -> Result<PathBuf> {
    let place = install_dir(&format!("cargo-deny-{VERSION}"), |draft| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.envs(PROFILE).args([
            "install",
            "--locked",
            "--quiet",
            "--version",
            VERSION,
            "--root",
        ]);
        step("cargo-deny", cargo.arg(draft).arg("cargo-deny"))
    })?;
    Ok(place.join("bin/cargo-deny"))
}
