//! The test bed: `cargo run --release -p e2e --bin cluster -- --minutes 30 --seed 7`.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use e2e::broker;
use e2e::cluster::bed::Bed;
use e2e::cluster::beside;
use e2e::cluster::checker::Checker;
use e2e::cluster::enter;
use e2e::cluster::fault::Fault;
use e2e::cluster::figures::{self, Act};
use e2e::cluster::node::{Kind, SESSION_SECONDS, Setup};
use e2e::cluster::planted;
use e2e::cluster::run::{self, Plan};
use e2e::tools::maven;

/// Runs a cluster under load and faults, and judges what clients and disks saw.
///
/// Ends with success only if nothing acknowledged was lost, duplicated, reordered or diverged, and every
/// partition accepted acks=all within 30 s of the mend of the last fault, and if faults were done as often
/// as they should.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long faults and load go on
    #[arg(long, default_value_t = 3.0, value_parser = minutes)]
    minutes: f64,
    /// What all choices come from; a fresh one when it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// The brokers, `ottla` or `kafka` each
    #[arg(long, default_value = "ottla,ottla,ottla")]
    brokers: String,
    /// ZooKeeper servers
    #[arg(long, default_value_t = 3)]
    zookeepers: u8,
    /// Takes the ZooKeeper 3.8.4 that is inside Kafka 3.9, which loses writes when its leaders are killed
    #[arg(long)]
    old_zookeeper: bool,
    /// The most faults at once
    #[arg(long, default_value_t = 3)]
    overlapping: usize,
    /// Kinds of faults, by a part of their names, separated by commas; all when it is not given
    #[arg(long)]
    faults: Option<String>,
    /// The mean time in milliseconds between a fault's end and the next in its place
    #[arg(long, default_value_t = 2_000)]
    pause: u64,
    /// The mean time in milliseconds between two rounds of a producer
    #[arg(long, default_value_t = 60)]
    pace: u64,
    /// A setting `key=value` of all brokers above the bed's own
    #[arg(long)]
    set: Vec<String>,
    /// A file where a cluster of Kafka alone keeps what it complains of, and by which a mixed one is judged
    #[arg(long)]
    complaints: Option<PathBuf>,
    /// In place of faults at random plays the script of a mixed cluster, in these roles: `kafka` or `ottla`
    /// each, whatever the brokers are
    #[arg(long)]
    script: Option<String>,
    /// Leaves topics and their replicas alone
    #[arg(long)]
    no_churn: bool,
    /// The least faults an hour; fewer fail the run. By itself a third of what the pace allows (a sixth
    /// with Kafka), and 900 in a run of ten minutes or more with three at once
    #[arg(long)]
    least: Option<f64>,
    /// Measures how long partitions are away when a broker goes, so many times each, our brokers and Kafka's
    /// in turn; fails if a target is missed
    #[arg(long)]
    figures: Option<usize>,
    /// Which of the figures, by a part of their names, separated by commas; all when it is not given
    #[arg(long, requires = "figures")]
    figure: Option<String>,
    /// Judges a history that a run has kept, and runs nothing
    #[arg(long)]
    check: Option<PathBuf>,
    /// Plants these faults in our brokers, one after the other, or `all`, and measures how soon each is
    /// found; fails if one is not found in ten minutes
    #[arg(long)]
    planted: Option<String>,
    /// The fault that is planted in this run, which ends when a rule is broken
    #[arg(long, hide = true)]
    bug: Option<String>,
    /// Says that the namespaces are there already
    #[arg(long, hide = true)]
    inside: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes: &f64| minutes.is_finite() && *minutes > 0.0);
    minutes.ok_or_else(|| "a number above 0".to_owned())
}

