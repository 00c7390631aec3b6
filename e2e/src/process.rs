//! A child process that cannot outlive its test, and whose output can be waited on.
//!
//! Each child leads a process group of its own, so that what it starts dies with it; of a program that is
//! killed the [`heir`] ends them. Both output streams are read by a thread each into one shared list of
//! lines and into a log file.

mod heir;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::deadline::Deadline;

/// How many of the last lines an error repeats.
const TAIL_LINES: usize = 30;

/// What a process has printed so far.
#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    open_streams: usize,
}

/// The lines of a process, shared between its reading threads and those who wait.
#[derive(Debug, Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running child process; dropping it kills its whole process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own, and copies what it prints to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open log {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        if let Err(error) = heir::begins(child.id()) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        let output = Arc::new(Output::default());
        let mut readers = Vec::new();
        let file = Arc::new(Mutex::new(file));
        if let Some(stream) = child.stdout.take() {
            readers.push(read_lines(stream, &output, &file));
        }
        if let Some(stream) = child.stderr.take() {
            readers.push(read_lines(stream, &output, &file));
        }
        Ok(Self { name: name.to_owned(), child, output, readers, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory in RAM that it has had so far, in KiB.
    pub fn peak_memory_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(&path).context(path)?;
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Takes the writing end of the child's standard input; dropping it closes the stream.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Whether `pick` holds for a line printed so far.
    pub fn has_said(&self, mut pick: impl FnMut(&str) -> bool) -> bool {
        self.output.lock().lines.iter().any(|line| pick(line))
    }

    /// Every line printed so far, on either stream.
    pub fn lines(&self) -> Vec<String> {
        self.output.lock().lines.clone()
    }

    /// Waits for the first line for which `pick` answers, among those already printed too.
    pub fn wait_for<T>(
        &self,
        what: &str,
        deadline: Deadline,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let mut state = self.output.lock();
        let mut seen = 0;
        loop {
            while let Some(line) = state.lines.get(seen) {
                if let Some(found) = pick(line) {
                    return Ok(found);
                }
                seen += 1;
            }
            if state.open_streams == 0 {
                drop(state);
                return Err(self.complain(&format!("ended without {what}")));
            }
            if deadline.passed() {
                drop(state);
                return Err(self.complain(&format!("did not print {what} in time")));
            }
            let slice = deadline.left().min(Duration::from_millis(200));
            state = match self.output.changed.wait_timeout(state, slice) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Waits for the end of the process, and for all that it printed.
    pub fn wait(&mut self, deadline: Deadline) -> Result<ExitStatus> {
        let status = deadline.poll(&format!("the end of {}", self.name), || {
            self.child.try_wait().map_err(anyhow::Error::from)
        });
        let status = match status {
            Ok(status) => status,
            Err(error) => return Err(self.complain(&error.to_string())),
        };
        for reader in self.readers.drain(..) {
            reader.join().map_err(|_| anyhow!("reader of {} panicked", self.name))?;
        }
        Ok(status)
    }

    /// Waits for the end of the process and fails unless it succeeded.
    pub fn wait_success(&mut self, deadline: Deadline) -> Result<Vec<String>> {
        let status = self.wait(deadline)?;
        if !status.success() {
            return Err(self.complain(&format!("ended with {status}")));
        }
        Ok(self.lines())
    }

    /// Sends SIGTERM and waits for an orderly end.
    pub fn terminate(&mut self, deadline: Deadline) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(deadline)
    }

    /// Sends SIGKILL to the process group and reaps the child.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().with_context(|| format!("reap {}", self.name))?;
        Ok(())
    }

    /// Whether it has ended by itself or been ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Sends a signal to the process group of a child that still runs.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            bail!("{} had already ended; its log is {}", self.name, self.log.display());
        }
        kill_process_group(Pid::from_child(&self.child), signal)
            .with_context(|| format!("signal {}", self.name))
    }

    /// An error that shows the last lines and where the rest is.
    pub fn complain(&self, what: &str) -> anyhow::Error {
        let state = self.output.lock();
        let from = state.lines.len().saturating_sub(TAIL_LINES);
        let tail = state.lines[from..].join("\n  ");
        anyhow!("{} {what}\n  log: {}\n  {tail}", self.name, self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group may have gone already; either way nothing of it is left afterwards.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        let _ = heir::ends(self.child.id());
    }
}

fn read_lines(
    stream: impl Read + Send + 'static,
    output: &Arc<Output>,
    file: &Arc<Mutex<File>>,
) -> JoinHandle<()> {
    let output = Arc::clone(output);
    let file = Arc::clone(file);
    output.lock().open_streams += 1;
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A log that cannot be written must not fail the test that it documents.
            let _ = writeln!(file, "{line}");
            output.lock().lines.push(line);
            output.changed.notify_all();
        }
        output.lock().open_streams -= 1;
        output.changed.notify_all();
    })
}

/// Runs `command` to its end, fails unless it succeeds, and returns the lines it printed.
pub fn run(
    name: &str,
    command: &mut Command,
    log: &Path,
    deadline: Deadline,
) -> Result<Vec<String>> {
    let mut process = Process::spawn(name, command, log)?;
    drop(process.take_stdin());
    process.wait_success(deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn a_waited_line_is_found_though_the_process_goes_on() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut command = sh("echo one; echo two=7; cat");
        let process = Process::spawn("talker", &mut command, &dir.path().join("log"))?;
        let found = process.wait_for("a number", Deadline::seconds(30), |line| {
            line.strip_prefix("two=").map(str::to_owned)
        })?;
        assert_eq!(found, "7");
        Ok(())
    }

    #[test]
    fn a_process_that_ends_early_is_reported_with_what_it_said() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut command = sh("echo boom >&2; exit 3");
        let error = run("failing", &mut command, &dir.path().join("log"), Deadline::seconds(30));
        let text = error.err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(text.contains("exit status: 3") && text.contains("boom"), "{text}");
        Ok(())
    }

    #[test]
    fn dropping_a_process_ends_its_children_too() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut command = sh("tail -f /dev/null & echo child=$!; wait");
        let process = Process::spawn("parent", &mut command, &dir.path().join("log"))?;
        let child = process.wait_for("its child", Deadline::seconds(30), |line| {
            line.strip_prefix("child=").map(str::to_owned)
        })?;
        drop(process);
        Deadline::seconds(30).poll("the end of the child", || {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            // An orphan stays listed as a zombie until init reaps it.
            Ok((stat.is_empty() || stat.contains(") Z ")).then_some(()))
        })
    }
}
