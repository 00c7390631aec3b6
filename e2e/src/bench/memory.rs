//! The machine's memory, full of cached files as that of a server which has run for a while.
//!
//! A virtual machine that has just started, or that gives idle memory back to its host, pays at the first touch
//! of a page of its page cache three times and more of what the write into it costs. Whoever writes pays, so
//! that a benchmark of brokers would measure the host. Here each run beside a peer finds the page cache full
//! of a file that nobody needs: the kernel takes pages from it, which it gives up at no cost, as on any server.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};

/// Memory that is left free: what the kernel wants for itself, and what processes start with.
const FREE: u64 = 1 << 30;
/// What is read at once.
const STEP: usize = 8 << 20;

/// A file without contents, many times as large as the memory: reading it takes no disk.
#[derive(Debug)]
pub struct Memory {
    file: File,
    size: u64,
    /// How far it was read.
    position: Mutex<u64>,
}

impl Memory {
    /// Makes the file in `directory`.
    pub fn new(directory: &Path) -> Result<Self> {
        let size = 16 * amount("MemTotal:")?;
        let path = directory.join("filler");
        let file = File::options().create_new(true).read(true).write(true).open(&path);
        let file = file.with_context(|| format!("create {}", path.display()))?;
        file.set_len(size).context("size the filler")?;
        Ok(Self { file, size, position: Mutex::new(0) })
    }

    /// Fills what is free, once: a kernel may be set up to keep more free than this would leave.
    pub fn fill(&self) -> Result<()> {
        let mut position = self.position.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut buffer = vec![0; STEP];
        let free = amount("MemFree:")?.saturating_sub(FREE);
        for _ in 0..free / STEP as u64 {
            self.file.read_exact_at(&mut buffer, *position).context("read the filler")?;
            *position = (*position + STEP as u64) % (self.size - STEP as u64);
        }
        Ok(())
    }
}

/// Bytes of memory of a kind, as the kernel names it.
fn amount(kind: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("read meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(kind)).context("a kind of memory")?;
    let kilobytes = line.trim().trim_end_matches(" kB").parse::<u64>().context("an amount")?;
    Ok(kilobytes * 1024)
}
