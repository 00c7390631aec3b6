//! What a cluster leaves behind when its program is killed, and who takes it away.
//!
//! A cluster has a directory, and in it a file that its program keeps locked: a lock that can be had says
//! that the program is gone. Processes, mounts and links have ended with it; its control groups and its
//! files have not, and those who start the next cluster remove them.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::control_groups;
use super::layout::Places;
use crate::workspace;

/// The file that is locked.
const LOCK: &str = "lock";
/// What a file ends with that names the first process of a host.
const HOLDER: &str = "holder";

/// A directory of one's own for a cluster, for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    /// What is in it.
    pub places: Places,
    _lock: File,
}

/// Where the clusters of this checkout are.
fn all() -> PathBuf {
    workspace::output_dir().join("kubernetes")
}

/// Locks the file at `path`, which is made if need be.
fn locked(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Lets one program at a time claim and sweep: a directory is there before its lock is.
fn alone() -> Result<File> {
    let all = all();
    fs::create_dir_all(&all).with_context(|| format!("create {}", all.display()))?;
    locked(&all.join(LOCK))
}

/// Claims a directory.
pub fn claim() -> Result<Claim> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let _alone = alone()?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let places = Places::new(&all(), &format!("{}-{number}", std::process::id()));
    let path = places.root();
    fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
    let lock = locked(&path.join(LOCK))?;
    Ok(Claim { places, _lock: lock })
}

/// Notes the first process of a host.
pub(super) fn note(places: &Places, host: &str, process: u32) -> Result<()> {
    let path = places.root().join(format!("{host}.{HOLDER}"));
    let text = format!("{process} {}", birth(process).unwrap_or_default());
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// When a process began, in the kernel's own count: its id may be another's by now.
fn birth(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, which may hold anything, ends with the last parenthesis.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Removes what clusters left whose programs are gone.
pub fn sweep() -> Result<()> {
    let _alone = alone()?;
    let all = all();
    for entry in fs::read_dir(&all).with_context(|| format!("list {}", all.display()))? {
        let entry = entry?;
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        match lock.try_lock() {
            Ok(()) => remove(&Places::new(&all, &entry.file_name().to_string_lossy()))?,
            // Its program is at work.
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", entry.path().display()));
            }
        }
    }
    Ok(())
}

/// Ends what still runs of a cluster, and removes its control groups and its directory.
pub(super) fn remove(places: &Places) -> Result<()> {
    let root = places.root();
    for entry in fs::read_dir(root).with_context(|| format!("list {}", root.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == HOLDER) {
            end_holder(&path)?;
        }
    }
    control_groups::remove(&places.control_group())?;
    fs::remove_dir_all(root).with_context(|| format!("remove {}", root.display()))
}

fn end_holder(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let Some((process, began)) = text.split_once(' ') else { return Ok(()) };
    let process: u32 = process.parse().with_context(|| format!("{}: {text}", path.display()))?;
    if birth(process).is_some_and(|now| now == began)
        && let Some(process) = Pid::from_raw(process as i32)
    {
        // It may end by itself meanwhile.
        let _ = kill_process(process, Signal::KILL);
    }
    Ok(())
}
