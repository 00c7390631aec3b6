//! What `cargo ci` runs: the stages in order, each a list of commands, and the table at the end.
//!
//! A stage that fails does not stop those after it: one run shows everything that is wrong. Nothing
//! is skipped unless it was left out by name, and the table says so. What compiles has the machine to itself; what waits
//! for servers and clients runs beside another stage.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::deadline::Stopwatch;
use crate::image::ottla::{self, Parts};
use crate::kubernetes::ottla::builds;
use crate::{matrix, peer, tools, workspace};

mod lanes;
mod shown;

use shown::shown;

/// A named part of the run.
#[derive(Debug)]
pub struct Stage {
    /// What a person calls it by.
    pub name: &'static str,
    /// One line of what it checks.
    pub about: &'static str,
    /// Whether it is left out unless it is named: what it checks changes rarely, and takes long.
    pub only_by_name: bool,
    /// Whether it waits more than it works, and may run beside another such stage.
    waits: bool,
    run: fn(&Options) -> Result<()>,
}

/// What the command line chose for every stage.
#[derive(Debug, Clone)]
pub struct Options {
    /// The broker that the client tests run against: `ottla` or `kafka`.
    pub peer: String,
}

const fn stage(name: &'static str, about: &'static str, run: fn(&Options) -> Result<()>) -> Stage {
    Stage { name, about, only_by_name: false, waits: false, run }
}

/// One that may run beside another.
const fn waits(name: &'static str, about: &'static str, run: fn(&Options) -> Result<()>) -> Stage {
    Stage { waits: true, ..stage(name, about, run) }
}

/// Every stage, in the order of a whole run: cheap and telling ones first, then those that run side by side.
pub const STAGES: &[Stage] = &[
    stage("fmt", "rustfmt changes nothing", fmt),
    stage("tidy", "sources keep the rules of the house", tidy),
    stage("clippy", "no warning in any target", clippy),
    stage("deny", "licences, bans and sources of dependencies", deny),
    stage("unit", "tests beside the code, in every broker crate", unit),
    stage("tools", "installs what the stages below need", install),
    stage("build", "what is seen from outside, compiled at once", build),
    stage("charts", "the Helm chart with every set of values, its alerts", charts),
    stage("syscalls", "what a Produce costs in system calls", syscalls),
    stage(
        "kubernetes",
        "a real Kubernetes, built once, its faults, and the chart on it",
        kubernetes,
    ),
    stage("operator", "clusters and topics on that Kubernetes, under load", operator),
    // The longest first: two of them run at a time.
    waits("cluster", "faults that lose nothing acknowledged", cluster),
    waits("zookeeper", "both stores and a ZooKeeper agree; a broker lives in one", zookeeper),
    waits("clients", "real clients, and the matrix of what they did", clients),
    waits("knocks", "kill -9 under load, bad frames", knocks),
    waits("kafka-disk", "Kafka reads our disk and we read Kafka's", kafka_disk),
    waits("metrics", "known dashboards get answers from Prometheus", metrics),
    Stage {
        only_by_name: true,
        ..stage("mixed", "one broker of Kafka among ours, and two", mixed)
    },
    Stage {
        only_by_name: true,
        ..stage("planted", "faults planted in the broker are found in minutes", planted)
    },
    Stage {
        only_by_name: true,
        ..stage(
            "rolls",
            "restarts, upgrades and faults on that Kubernetes; a thousand topics",
            rolls,
        )
    },
    Stage {
        only_by_name: true,
        ..stage("image", "the image of both programs, as released, is small enough", image)
    },
];

/// The tests of the `clients` stage.
const CLIENTS: [&str; 7] = [
    "client_kcat",
    "client_rdkafka",
    "client_java",
    "client_console",
    "client_kafka_python",
    "client_kafkajs",
    "client_franz_go",
];

/// What became of a stage.
#[derive(Debug)]
struct Line {
    name: &'static str,
    outcome: Option<Result<(), String>>,
    time: Duration,
}