fn main() -> ExitCode {
    match act(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &Arguments) -> Result<bool> {
    if let Some(file) = &arguments.check {
        return check(file);
    }
    if let Some(name) = &arguments.planted {
        return planted::hunt(name, arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)));
    }
    let kinds = Kind::parse_list(&arguments.brokers)?;
    let mut faults = chosen(arguments.faults.as_deref())?;
    if kinds.contains(&Kind::Kafka) {
        faults.retain(|fault| *fault != Fault::WipeAtOnce);
    }
    if !arguments.inside {
        if kinds.contains(&Kind::Ottla) {
            // Compiled out here, where cargo may print.
            broker::binary()?;
        }
        let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        if let Some(times) = arguments.figures {
            return compare(times.max(1), arguments);
        }
        let mut again: Vec<_> = env::args_os().skip(1).collect();
        if arguments.seed.is_none() {
            again.push(format!("--seed={seed}").into());
        }
        println!("cluster: seed {seed}; the same again: add --seed {seed}");
        again.push("--inside".into());
        return enter::enter(&again);
    }
    let zookeeper_jars =
        if arguments.old_zookeeper { maven::REFERENCE.jars()? } else { maven::zookeeper_jars()? };
    let script = arguments.script.as_deref().map(Kind::parse_list).transpose()?;
    let mut settings = settings(&arguments.set)?;
    if script.is_some() {
        // Replicas are compared after each deed, as far as high watermarks are written down.
        settings.push(("replica.high.watermark.checkpoint.interval.ms".into(), "500".into()));
    }
    let setup = Setup { settings, planted: arguments.bug.clone() };
    if let Some(times) = arguments.figures {
        let bed = Arc::new(Bed::start(&zookeeper_jars, arguments.zookeepers, &kinds, &setup)?);
        let keeper = bed.keep_up();
        figures::gaps(&bed, &Act::chosen(arguments.figure.as_deref())?, times.max(1))?;
        bed.close()?;
        keeper.join().map_err(|_| anyhow!("a thread of the harness panicked"))?;
        return Ok(true);
    }
    let mut plan = Plan {
        kinds,
        zookeeper_jars,
        zookeepers: arguments.zookeepers,
        time: Duration::from_secs_f64(arguments.minutes * 60.0),
        seed: arguments.seed.context("a seed")?,
        overlapping: arguments.overlapping,
        faults,
        pause: Duration::from_millis(arguments.pause),
        pace: Duration::from_millis(arguments.pace),
        setup,
        hunted: arguments.bug.clone(),
        least: 0.0,
        complaints: arguments.complaints.clone(),
        churn: !arguments.no_churn && script.is_none(),
        script,
    };
    plan.least = arguments.least.unwrap_or_else(|| plan.least_by_pace());
    let report = run::run(plan)?;
    print!("{report}");
    println!("history: {}", run::history_file().display());
    Ok(report.is_clean())
}

/// Measures both sides in turn, with the same settings for both.
fn compare(times: usize, arguments: &Arguments) -> Result<bool> {
    let acts = Act::chosen(arguments.figure.as_deref())?;
    let set = settings(&arguments.set)?;
    let session = set.iter().find(|(key, _)| key == "zookeeper.session.timeout.ms");
    let session = match session {
        Some((_, value)) => value.parse::<f64>().context("zookeeper.session.timeout.ms")? / 1e3,
        None => SESSION_SECONDS as f64,
    };
    let mut again: Vec<_> =
        arguments.set.iter().map(|text| format!("--set={text}").into()).collect();
    again.extend(arguments.figure.iter().map(|words| format!("--figure={words}").into()));
    let (table, all_met) = beside::compare(&acts, times, session, &again)?;
    print!("{table}");
    Ok(all_met)
}

fn settings(texts: &[String]) -> Result<Vec<(String, String)>> {
    let split = |text: &String| {
        let (key, value) = text.split_once('=').context("a setting is key=value")?;
        Ok((key.to_owned(), value.to_owned()))
    };
    texts.iter().map(split).collect()
}

fn chosen(words: Option<&str>) -> Result<Vec<Fault>> {
    let Some(words) = words else { return Ok(Fault::all().collect()) };
    let words: Vec<&str> = words.split(',').collect();
    let faults: Vec<Fault> = Fault::all()
        .filter(|fault| words.iter().any(|word| fault.to_string().contains(word)))
        .collect();
    if faults.is_empty() {
        let names: Vec<String> = Fault::all().map(|fault| fault.to_string()).collect();
        bail!("no fault is named like that; they are: {}", names.join(", "));
    }
    Ok(faults)
}

fn check(file: &PathBuf) -> Result<bool> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let mut checker = Checker::default();
    for line in text.lines() {
        checker.observe(&line.parse()?);
    }
    for violation in checker.finish() {
        println!("{}: {}", violation.rule, violation.what);
    }
    println!("{} acknowledged, {} read back", checker.acknowledged(), checker.verified());
    Ok(checker.counts().is_empty())
}
