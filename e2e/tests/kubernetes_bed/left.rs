//! What a cluster leaves of itself on the machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::workspace;

/// Settings of the whole machine that kubelets change where they can.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// What no cluster may change, not even while it runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    interfaces: Vec<String>,
    settings: Vec<String>,
    mounts: usize,
}

impl Machine {
    /// As it is.
    pub(crate) fn look() -> Result<Self> {
        let mut interfaces = names("/sys/class/net")?;
        interfaces.sort();
        let settings = SETTINGS
            .map(|setting| fs::read_to_string(format!("/proc/sys/{setting}")).unwrap_or_default());
        let mounts = fs::read_to_string("/proc/self/mounts")?.lines().count();
        Ok(Self { interfaces, settings: settings.to_vec(), mounts })
    }
}

fn names(directory: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {directory}"))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// What a cluster is called in the names of its things, by the path of its kubeconfig.
pub(crate) fn id(kubeconfig: &Path) -> Result<String> {
    let directory = kubeconfig.ancestors().nth(2).and_then(Path::file_name);
    Ok(directory.context("the directory of a cluster")?.to_string_lossy().into_owned())
}

/// The processes that are in a cluster's control groups, have its paths in their commands, or hold
/// mounts of its directories.
pub(crate) fn processes(id: &str) -> Result<Vec<String>> {
    let marks = [format!("/ottla-e2e-{id}/"), format!("/kubernetes/{id}/")];
    let mut found = Vec::new();
    for process in names("/proc")?.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        // One that has ended meanwhile is none.
        let read = |file: &str| fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
        let known = ["cgroup", "cmdline", "mountinfo"].map(read).concat();
        let known = String::from_utf8_lossy(&known).into_owned();
        if marks.iter().any(|mark| known.contains(mark)) {
            found.push(String::from_utf8_lossy(&read("cmdline")).replace('\0', " "));
        }
    }
    Ok(found)
}

/// Sees that no process, mount, interface, setting or control group of a cluster is left.
pub(crate) fn nothing(id: &str, before: &Machine) -> Result<()> {
    let processes = processes(id)?;
    ensure!(processes.is_empty(), "still there: {}", processes.join("\n"));
    let now = Machine::look()?;
    ensure!(now == *before, "the machine was {before:?} and is {now:?}");
    for hierarchy in names("/sys/fs/cgroup")? {
        let group = format!("/sys/fs/cgroup/{hierarchy}/ottla-e2e-{id}");
        ensure!(!Path::new(&group).exists(), "{group} is still there");
    }
    Ok(())
}

/// Sees that its directory is gone.
pub(crate) fn no_files(id: &str) -> Result<()> {
    let directory = workspace::output_dir().join("kubernetes").join(id);
    ensure!(!directory.exists(), "{} is still there", directory.display());
    Ok(())
}
