//! Where the processes of a test write what they print: one file each, kept until the next run.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace;

/// Where what `client` prints is kept.
pub fn file(client: &str) -> PathBuf {
    workspace::output_dir().join("logs").join(format!("{client}.log"))
}

/// Removes the logs of an earlier run of `name`: those of its clients and of its brokers.
pub fn forget(name: &str) -> Result<()> {
    let directory = workspace::output_dir().join("logs");
    fs::create_dir_all(&directory).context("create the directory of logs")?;
    for entry in fs::read_dir(&directory).context("list old logs")? {
        let entry = entry?;
        let rest = entry.file_name().to_string_lossy().strip_prefix(name).map(str::to_owned);
        if rest.is_some_and(|rest| rest.starts_with(['-', '.'])) {
            fs::remove_file(entry.path()).context("remove an old log")?;
        }
    }
    Ok(())
}
