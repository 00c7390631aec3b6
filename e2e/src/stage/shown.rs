//! A command whose output is shown as it comes, and whose last lines are told again if it fails: the end of a long run is
//! what is read first.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How many lines are told again.
const LAST: usize = 40;

/// How many bytes of each of them.
const WIDTH: usize = 600;

/// How long the last words of a command that has ended may take: what it left behind may keep its output open.
const LEAVE: Duration = Duration::from_secs(2);

/// The last lines of an output.
#[derive(Debug, Default)]
pub(super) struct Last(VecDeque<String>);

impl Last {
    /// Takes a line, and forgets the one that came [`LAST`] lines before it.
    pub(super) fn take(&mut self, line: &[u8]) {
        if self.0.len() == LAST {
            self.0.pop_front();
        }
        let line = &line[..line.len().min(WIDTH)];
        self.0.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
    }

    /// The lines that are left, each after a line feed.
    pub(super) fn words(&self) -> String {
        self.0.iter().fold(String::new(), |words, line| words + "\n" + line)
    }
}

/// Runs a command whose output is the person's to read; fails with its last lines if it does.
pub(super) fn shown(command: &mut Command) -> Result<()> {
    let (reader, writer) = io::pipe().context("open a pipe")?;
    let errors = writer.try_clone().context("open a pipe")?;
    let mut child = command
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("run {command:?}"))?;
    // The pipe ends with the command only if nobody else holds it.
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let (told, news) = mpsc::channel();
    thread::spawn(move || {
        for line in lines(reader) {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    let mut last = Last::default();
    let mut status = None;
    loop {
        match news.recv_timeout(LEAVE) {
            Ok(line) => {
                print!("{}", String::from_utf8_lossy(&line));
                last.take(&line);
            }
            Err(RecvTimeoutError::Timeout) if status.is_none() => {
                status = child.try_wait().with_context(|| format!("wait for {command:?}"))?;
            }
            Err(_) => break,
        }
    }
    let status = match status {
        Some(status) => status,
        None => child.wait().with_context(|| format!("wait for {command:?}"))?,
    };
    if !status.success() {
        bail!("{command:?} ended with {status}{}", last.words());
    }
    Ok(())
}

/// Lines with their ends, whatever bytes they are made of; the last one may have none.
fn lines(reader: PipeReader) -> impl Iterator<Item = Vec<u8>> {
    let mut reader = BufReader::new(reader);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).ok()?;
        (read > 0).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_told_of_with_its_last_lines() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 1 100; echo why >&2; exit 3"]);
        let error = shown(&mut command).unwrap_err().to_string();
        assert!(error.contains("exit status: 3\n62\n63\n"), "{error}");
        assert!(error.ends_with("\n100\nwhy"), "{error}");
    }

    #[test]
    fn what_a_command_leaves_behind_is_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; exit 1"]);
        let error = shown(&mut command).unwrap_err().to_string();
        let (_, left) = error.rsplit_once('\n').unwrap();
        let killed = Command::new("kill").arg(left).status().unwrap();
        assert!(killed.success(), "{error}");
    }
}
