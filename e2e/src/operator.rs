//! Our operator as a process of this machine, led to an API server by a file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::broker::profile;
use crate::deadline::Deadline;
use crate::process::Process;
use crate::{logs, workspace};

/// It begins in milliseconds; a machine that also compiles gets more.
const START_SECONDS: u64 = 60;

/// Variables in which cargo tells a test about its package, and that a build script of a dependency goes by.
const TOLD: [&str; 7] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// An operator; dropping it kills it.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    /// Where it answers HTTP.
    pub address: String,
}

impl Operator {
    /// Starts it with these arguments besides; `name` names its log, `kubeconfig` leads it to the API server.
    pub fn start(name: &str, kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.env("KUBECONFIG", kubeconfig).args(arguments);
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json"]);
        let process = Process::spawn("the operator", &mut command, &logs::file(name))?;
        let deadline = Deadline::seconds(START_SECONDS);
        let address = process.wait_for("its address", deadline, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(line["address"].as_str()?.to_owned())
        })?;
        Ok(Self { process, address })
    }

    /// Stops it in order, and fails unless it ends well.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.terminate(Deadline::seconds(START_SECONDS))?;
        if !status.success() {
            return Err(self.process.complain(&format!("ended with {status} after SIGTERM")));
        }
        Ok(())
    }
}

/// The operator's binary, built once a test process in the test's own profile.
pub fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow!("build the operator: {error}"))
}

fn build() -> Result<PathBuf> {
    let profile = profile()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace::root());
    cargo.args(["build", "--quiet", "--package", "operator", "--bin", "ottla-operator"]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo tells a test of its own package would have build scripts run again, and half of the crates with them.
    for name in TOLD {
        cargo.env_remove(name);
    }
    let status = cargo.status().context("run cargo")?;
    if !status.success() {
        bail!("cargo ended with {status}");
    }
    Ok(profile.join("ottla-operator"))
}
