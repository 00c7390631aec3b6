//! librdkafka as a load, by way of kcat: are the ratios of the replay client those of a real one?

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// A file of `count` lines of `size` bytes, each another one.
pub fn lines(count: usize, size: usize) -> Result<NamedTempFile> {
    let file = NamedTempFile::new().context("create a file of lines")?;
    let mut writer = BufWriter::new(&file);
    for number in 0..count {
        writeln!(writer, "{number:0size$}")?;
    }
    writer.flush()?;
    drop(writer);
    Ok(file)
}

/// Produces each line of `file`, waiting for all replicas.
pub fn produce(address: &str, topic: &str, file: &Path) -> Result<()> {
    let mut command = Command::new("kcat");
    command.args(["-P", "-b", address, "-t", topic, "-p", "0", "-X", "acks=all", "-l"]).arg(file);
    run(&mut command)
}

/// Consumes `count` records from the start.
pub fn consume(address: &str, topic: &str, count: usize) -> Result<()> {
    let mut command = Command::new("kcat");
    command.args(["-C", "-b", address, "-t", topic, "-p", "0", "-o", "beginning", "-q", "-c"]);
    run(command.arg(count.to_string()))
}

fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().context("run kcat: `cargo ci tools` installs it")?;
    if !output.status.success() {
        bail!("kcat ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
