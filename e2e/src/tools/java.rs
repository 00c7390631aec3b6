//! A Java runtime of few modules, for images: that of this machine is five times as large.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{fingerprint, install as install_dir, installed, step};

/// What ZooKeeper's server loads, and what its logging looks for.
const MODULES: &str = "java.base,java.logging,java.management,java.naming,java.security.jgss,\
                       java.security.sasl,java.xml,jdk.management,jdk.unsupported";

/// The name of the directory: a runtime of another release, or of other modules, is another one.
fn directory() -> Result<String> {
    let release = home()?.join("release");
    let text = fs::read(&release).with_context(|| format!("read {}", release.display()))?;
    Ok(format!("{}java-{}", super::kubernetes::PREFIX, fingerprint(&[MODULES.as_bytes(), &text])))
}

/// Where the Java of this machine is.
fn home() -> Result<PathBuf> {
    let program = fs::canonicalize("/usr/bin/jlink")
        .context("find jlink, of Debian's package openjdk-17-jdk-headless")?;
    let home = program.ancestors().nth(2).context("the home of Java")?;
    Ok(home.to_owned())
}

/// The runtime: a directory with `bin/java` in it.
pub fn runtime() -> Result<PathBuf> {
    Ok(installed(&directory()?)?.join("runtime"))
}

/// Links the runtime, where it is not there yet.
pub fn install() -> Result<PathBuf> {
    install_dir(&directory()?, |draft: &Path| {
        let mut jlink = Command::new("jlink");
        jlink.args(["--add-modules", MODULES, "--no-header-files", "--no-man-pages"]);
        jlink.arg("--strip-debug").arg("--output").arg(draft.join("runtime"));
        step("jlink", &mut jlink)
    })
}
