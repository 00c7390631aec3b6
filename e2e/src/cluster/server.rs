//! One process on one host that is started, stopped, killed and halted, and kept up between faults.
//!
//! A server that nobody holds is meant to run: [`Server::keep_up`], called every now and then, starts
//! it again when it has ended. What holds it down is counted, so that faults may overlap.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustix::process::Signal;

use super::network::Host;
use crate::deadline::{Deadline, Stopwatch};
use crate::process::Process;
use crate::workspace;

/// An orderly stop moves leaders first; one that takes longer is ended by force.
const STOP_SECONDS: u64 = 40;

/// How to start the process, and how to know that it serves.
pub struct Recipe {
    /// The command, not yet bound to the host.
    pub command: Box<dyn Fn() -> Result<Command> + Send + Sync>,
    /// Whether a line that it printed says that it serves.
    pub serves: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// A process with a place.
pub struct Server {
    /// What a person calls it; names its log.
    pub name: String,
    /// Where it runs.
    pub host: Host,
    recipe: Recipe,
    process: Mutex<Option<Running>>,
    holds: AtomicU32,
    unexpected_ends: Mutex<Vec<String>>,
}

/// How a process ended that was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    InOrder,
    /// It took too long, and was killed.
    ByForce,
    /// It did not run: nobody was told anything.
    RanNot,
}

