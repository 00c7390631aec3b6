//! The control groups under which the pods of a node run, in every hierarchy of the machine.
//!
//! Kubelets ask for a group that exists in each; they make the rest below it. A machine that has only the
//! second version of control groups is refused: nothing here was seen on one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::deadline::Deadline;

const ROOT: &str = "/sys/fs/cgroup";

/// What the kernel needs to forget the processes that were killed.
const REMOVAL_SECONDS: u64 = 20;

/// Every hierarchy: of the first version, and of the second where it is mounted beside them.
fn all() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(ROOT).with_context(|| format!("list {ROOT}"))? {
        let path = entry?.path();
        // Some are linked to under a second name.
        if !path.is_symlink() && path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Those of the first version.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mut found = all()?;
    found.retain(|path| path.join("tasks").exists());
    ensure!(
        !found.is_empty(),
        "{ROOT} has no hierarchy of the first version of control groups, which the nodes are made with: \
         boot with systemd.unified_cgroup_hierarchy=0"
    );
    Ok(found)
}

/// Makes the group `cluster/node` in each.
pub(super) fn make(cluster: &str, node: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut group = hierarchy.clone();
        for part in [cluster, node] {
            let parent = group.clone();
            group.push(part);
            fs::create_dir_all(&group).with_context(|| format!("create {}", group.display()))?;
            // A new group has no processor and no memory until it is given some.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                inherit(&parent.join(file), &group.join(file))?;
            }
        }
    }
    Ok(())
}

fn inherit(from: &Path, to: &Path) -> Result<()> {
    if !to.exists() {
        return Ok(());
    }
    let value = fs::read_to_string(from).with_context(|| format!("read {}", from.display()))?;
    fs::write(to, value.trim()).with_context(|| format!("write {}", to.display()))
}

/// Removes the group `cluster` and all below it, once the processes in it are gone.
pub(super) fn remove(cluster: &str) -> Result<()> {
    let deadline = Deadline::seconds(REMOVAL_SECONDS);
    for hierarchy in all()? {
        let group = hierarchy.join(cluster);
        let what = format!("the processes in {} to be gone", group.display());
        deadline.poll(&what, || {
            remove_below(&group);
            Ok((!group.exists()).then_some(()))
        })?;
    }
    Ok(())
}

/// Removes what can be removed: a group with processes in it stays.
fn remove_below(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
