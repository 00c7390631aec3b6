//! The binaries of two releases: this one, and one that says that it is the next.
//!
//! The next release is the same sources under another version, in a copy of the workspace, built by itself: a broker
//! or an operator is asked for its version and answers with that of its build. Both are of the test's own profile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::deadline::Stopwatch;
use crate::workspace;

/// The version of this workspace.
pub const THIS: &str = env!("CARGO_PKG_VERSION");

/// What the other one says that it is.
pub const NEXT: &str = "0.99.0";

/// The binaries of one release.
#[derive(Debug, Clone)]
pub struct Build {
    /// Its version.
    pub version: String,
    /// `ottla-broker`.
    pub broker: PathBuf,
    /// `ottla-operator`.
    pub operator: PathBuf,
}

/// The image without its tag.
pub const IMAGE: &str = "localhost/ottla";

impl Build {
    /// Its image.
    pub fn image(&self) -> String {
        format!("{IMAGE}:{}", self.version)
    }
}

/// What cargo tells a test of its package. Build scripts that look at it would run anew, and all that needs them.
const OF_A_PACKAGE: [&str; 8] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// One cargo at a time: tests of one program ask for the same.
static BUILDING: Mutex<()> = Mutex::new(());

/// This release.
pub fn this() -> Result<Build> {
    build(workspace::root(), THIS)
}

/// The next one.
pub fn next() -> Result<Build> {
    let copy = workspace::output_dir().join("next-release");
    fs::create_dir_all(&copy).with_context(|| format!("create {}", copy.display()))?;
    for part in
        ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "broker", "operator", "crds", "e2e"]
    {
        refresh(&workspace::root().join(part), &copy.join(part))?;
    }
    build(&copy, NEXT)
}

/// The load that runs in pods, for a program that cargo has not built it for.
pub fn load() -> Result<PathBuf> {
    let building = BUILDING.lock();
    compile(workspace::root(), "e2e", "load")?;
    drop(building);
    let (target, profile) = target()?;
    Ok(target.join(profile).join("load"))
}

fn build(root: &Path, version: &str) -> Result<Build> {
    let building = BUILDING.lock();
    let time = Stopwatch::start();
    let (target, profile) = target()?;
    // One after the other: what both need would be built anew with the features of both.
    for (package, binary) in [("broker-server", "ottla-broker"), ("operator", "ottla-operator")] {
        compile(root, package, binary)?;
    }
    // The next build puts its own into the same place.
    let place = target.join(&profile).join(format!("ottla-{version}"));
    fs::create_dir_all(&place).with_context(|| format!("create {}", place.display()))?;
    let take = |name: &str| -> Result<PathBuf> {
        let kept = place.join(name);
        let draft = place.join(format!("{name}-{}", std::process::id()));
        fs::copy(target.join(&profile).join(name), &draft).context("copy a binary")?;
        fs::rename(&draft, &kept).context("copy a binary")?;
        Ok(kept)
    };
    let (broker, operator) = (take("ottla-broker")?, take("ottla-operator")?);
    drop(building);
    println!("release {version} is built after {:.1} s", time.elapsed().as_secs_f64());
    Ok(Build { version: version.to_owned(), broker, operator })
}

/// Has cargo build one program, in the target directory and the profile of the one that runs.
fn compile(root: &Path, package: &str, binary: &str) -> Result<()> {
    let (target, profile) = target()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root);
    for name in OF_A_PACKAGE {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_TARGET_DIR", &target);
    cargo.args(["build", "--quiet", "--package", package, "--bin", binary]);
    if profile == "release" {
        cargo.arg("--release");
    }
    let status = cargo.status().context("run cargo")?;
    ensure!(status.success(), "cargo in {} ended with {status}", root.display());
    Ok(())
}

/// The target directory of the program that runs, and its profile.
pub fn target() -> Result<(PathBuf, String)> {
    let test = std::env::current_exe().context("find the test's own executable")?;
    // target/<profile>/deps/<test>, or target/<profile>/<binary>.
    let profile = test.ancestors().skip(1).find(|directory| !directory.ends_with("deps"));
    let profile = profile.context("find the target directory")?;
    let name = profile.file_name().context("the name of the profile")?.to_string_lossy();
    let target = profile.parent().context("find the target directory")?;
    Ok((target.to_owned(), name.into_owned()))
}

/// Makes `copy` what `original` is, and leaves alone what is the same: its time says to cargo whether to build.
fn refresh(original: &Path, copy: &Path) -> Result<()> {
    if original.is_dir() {
        fs::create_dir_all(copy).with_context(|| format!("create {}", copy.display()))?;
        for entry in fs::read_dir(copy).with_context(|| format!("list {}", copy.display()))? {
            let path = entry?.path();
            let name = path.file_name().context("a name")?;
            if !original.join(name).exists() {
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                    .with_context(|| format!("remove {}", path.display()))?;
            }
        }
        for entry in fs::read_dir(original)? {
            let entry = entry?;
            refresh(&entry.path(), &copy.join(entry.file_name()))?;
        }
        return Ok(());
    }
    let bytes = fs::read(original).with_context(|| format!("read {}", original.display()))?;
    let is_lock = original.ends_with("Cargo.lock");
    let is_root = original == workspace::root().join("Cargo.toml");
    let bytes = if is_lock || is_root { renumbered(&bytes, is_lock)? } else { bytes };
    if fs::read(copy).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(copy, bytes).with_context(|| format!("write {}", copy.display()))
}

/// The root manifest, or the lock file, of the next release.
fn renumbered(bytes: &[u8], is_lock: bool) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(bytes).context("read a manifest")?;
    let (old, new) = (format!("version = \"{THIS}\"\n"), format!("version = \"{NEXT}\"\n"));
    if !is_lock {
        ensure!(text.contains(&old), "the workspace does not say that it is {THIS}");
        return Ok(text.replacen(&old, &new, 1).into_bytes());
    }
    // A package without a source is one of the workspace.
    let packages = text.split("[[package]]\n").map(|package| {
        if package.contains("\nsource = ") {
            package.to_owned()
        } else {
            package.replace(&old, &new)
        }
    });
    Ok(packages.collect::<Vec<_>>().join("[[package]]\n").into_bytes())
}

/// Fails unless a binary says that it is of the version.
pub fn says(binary: &Path, version: &str) -> Result<()> {
    let said = Command::new(binary).arg("--version").output().context("ask for the version")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    if !said.contains(version) {
        bail!("{} says that it is {said:?}, not {version}", binary.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_of_the_workspace_get_the_next_version() -> Result<()> {
        let lock = format!(
            "[[package]]\nname = \"a\"\nversion = \"{THIS}\"\nsource = \"registry\"\n\n\
             [[package]]\nname = \"b\"\nversion = \"{THIS}\"\n"
        );
        let text = String::from_utf8(renumbered(lock.as_bytes(), true)?)?;
        assert!(text.contains(&format!("\"a\"\nversion = \"{THIS}\"")), "{text}");
        assert!(text.contains(&format!("\"b\"\nversion = \"{NEXT}\"")), "{text}");
        Ok(())
    }
}
