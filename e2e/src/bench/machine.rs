//! What the kernel says: CPU of a process and of all others, memory, stolen time, limits.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

/// The kernel's clock ticks a second, fixed on every Linux of today.
const TICKS: f64 = 100.0;

/// CPU seconds of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// In user mode.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

/// CPU that process `id` has used so far.
pub fn cpu(id: u32) -> Result<Cpu> {
    let [user, system] = stat(id, [11, 12])?;
    Ok(Cpu { user, system })
}

/// Two times in seconds from `/proc/<id>/stat`, fields counted from the state on.
fn stat(id: u32, fields: [usize; 2]) -> Result<[f64; 2]> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).context("read stat")?;
    let all: Vec<&str> = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let mut seconds = [0.0; 2];
    for (second, field) in seconds.iter_mut().zip(fields) {
        let ticks: f64 = all.get(field).context("a time in stat")?.parse()?;
        *second = ticks / TICKS;
    }
    Ok(seconds)
}

/// CPU of some processes together from a moment on, to the microsecond where the kernel allows it.
#[derive(Debug)]
pub struct CpuWatch {
    ids: Vec<u32>,
    ticks: Cpu,
    threads: HashMap<OsString, u64>,
}

impl CpuWatch {
    /// Begins to watch the processes `ids`.
    pub fn start(ids: Vec<u32>) -> Result<Self> {
        let (ticks, threads) = (ticks(&ids)?, thread_nanos(&ids)?);
        Ok(Self { ids, ticks, threads })
    }

    /// Watches the processes `ids` from their birth.
    pub fn born(ids: Vec<u32>) -> Self {
        Self { ids, ticks: Cpu::default(), threads: HashMap::new() }
    }

    /// What the processes have used since: the ticks tell user from system time, the scheduler's own
    /// account of each thread tells the sum, which ticks of 10 ms are too coarse for.
    pub fn used(&self) -> Result<Cpu> {
        let now = ticks(&self.ids)?;
        let ticks =
            Cpu { user: now.user - self.ticks.user, system: now.system - self.ticks.system };
        let nanos: u64 = thread_nanos(&self.ids)?
            .iter()
            .map(|(thread, now)| now - self.threads.get(thread).unwrap_or(&0).min(now))
            .sum();
        // Threads that ended meanwhile are in the ticks alone.
        let coarse = ticks.user + ticks.system;
        let sum = (nanos as f64 / 1e9).max(coarse - 2.0 * self.ids.len() as f64 / TICKS);
        let user = if coarse > 0.0 { sum * ticks.user / coarse } else { 0.0 };
        Ok(Cpu { user, system: sum - user })
    }
}

/// CPU that the processes `ids` have used so far, by the kernel's ticks.
fn ticks(ids: &[u32]) -> Result<Cpu> {
    let mut sum = Cpu::default();
    for id in ids {
        let Cpu { user, system } = cpu(*id)?;
        sum = Cpu { user: sum.user + user, system: sum.system + system };
    }
    Ok(sum)
}

/// Nanoseconds on a core of each living thread of the processes `ids`.
fn thread_nanos(ids: &[u32]) -> Result<HashMap<OsString, u64>> {
    let mut all = HashMap::new();
    let mut tasks = Vec::new();
    for id in ids {
        tasks.extend(fs::read_dir(format!("/proc/{id}/task")).context("list the threads")?);
    }
    for task in tasks {
        let task = task?;
        // A thread may end between the listing and the look.
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        if let Some(nanos) = text.split(' ').next().and_then(|field| field.parse().ok()) {
            all.insert(task.file_name(), nanos);
        }
    }
    Ok(all)
}

/// Resident memory of process `id` in MiB.
pub fn resident(id: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("VmRSS")?;
    Ok(kilobytes.parse::<f64>()? / 1024.0)
}

/// A look at the whole machine.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    at: Instant,
    busy: f64,
    stolen: f64,
    ours: f64,
}

impl Look {
    /// Looks now; `own` are the processes that belong to the measurement beside this one.
    pub fn now(own: &[u32]) -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let tick = |index: usize| ticks.get(index).copied().unwrap_or(0.0) / TICKS;
        let mut ours = kernel_threads() + ended_children()?;
        for id in own.iter().copied().chain([std::process::id()]) {
            let used = cpu(id).unwrap_or_default();
            ours += used.user + used.system;
        }
        let busy = tick(0) + tick(1) + tick(2);
        Ok(Self { at: Instant::now(), busy, stolen: tick(7), ours })
    }

    /// The shares of the machine since `self` that others used and that the host stole, in percent.
    pub fn since(&self, own: &[u32]) -> Result<(f64, f64)> {
        let now = Self::now(own)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let whole = (now.at - self.at).as_secs_f64() * cores;
        let foreign = (now.busy - self.busy) - (now.ours - self.ours);
        Ok((100.0 * foreign.max(0.0) / whole, 100.0 * (now.stolen - self.stolen) / whole))
    }
}

/// CPU of this process's children that have ended: kcat, and brokers that a row starts for itself.
fn ended_children() -> Result<f64> {
    let [user, system] = stat(std::process::id(), [13, 14])?;
    Ok(user + system)
}

/// CPU of the kernel's own threads: write-back is the work of who wrote, not of a neighbour.
fn kernel_threads() -> f64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0.0 };
    let ids = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.is_empty()));
    ids.filter_map(|id| cpu(id).ok()).map(|used| used.user + used.system).sum()
}

/// The machine's limits now: GB/s into the page cache, and ms of an fdatasync at the median.
pub fn limits(directory: &Path) -> Result<(f64, f64)> {
    let path = directory.join("limits");
    let mut file = fs::File::create(&path)?;
    let block = vec![7_u8; 1 << 20];
    let start = Instant::now();
    for _ in 0..64 {
        file.write_all(&block)?;
    }
    let rate = f64::from(64_u32 << 20) / 1e9 / start.elapsed().as_secs_f64();
    file.sync_data()?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        file.write_all(&block[..4096])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    fs::remove_file(&path)?;
    Ok((rate, times[times.len() / 2]))
}

/// One line that names the machine.
pub fn name() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {cores} cores, memory {}, Linux {}",
        after(&read("/proc/cpuinfo"), "model name"),
        after(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}
