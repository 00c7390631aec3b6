//! The images that every node has: the one that holds a pod's namespaces, and one with tools for tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::image::Image;
use crate::tools::kubernetes::Programs;

/// What holds the namespaces of a pod.
pub const PAUSE: &str = "localhost/pause:1";

/// A shell with busybox's tools, and kcat; it waits until it is told to end.
pub const TOOLS: &str = "localhost/tools:1";

/// The tools of busybox that have a name of their own in `/bin`.
const NAMES: [&str; 24] = [
    "awk", "cat", "cut", "date", "df", "echo", "grep", "head", "hostname", "id", "ls", "mkdir",
    "nc", "nslookup", "rm", "sed", "seq", "sh", "sleep", "tail", "test", "tr", "wc", "wget",
];

/// Writes the archives for node `number` into `directory`.
pub(super) fn make(directory: &Path, number: u8, programs: &Programs) -> Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    for (name, image) in [("pause", pause(programs)), ("tools", tools(programs)?)] {
        let path = directory.join(format!("{name}-{number}.tar"));
        image.write(&path)?;
        archives.push(path);
    }
    Ok(archives)
}

fn pause(programs: &Programs) -> Image {
    let mut image = Image::new(PAUSE, &["/bin/pause"]);
    image.files.file("/bin/pause", &programs.pause, 0o755);
    image
}

fn tools(programs: &Programs) -> Result<Image> {
    let mut image = Image::new(TOOLS, &["/bin/pause"]);
    image.files.base();
    image.files.file("/bin/pause", &programs.pause, 0o755);
    image.files.program("/bin/busybox", &found("busybox")?)?;
    image.files.program("/bin/kcat", &found("kcat")?)?;
    for name in NAMES {
        image.files.link(&format!("/bin/{name}"), "busybox");
    }
    Ok(image)
}

/// Where a command of this machine is.
pub(crate) fn found(command: &str) -> Result<PathBuf> {
    let places = ["/usr/local/bin", "/usr/bin", "/bin"].map(Path::new);
    let place = places.iter().map(|place| place.join(command)).find(|place| place.exists());
    ensure!(place.is_some(), "{command} is not installed: run `cargo ci kubernetes`");
    place.context("a command")
}
