//! The side that is not measured, halted: idle virtual machines wake often enough to be seen in the
//! hundredth-slowest record of the other side.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Processes that are halted until this is dropped.
#[derive(Debug, Default)]
pub struct Frozen(Vec<Pid>);

impl Frozen {
    /// Halts `processes`.
    ///
    /// # Errors
    /// When one is gone; those that were halted go on.
    pub fn halt(processes: impl IntoIterator<Item = u32>) -> Result<Self> {
        let mut frozen = Self::default();
        for process in processes {
            let process = i32::try_from(process).ok().and_then(Pid::from_raw);
            let process = process.context("a process id")?;
            kill_process(process, Signal::STOP).context("halt the other side")?;
            frozen.0.push(process);
        }
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.0 {
            // Whoever is gone needs no waking.
            let _ = kill_process(*process, Signal::CONT);
        }
    }
}
