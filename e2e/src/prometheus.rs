//! A real Prometheus beside a test: it scrapes every second, and answers what it is asked.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::deadline::Deadline;
use crate::process::Process;
use crate::scrape::get;
use crate::workspace;

/// How long its start may take.
const START_SECONDS: u64 = 60;

/// Scrapes come every second; a rate needs a few of them.
const PATIENCE_SECONDS: u64 = 90;

/// What is scraped.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The name of the job.
    pub job: &'a str,
    /// Host and port.
    pub address: &'a str,
    /// The page.
    pub path: &'a str,
    /// Labels of all its series.
    pub labels: &'a [(&'a str, &'a str)],
}

/// How a configuration begins that scrapes every second.
pub const SCRAPES: &str = "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n";

/// A Prometheus; dropping it ends it.
#[derive(Debug)]
pub struct Prometheus {
    address: String,
    _process: Process,
}

impl Prometheus {
    /// Starts one on a port that the kernel chooses, with its data in `directory`; `name` names its log.
    pub fn start(name: &str, directory: &Path, targets: &[Target]) -> Result<Self> {
        Self::run(name, Command::new("prometheus"), directory, &configuration(targets), Ok)
    }

    /// The same by a `command` of its own, with any `configuration`; `reach` says where to find the address that it
    /// says that it listens at.
    pub fn run(
        name: &str,
        mut command: Command,
        directory: &Path,
        configuration: &str,
        reach: impl FnOnce(String) -> Result<String>,
    ) -> Result<Self> {
        let file = directory.join("prometheus.yml");
        fs::write(&file, configuration).context("write prometheus.yml")?;
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()));
        command.arg("--web.listen-address=127.0.0.1:0");
        let log = workspace::output_dir().join(format!("logs/{name}-prometheus.log"));
        let process = Process::spawn("prometheus", &mut command, &log)?;
        let address =
            process.wait_for("its address", Deadline::seconds(START_SECONDS), |line| {
                let rest = line.split_once("Listening on")?.1;
                let address = rest.split_once("address=")?.1.split_whitespace().next()?;
                Some(address.trim_matches('"').to_owned())
            })?;
        let address = reach(address)?;
        // It listens before it answers.
        Deadline::seconds(START_SECONDS)
            .poll("Prometheus to be ready", || Ok(get(&address, "/-/ready").ok()))?;
        Ok(Self { address, _process: process })
    }

    /// Whether it has at least one number for `expression`.
    pub fn has_data(&self, expression: &str) -> Result<bool> {
        let mut query = String::new();
        for byte in expression.bytes() {
            let _ = write!(query, "%{byte:02X}");
        }
        let body = get(&self.address, &format!("/api/v1/query?query={query}"))?;
        let answer: Value = serde_json::from_str(&body).context("parse Prometheus's answer")?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let series = answer["data"]["result"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(series.iter().any(|one| one["value"][1].as_str().is_some_and(|value| value != "NaN")))
    }

    /// Waits until it has data for every expression; `meanwhile` is done between two looks, since rates need something
    /// to happen between scrapes.
    pub fn wait_for_data(
        &self,
        mut expressions: Vec<String>,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        ensure!(!expressions.is_empty(), "there are expressions");
        let deadline = Deadline::seconds(PATIENCE_SECONDS);
        let outcome = deadline.poll("data for every expression", || {
            let mut still = Vec::new();
            for expression in &expressions {
                if !self.has_data(expression)? {
                    still.push(expression.clone());
                }
            }
            expressions = still;
            meanwhile()?;
            Ok(expressions.is_empty().then_some(()))
        });
        outcome.with_context(|| format!("without data:\n  {}", expressions.join("\n  ")))
    }
}

fn configuration(targets: &[Target]) -> String {
    let mut text = format!("{SCRAPES}scrape_configs:\n");
    for Target { job, address, path, labels } in targets {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}: '{value}'")).collect();
        let _ = write!(
            text,
            "  - job_name: {job}\n    metrics_path: {path}\n    static_configs:\n      - targets: ['{address}']\n        labels: {{{}}}\n",
            labels.join(", "),
        );
    }
    text
}