#[derive(Debug)]
struct Running {
    process: Process,
    since: Stopwatch,
    serves: bool,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Server {
    /// A server that does not run yet.
    pub fn new(name: &str, host: Host, recipe: Recipe) -> Self {
        Self {
            name: name.to_owned(),
            host,
            recipe,
            process: Mutex::new(None),
            holds: AtomicU32::new(0),
            unexpected_ends: Mutex::default(),
        }
    }

    /// Where everything that it prints is kept.
    pub fn log(&self) -> PathBuf {
        workspace::output_dir().join("logs").join(format!("cluster-{}.log", self.name))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, Vec<String>> {
        self.unexpected_ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last words of each process that ended without being told to.
    pub fn unexpected_ends(&self) -> Vec<String> {
        self.ends().clone()
    }

    /// Keeps it from being started by [`Server::keep_up`] until as many releases.
    pub fn hold(&self) {
        self.holds.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes one hold back.
    pub fn release(&self) {
        self.holds.fetch_sub(1, Ordering::SeqCst);
    }

    /// Starts it if it does not run, without waiting until it serves.
    pub fn start(&self) -> Result<()> {
        let mut running = self.lock();
        if running.is_some() {
            return Ok(());
        }
        let mut command = self.host.command(&(self.recipe.command)()?);
        let process = Process::spawn(&self.name, &mut command, &self.log())?;
        *running = Some(Running { process, since: Stopwatch::start(), serves: false });
        Ok(())
    }

    /// Whether it runs and has said that it serves.
    pub fn serves(&self) -> bool {
        let mut running = self.lock();
        let Some(running) = running.as_mut() else { return false };
        if running.process.has_ended().unwrap_or(true) {
            return false;
        }
        if !running.serves {
            running.serves = running.process.has_said(|line| (self.recipe.serves)(line));
        }
        running.serves
    }

    /// Waits until it serves.
    pub fn wait_until_it_serves(&self, deadline: Deadline) -> Result<()> {
        let served =
            deadline.poll(&format!("{} to serve", self.name), || Ok(self.serves().then_some(())));
        served.map_err(|error| match self.lock().as_ref() {
            Some(running) => running.process.complain(&error.to_string()),
            None => error,
        })
    }

    /// Whether it runs, serving or not.
    pub fn runs(&self) -> bool {
        self.lock().as_mut().is_some_and(|it| !it.process.has_ended().unwrap_or(true))
    }

    /// Removes a process that ended by itself, and starts it again unless it is held or `may` refuses.
    pub fn keep_up(&self, may: impl FnOnce() -> bool) -> Result<()> {
        let held = self.holds.load(Ordering::SeqCst) > 0;
        {
            let mut running = self.lock();
            let ended = match running.as_mut() {
                Some(it) => it.process.has_ended()?,
                None => false,
            };
            if ended && let Some(it) = running.take() {
                self.ends().push(last_words(&it.process));
            }
            if running.is_some() || held {
                return Ok(());
            }
        }
        if may() { self.start() } else { Ok(()) }
    }

    /// Stops it in order (SIGTERM); by force when that takes too long.
    pub fn stop(&self) -> Result<Ended> {
        let Some(mut running) = self.take_running()? else { return Ok(Ended::RanNot) };
        running.process.signal(Signal::TERM)?;
        let deadline = Deadline::seconds(STOP_SECONDS);
        let ended = deadline.poll("its end", || Ok(running.process.has_ended()?.then_some(())));
        if ended.is_ok() {
            return Ok(Ended::InOrder);
        }
        running.process.kill()?;
        Ok(Ended::ByForce)
    }

    /// Kills it (SIGKILL); returns whether it ran.
    pub fn kill(&self) -> Result<bool> {
        let Some(mut running) = self.take_running()? else { return Ok(false) };
        running.process.kill()?;
        Ok(true)
    }

    /// The process, no longer kept here, if it runs; what one that ended by itself said is kept.
    fn take_running(&self) -> Result<Option<Running>> {
        let Some(mut running) = self.lock().take() else { return Ok(None) };
        if running.process.has_ended()? {
            self.ends().push(last_words(&running.process));
            return Ok(None);
        }
        Ok(Some(running))
    }

    /// Halts it (SIGSTOP) or lets it go on (SIGCONT); returns whether it runs.
    pub fn halt(&self, halted: bool) -> Result<bool> {
        let mut running = self.lock();
        let Some(running) = running.as_mut() else { return Ok(false) };
        if running.process.has_ended()? {
            return Ok(false);
        }
        running.process.signal(if halted { Signal::STOP } else { Signal::CONT })?;
        Ok(true)
    }

    /// How long the present process has run, `None` where none runs.
    pub fn age(&self) -> Option<std::time::Duration> {
        let mut running = self.lock();
        let running = running.as_mut()?;
        let runs = !running.process.has_ended().unwrap_or(true);
        runs.then(|| running.since.elapsed())
    }

    /// The process id, for figures.
    pub fn process_id(&self) -> Option<u32> {
        self.lock().as_ref().map(|running| running.process.id())
    }
}

/// What a process said of its end: why it ended, its last complaint, or its last line.
fn last_words(process: &Process) -> String {
    const TELLING: [&[&str]; 2] =
        [&["FATAL", "panicked", "ottla-broker:", "no member"], &["ERROR"]];
    let lines = process.lines();
    let said = TELLING.iter().find_map(|words| {
        lines.iter().rev().find(|line| words.iter().any(|word| line.contains(word)))
    });
    said.or(lines.last()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server whose process is `script`.
    fn server(script: &str) -> Result<(tempfile::TempDir, Server)> {
        let directory = tempfile::tempdir()?;
        let host = Host { name: "nowhere".to_owned(), address: std::net::Ipv4Addr::LOCALHOST };
        let recipe =
            Recipe { command: Box::new(|| Ok(Command::new("false"))), serves: Box::new(|_| true) };
        let server = Server::new("one", host, recipe);
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        let process = Process::spawn("one", &mut command, &directory.path().join("log"))?;
        *server.lock() = Some(Running { process, since: Stopwatch::start(), serves: false });
        Ok((directory, server))
    }

    #[test]
    fn one_that_ended_by_itself_is_found_by_who_comes_to_end_it() -> Result<()> {
        for by_force in [true, false] {
            let (_directory, server) = server("echo 'FATAL no more'; exit 3")?;
            Deadline::seconds(30).poll("its end", || Ok((!server.runs()).then_some(())))?;
            assert_eq!(server.age(), None);
            if by_force {
                assert!(!server.kill()?);
            } else {
                assert_eq!(server.stop()?, Ended::RanNot);
            }
            assert_eq!(server.unexpected_ends().len(), 1);
            assert!(!server.halt(true)?);
        }
        Ok(())
    }

    #[test]
    fn one_that_runs_is_ended_and_that_is_no_finding() -> Result<()> {
        let (_directory, server) = server("exec tail -f /dev/null")?;
        assert!(server.halt(true)? && server.halt(false)?);
        assert!(server.age().is_some());
        assert!(server.kill()?);
        assert!(!server.kill()?, "it is gone");
        assert_eq!(server.stop()?, Ended::RanNot);
        assert!(server.unexpected_ends().is_empty());
        Ok(())
    }
}