/// Runs the stages named by `chosen`, or all when it is empty, and prints the table.
///
/// Fails when a stage failed or a name is unknown.
pub fn run(chosen: &[String], options: &Options) -> Result<()> {
    for name in chosen {
        if !STAGES.iter().any(|stage| stage.name == name) {
            let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
            bail!("no stage {name}; the stages are {}", names.join(", "));
        }
    }
    let whole = Stopwatch::start();
    let is_wanted = |stage: &Stage| match chosen {
        [] => !stage.only_by_name,
        chosen => chosen.iter().any(|name| name == stage.name),
    };
    let wanted: Vec<&'static Stage> = STAGES.iter().filter(|stage| is_wanted(stage)).collect();
    // One alone shows what it prints as it prints it.
    let (beside, in_turn): (Vec<_>, Vec<_>) =
        wanted.iter().partition(|stage| stage.waits && wanted.len() > 1);
    let mut lines: Vec<Line> = in_turn.into_iter().map(|stage| alone(stage, options)).collect();
    lines.extend(lanes::run(&beside, options));
    let left_out = STAGES.iter().filter(|stage| !is_wanted(stage));
    lines.extend(left_out.map(|stage| Line {
        name: stage.name,
        outcome: None,
        time: Duration::ZERO,
    }));
    conclude(&lines, whole.elapsed())
}

fn alone(stage: &'static Stage, options: &Options) -> Line {
    let time = Stopwatch::start();
    println!("\n== {}: {}", stage.name, stage.about);
    let outcome = (stage.run)(options).map_err(|error| format!("{error:#}"));
    if let Err(error) = &outcome {
        println!("-- {} failed: {}", stage.name, first_line(error));
    }
    Line { name: stage.name, outcome: Some(outcome), time: time.elapsed() }
}

fn conclude(lines: &[Line], time: Duration) -> Result<()> {
    println!("\nstage         time     outcome");
    let (mut passed, mut failed, mut left_out) = (0, 0, Vec::new());
    for Line { name, outcome, time } in lines {
        let outcome = match outcome {
            None => {
                left_out.push(*name);
                continue;
            }
            Some(Ok(())) => {
                passed += 1;
                "passed".to_owned()
            }
            Some(Err(error)) => {
                failed += 1;
                format!("FAILED: {}", first_line(error))
            }
        };
        println!("{name:12} {:>6.1} s  {outcome}", time.as_secs_f64());
    }
    println!("{:12} {:>6.1} s", "in all", time.as_secs_f64());
    println!("{passed} passed, {failed} failed");
    if !left_out.is_empty() {
        println!("not asked for: {}", left_out.join(", "));
    }
    for Line { name, outcome, .. } in lines {
        if let Some(Err(error)) = outcome {
            println!("\n-- {name} failed: {error}");
        }
    }
    if failed > 0 {
        bail!("{failed} of {} stages failed", passed + failed);
    }
    Ok(())
}

fn first_line(error: &str) -> &str {
    error.lines().next().unwrap_or_default()
}

/// A cargo command at the root of the workspace.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(workspace::root()).args(arguments);
    command
}

fn fmt(_: &Options) -> Result<()> {
    shown(&mut cargo(&["fmt", "--all", "--check"]))
}

fn tidy(_: &Options) -> Result<()> {
    shown(&mut cargo(&["test", "--quiet", "--package", "e2e", "--lib", "--test", "tidy"]))
}

fn clippy(_: &Options) -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    shown(&mut cargo(&arguments))
}

