//! The limit on open files: as high as the system lets this process go.
//!
//! Every segment and every connection is an open file; shells and service managers start a process
//! with 1,024. The Java virtual machine does the same for Kafka (`MaxFDLimit`). Kafka lets connections
//! use up all of them, and takes its log directories offline then; here a part is kept for logs.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Below this a broker with some topics runs out.
const ENOUGH: u64 = 16_384;

/// The part of all descriptors that connections do not get: the next segments are opened from it.
const KEPT_PART: u64 = 4;

/// Returns the first descriptor that is kept for logs; absent if there is no limit.
///
/// The kernel gives the lowest that is free, so whoever gets this one or a higher one knows that all
/// below are in use.
pub fn kept_from() -> Option<i32> {
    let limit = getrlimit(Resource::Nofile).current?;
    i32::try_from(limit - limit / KEPT_PART).ok()
}

/// Raises the soft limit of this process to its hard limit.
///
/// # Errors
/// What the kernel answers.
pub fn raise() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    if let Some(files) = limit.current.filter(|files| *files < ENOUGH) {
        tracing::warn!(files, "few open files are allowed: raise the hard limit (ulimit -Hn)");
    }
    Ok(())
}
