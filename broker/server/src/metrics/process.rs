//! What the kernel knows of this process: `/proc/self`, the limits, the space of log directories.
//!
//! Linux only; what cannot be read is left out of the page rather than reported as zero.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::snapshot::{DiskSpace, ProcessFacts};

/// Ticks of a second in `/proc/*/stat`: `USER_HZ`, 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Reads the facts of this process.
pub(super) fn read() -> ProcessFacts {
    let stat = text("/proc/self/stat").unwrap_or_default();
    let io = text("/proc/self/io").unwrap_or_default();
    // The name in parentheses may hold anything; numbers begin after it. Field 3 is the first.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let status = text("/proc/self/status").unwrap_or_default();
    ProcessFacts {
        cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS),
        start_time_seconds: field(22).zip(boot_time()).map(|(ticks, boot)| boot + ticks / TICKS),
        resident_memory_bytes: value(&status, "VmRSS:").map(|kib| kib * 1024.0),
        open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64),
        max_fds: getrlimit(Resource::Nofile).current.map(|fds| fds as f64),
        disk_read_bytes: value(&io, "read_bytes:"),
        disk_write_bytes: value(&io, "write_bytes:"),
    }
}

/// Reads how much room the file system of `path` has.
pub(super) fn disk_space(path: &Path) -> Option<DiskSpace> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(DiskSpace {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

fn boot_time() -> Option<f64> {
    value(&text("/proc/stat")?, "btime")
}

/// Finds the number behind `key` at the start of a line; a unit may follow.
fn value(text: &str, key: &str) -> Option<f64> {
    let behind = text.lines().find_map(|line| line.strip_prefix(key))?;
    behind.split_whitespace().next()?.parse().ok()
}

/// The kernel's tables are no data of ours: the seam for disks has nothing to say about them.
fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that this kernel offers is found, and is plausible.
    #[test]
    fn this_process_is_described() {
        let facts = read();
        assert!(facts.cpu_seconds.is_some_and(|seconds| seconds >= 0.0));
        assert!(facts.resident_memory_bytes.is_some_and(|bytes| bytes > 1e5));
        assert!(facts.open_fds.is_some_and(|fds| fds >= 3.0));
        assert!(facts.start_time_seconds.is_some_and(|seconds| seconds > 1.6e9));
        assert!(disk_space(Path::new("/")).is_some_and(|space| space.total_bytes > 0));
    }
}