fn deny(_: &Options) -> Result<()> {
    let mut deny = Command::new(tools::deny::install()?);
    deny.current_dir(workspace::root());
    // Advisories need a database that lives outside the package registries.
    deny.args(["--workspace", "--config", ".deny.toml", "--log-level", "error", "check"]);
    shown(deny.args(["--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

fn unit(_: &Options) -> Result<()> {
    shown(&mut cargo(&["test", "--workspace", "--exclude", "e2e", "--quiet", "--no-fail-fast"]))
}

fn install(_: &Options) -> Result<()> {
    tools::install_all()
}

/// Compiles every test and program of this crate, and what they start, so that no stage waits for another's compiler.
fn build(_: &Options) -> Result<()> {
    // The broker alone: with others beside it, its dependencies would have other features.
    let broker = ["build", "--quiet", "--package", "broker-server", "--bin", "ottla-broker"];
    shown(&mut cargo(&broker))?;
    shown(&mut cargo(&["test", "--quiet", "--package", "e2e", "--no-run"]))
}

/// Seconds, but for the first time, when Helm is built.
fn charts(options: &Options) -> Result<()> {
    tools::kubernetes::install_helm()?;
    end_to_end(&["charts"], options)
}

fn zookeeper(options: &Options) -> Result<()> {
    end_to_end(
        &[
            "zookeeper_contract",
            "move_coordination",
            "cluster_membership",
            "cluster_metrics",
            "cluster_nearby",
            "cluster_retries",
            "cluster_tools",
        ],
        options,
    )
}

fn clients(options: &Options) -> Result<()> {
    matrix::clear(&options.peer)?;
    let outcome = end_to_end(&CLIENTS, options);
    println!("\n{}", matrix::draw(&matrix::rows(&options.peer)?));
    outcome
}

fn kafka_disk(options: &Options) -> Result<()> {
    end_to_end(&["kafka_disk"], options)
}

fn knocks(options: &Options) -> Result<()> {
    let tests = [
        "knocks",
        "knocks_in_flight",
        "bad_input",
        "bad_frames",
        "bad_records",
        "bombs",
        "bytes_in_flight",
        "slow_readers",
        "open_files",
        "log_dirs",
        "bench_ends",
    ];
    end_to_end(&tests, options)
}

/// A cluster with one broker of Kafka or with two, whichever is drawn, and three minutes of all kinds of
/// faults over three of ours: choices that were made before, and fresh ones, whose seed is told.
fn cluster(options: &Options) -> Result<()> {
    let tests = ["cluster_bed", "cluster_mixed"];
    let (drawn, other) = if fastrand::bool() { MIXED } else { (MIXED.1, MIXED.0) };
    println!("drawn: {drawn} in a cluster; `cargo ci mixed` has both");
    shown(&mut tests_of(&tests, options, &["--skip", other]))?;
    bed(&["--minutes", "1.5", "--seed", "3"])?;
    bed(&["--minutes", "1.5"])
}

/// The tests of `cluster_mixed`, each of which takes minutes.
const MIXED: (&str, &str) = ("one_of_kafka", "two_of_kafka");

/// Both.
fn mixed(options: &Options) -> Result<()> {
    end_to_end(&["cluster_mixed"], options)
}

/// What the bed finds when there is something to find, and how soon.
fn planted(_: &Options) -> Result<()> {
    bed(&["--planted", "all"])
}

/// Builds Kubernetes where it is not there yet, which takes minutes, and sees that it does what tests need.
fn kubernetes(options: &Options) -> Result<()> {
    tools::kubernetes::install()?;
    end_to_end(&["kubernetes_bed", "charts_server"], options)
}

/// From nothing to a record, topics, and brokers that come and go.
fn operator(options: &Options) -> Result<()> {
    on_kubernetes(&["operator_topics", "operator_scale"], options)
}

/// All that may become of brokers, a quarter of an hour of it; and many topics.
fn rolls(options: &Options) -> Result<()> {
    on_kubernetes(&["operator_rolls", "operator_many"], options)
}

/// Release builds take minutes.
fn image(_: &Options) -> Result<()> {
    let release = builds::target()?.0.join("release");
    for (package, binary) in [("broker-server", "ottla-broker"), ("operator", "ottla-operator")] {
        let build = ["build", "--quiet", "--release", "--package", package, "--bin", binary];
        shown(&mut cargo(&build))?;
    }
    let parts = Parts {
        broker: release.join("ottla-broker"),
        operator: Some(release.join("ottla-operator")),
        name: format!("localhost/ottla:{}", env!("CARGO_PKG_VERSION")),
    };
    let output = workspace::output_dir().join("ottla.tar");
    let size = ottla::write(&parts, &output)?;
    println!("{} in {}: {size} bytes", parts.name, output.display());
    Ok(())
}

/// One after the other: each has a Kubernetes of its own, and tells for minutes what it sees.
fn on_kubernetes(tests: &[&str], options: &Options) -> Result<()> {
    tools::kubernetes::install()?;
    tests.iter().try_for_each(|test| shown(&mut tests_of(&[test], options, &["--nocapture"])))
}

fn bed(arguments: &[&str]) -> Result<()> {
    let mut command = cargo(&["run", "--quiet", "--package", "e2e", "--bin", "cluster", "--"]);
    shown(command.args(arguments))
}

fn syscalls(options: &Options) -> Result<()> {
    end_to_end(&["syscalls"], options)
}

fn metrics(options: &Options) -> Result<()> {
    end_to_end(&["metrics_prometheus"], options)
}

/// Runs tests of this crate, all of them even when one fails.
fn end_to_end(tests: &[&str], options: &Options) -> Result<()> {
    shown(&mut tests_of(tests, options, &[]))
}

/// The command for that, with more arguments for the tests themselves.
fn tests_of(tests: &[&str], options: &Options, arguments: &[&str]) -> Command {
    let mut command = cargo(&["test", "--quiet", "--package", "e2e", "--no-fail-fast"]);
    for test in tests {
        command.args(["--test", test]);
    }
    // Each test has brokers and clients of its own: two at a time fill two cores.
    command.args(["--", "--test-threads=2"]).args(arguments);
    // The errors say what was waited for; where in the harness that was helps nobody.
    command.env(peer::VARIABLE, &options.peer).env("RUST_LIB_BACKTRACE", "0");
    command
}
