//! The limit on open files: as high as the system lets this process go.
//!
//! Every segment and every connection is an open file; shells and service managers start a process
//! with 1,024. The Java virtual machine does the same for Kafka (`MaxFDLimit`).

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Below this a broker with some topics runs out.
const ENOUGH: u64 = 16_384;

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
