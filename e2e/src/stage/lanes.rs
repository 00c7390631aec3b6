//! Stages that wait more than they work, two at a time: each in a process of its own, whose output is shown once it is
//! whole.
//!
//! Cargo takes turns where it compiles, and the stages share nothing else: their servers take free ports, in network
//! namespaces of their own where they need more.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::shown::Last;
use super::{Line, Options, Stage};
use crate::deadline::Stopwatch;
use crate::workspace;

/// Stages at a time: two of them fill two cores.
const LANES: usize = 2;

/// How often it is told that stages live.
const TELL: Duration = Duration::from_mins(1);

/// This program, also once cargo has put another in its place.
const OWN: &str = "/proc/self/exe";

/// What a lane tells.
enum News {
    Began(&'static Stage),
    Ended(Line, PathBuf),
}

/// Runs the stages, those that come first sooner; returns what became of each, in the order of their ends.
pub(super) fn run(stages: &[&'static Stage], options: &Options) -> Vec<Line> {
    let waiting = Mutex::new(stages.iter().copied().collect::<VecDeque<_>>());
    let (told, news) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..LANES.min(stages.len()) {
            let (waiting, told) = (&waiting, told.clone());
            scope.spawn(move || lane(waiting, &told, options));
        }
        drop(told);
        let mut running: Vec<(&'static str, Stopwatch)> = Vec::new();
        let mut lines = Vec::new();
        loop {
            match news.recv_timeout(TELL) {
                Ok(News::Began(stage)) => {
                    println!("\n-- {} begins: {}", stage.name, stage.about);
                    running.push((stage.name, Stopwatch::start()));
                }
                Ok(News::Ended(line, output)) => {
                    running.retain(|(name, _)| *name != line.name);
                    show(&output);
                    lines.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let told = running.iter().map(|(name, since)| {
                        format!("{name} for {:.0} s", since.elapsed().as_secs_f64())
                    });
                    println!("-- running: {}", told.collect::<Vec<_>>().join(", "));
                }
                Err(RecvTimeoutError::Disconnected) => return lines,
            }
        }
    })
}

fn lane(waiting: &Mutex<VecDeque<&'static Stage>>, told: &Sender<News>, options: &Options) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(stage) = next else { return };
        let output = workspace::output_dir().join("stages").join(format!("{}.log", stage.name));
        let time = Stopwatch::start();
        // Nobody listens any more only if the whole run has ended.
        let _ = told.send(News::Began(stage));
        let outcome = apart(stage, options, &output).map_err(|error| format!("{error:#}"));
        let line = Line { name: stage.name, outcome: Some(outcome), time: time.elapsed() };
        let _ = told.send(News::Ended(line, output));
    }
}

/// Runs one stage in a process of its own.
fn apart(stage: &Stage, options: &Options, output: &PathBuf) -> Result<()> {
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let file = File::create(output).with_context(|| format!("create {}", output.display()))?;
    let errors = file.try_clone().with_context(|| format!("open {}", output.display()))?;
    let mut command = Command::new(OWN);
    command.args([stage.name, "--peer", &options.peer]).stdout(file).stderr(errors);
    let status = command.status().with_context(|| format!("run {command:?}"))?;
    if !status.success() {
        let mut last = Last::default();
        let told = fs::read(output).with_context(|| format!("read {}", output.display()))?;
        told.split_inclusive(|byte| *byte == b'\n').for_each(|line| last.take(line));
        bail!("its output above says why; the end of it:{}", last.words());
    }
    Ok(())
}

fn show(output: &PathBuf) {
    let shown = File::open(output)
        .and_then(|mut file| io::copy(&mut file, &mut io::stdout().lock()).map(drop));
    if let Err(error) = shown {
        println!("cannot read {}: {error}", output.display());
    }
}
