//! Ottla's own image: both binaries, the few files of the C library that they need, and no shell.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::Image;

/// The most bytes that the archive may have.
pub const SIZE_LIMIT: u64 = 30 << 20;

/// Where a container keeps its data unless it is told otherwise; a volume takes its place.
const DATA: &str = "/var/lib/ottla";

/// What goes into the image.
#[derive(Debug)]
pub struct Parts {
    /// The broker's binary, which a container starts.
    pub broker: PathBuf,
    /// The operator's binary, if it is to be in it.
    pub operator: Option<PathBuf>,
    /// Name and tag. A name without a host is not what containerd takes it for.
    pub name: String,
}

/// Writes the image to `output`, and returns its size in bytes.
///
/// Fails when it is larger than [`SIZE_LIMIT`]; the archive is left for a look.
pub fn write(parts: &Parts, output: &Path) -> Result<u64> {
    let size = write_any(parts, output, 9)?;
    ensure!(
        size < SIZE_LIMIT,
        "{} has {size} bytes, {SIZE_LIMIT} is the most: build the binaries with --release",
        output.display()
    );
    Ok(size)
}

/// The same of whatever size: for images that stay on this machine, whose layer is best not compressed.
pub fn write_any(parts: &Parts, output: &Path, compression: u32) -> Result<u64> {
    let directory = tempfile::tempdir().context("create a directory for stripped binaries")?;
    let mut image = Image::new(&parts.name, &["/bin/ottla-broker"]);
    DATA.clone_into(&mut image.working_directory);
    image.compression = compression;
    image.files.base();
    image.files.directory(DATA, 0o755, image.user);
    let binaries =
        [("ottla-broker", Some(&parts.broker)), ("ottla-operator", parts.operator.as_ref())];
    for (name, source) in binaries {
        let Some(source) = source else { continue };
        let stripped = directory.path().join(name);
        strip(source, &stripped)?;
        image.files.program(&format!("/bin/{name}"), &stripped)?;
    }
    image.write(output)
}

/// A copy without the tables that only a debugger reads, which are three quarters of a binary.
fn strip(source: &Path, target: &Path) -> Result<()> {
    let mut command = Command::new("strip");
    command.arg("-o").arg(target).arg(source);
    let output = command.output().context("run strip, of Debian's package binutils")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("strip {} ended with {}: {}", source.display(), output.status, said.trim());
    }
    Ok(())
}
