//! Our broker as a process: the binary that cargo builds, on ports that the kernel chooses.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, anyhow, bail};

use crate::deadline::Deadline;
use crate::process::Process;
use crate::workspace;

/// A broker starts in milliseconds; a machine that also compiles gets more.
const START_SECONDS: u64 = 60;

/// One broker of ours.
#[derive(Debug)]
pub struct Broker {
    name: String,
    directory: PathBuf,
    settings: Vec<(String, String)>,
    open_files_max: Option<u64>,
    process: Option<Process>,
    bootstrap: String,
}

impl Broker {
    /// Starts it with `settings` above the harness's own, on data in `directory`.
    pub fn start(name: &str, directory: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let mut broker = Self::new(name, directory, settings);
        broker.launch()?;
        Ok(broker)
    }

    /// As [`Broker::start`], without waiting for it: it may be refused.
    pub fn begin(name: &str, directory: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let mut broker = Self::new(name, directory, settings);
        broker.process = Some(broker.spawn()?);
        Ok(broker)
    }

    /// Starts it where the system lets it open `open_files_max` files at once.
    pub fn start_with_few_files(
        name: &str,
        directory: &Path,
        settings: &[(&str, &str)],
        open_files_max: u64,
    ) -> Result<Self> {
        let mut broker = Self::new(name, directory, settings);
        broker.open_files_max = Some(open_files_max);
        broker.launch()?;
        Ok(broker)
    }

    fn new(name: &str, directory: &Path, settings: &[(&str, &str)]) -> Self {
        let settings =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self {
            name: name.to_owned(),
            directory: directory.to_owned(),
            settings,
            open_files_max: None,
            process: None,
            bootstrap: String::new(),
        }
    }

    /// Where clients start.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Where it answers HTTP.
    pub fn metrics(&mut self) -> Result<String> {
        let deadline = Deadline::seconds(START_SECONDS);
        self.process()?
            .wait_for("its metrics address", deadline, |line| bound_address(line, "metrics"))
    }

    /// The directory of its partitions.
    pub fn log_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The running process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the broker is not running")
    }

    /// Stops it in order, and fails unless it ends well.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.terminate(Deadline::seconds(START_SECONDS))?;
        if !status.success() {
            return Err(process.complain(&format!("ended with {status} after SIGTERM")));
        }
        Ok(())
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => bail!("the broker is not running"),
        }
    }

    /// Starts it again on the same data.
    pub fn launch(&mut self) -> Result<()> {
        let process = self.spawn()?;
        let deadline = Deadline::seconds(START_SECONDS);
        self.bootstrap =
            process.wait_for("its address", deadline, |line| bound_address(line, "PLAINTEXT"))?;
        self.process = Some(process);
        Ok(())
    }

    fn spawn(&self) -> Result<Process> {
        fs::create_dir_all(self.log_dir()).context("create the broker's directory")?;
        let mut command = match self.open_files_max {
            None => Command::new(binary()?),
            Some(max) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {max} && exec \"$0\" \"$@\""));
                shell.arg(binary()?);
                shell
            }
        };
        command.current_dir(&self.directory);
        let log_dir = self.log_dir().display().to_string();
        let fixed = [
            ("log.dirs", log_dir.as_str()),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("metrics.listener", "127.0.0.1:0"),
        ];
        for (key, value) in fixed {
            if !self.settings.iter().any(|(set, _)| set == key) {
                command.arg("--set").arg(format!("{key}={value}"));
            }
        }
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let log = workspace::output_dir().join("logs").join(format!("{}-ottla.log", self.name));
        Process::spawn("ottla-broker", &mut command, &log)
    }
}

/// The address in a line that says where `listener` listens; colours of a terminal are no hindrance.
pub(crate) fn bound_address(line: &str, listener: &str) -> Option<String> {
    let plain = without_escapes(line);
    let word = |key: &str| {
        let from = plain.find(&format!(" {key}="))? + key.len() + 2;
        let value = plain[from..].split_whitespace().next()?;
        Some(value.trim_matches('"').to_owned())
    };
    if !plain.contains("listening") || word("listener")? != listener {
        return None;
    }
    word("address")
}

/// A free port below the range from which the kernel takes ports for clients: a client that tries a killed
/// broker's port again and again could otherwise connect to itself. Another one at each call.
pub fn free_port() -> Result<u16> {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    loop {
        let port = start + TAKEN.fetch_add(1, Ordering::Relaxed);
        if port >= 32_000 {
            bail!("no port is free");
        }
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}

fn without_escapes(line: &str) -> String {
    let mut plain = String::new();
    let mut escape = false;
    for character in line.chars() {
        match (escape, character) {
            (false, '\u{1b}') => escape = true,
            (false, _) => plain.push(character),
            (true, 'm') => escape = false,
            (true, _) => {}
        }
    }
    plain
}

/// The broker's binary, built once a test process in the test's own profile.
pub fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build(None).map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow!("build the broker: {error}"))
}

/// The broker with the feature `planted`, at a place of its own.
pub fn planted_binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build(Some("planted")).map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow!("build the broker with faults planted: {error}"))
}

/// Where cargo puts the binaries of the profile that this program was built in.
pub(crate) fn profile() -> Result<PathBuf> {
    let test = std::env::current_exe().context("find the test's own executable")?;
    // target/<profile>/deps/<test>, or target/<profile>/<binary>.
    let mut above = test.ancestors().skip(1);
    let profile = above.find(|directory| !directory.ends_with("deps"));
    profile.map(Path::to_owned).context("find the target directory")
}

fn build(feature: Option<&str>) -> Result<PathBuf> {
    let profile = profile()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace::root());
    cargo.args(["build", "--quiet", "--package", "broker-server", "--bin", "ottla-broker"]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.args(feature.iter().flat_map(|feature| ["--features", feature]));
    let status = cargo.status().context("run cargo")?;
    if !status.success() {
        bail!("cargo ended with {status}");
    }
    let binary = profile.join("ottla-broker");
    let Some(feature) = feature else { return Ok(binary) };
    // The next build is another's.
    let own = profile.join(format!("ottla-broker-{feature}"));
    let copy = profile.join(format!("ottla-broker-{feature}-{}", std::process::id()));
    fs::copy(&binary, &copy).context("copy the broker")?;
    fs::rename(&copy, &own).context("copy the broker")?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_address_is_read_from_the_log_with_and_without_colours() {
        let lines = [
            "2026 INFO listening address=127.0.0.1:4000 listener=PLAINTEXT",
            "2026 \u{1b}[32mINFO\u{1b}[0m listening \u{1b}[3maddress\u{1b}[0m\u{1b}[2m=\u{1b}[0m127.0.0.1:4000 \
             \u{1b}[3mlistener\u{1b}[0m\u{1b}[2m=\u{1b}[0mPLAINTEXT",
            "INFO listening listener=\"PLAINTEXT\" address=127.0.0.1:4000",
        ];
        for line in lines {
            assert_eq!(
                bound_address(line, "PLAINTEXT").as_deref(),
                Some("127.0.0.1:4000"),
                "{line}"
            );
            assert_eq!(bound_address(line, "metrics"), None, "{line}");
        }
    }
}
