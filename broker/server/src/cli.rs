//! The command line of `ottla-broker`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use broker_config::broker::BrokerConfig;
use broker_config::dynamic::Entry;
use broker_config::key::Status;
use broker_config::raw::Properties;
use broker_config::topic::TopicConfig;
use clap::{Parser, Subcommand, ValueEnum};

mod awaited;

pub use awaited::{Awaited, wait};

/// A Kafka-compatible message broker in one binary.
///
/// With nothing given it listens on 127.0.0.1:9092, keeps its data in ./ottla-data and coordinates
/// through an embedded tree: no ZooKeeper is needed.
#[derive(Debug, Parser)]
#[command(name = "ottla-broker", version)]
pub struct Arguments {
    /// A `server.properties` file, as Kafka's; may be repeated, and a later one wins over those before it.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Vec<PathBuf>,

    /// A further file, which another process writes: it is waited for until its last line is `# end`. It wins over those
    /// of --config; may be repeated.
    #[arg(long, value_name = "FILE", global = true)]
    pub await_config: Vec<PathBuf>,

    /// One setting; may be repeated, and wins over the files.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub settings: Vec<String>,

    /// What is logged: a level (error, warn, info, debug, trace) or a filter such as
    /// `info,broker_server::net=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", global = true)]
    pub log: String,

    /// How a log line looks.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,

    /// Print every setting with its value, its default and what it does, then exit.
    #[arg(long)]
    pub describe_config: bool,

    /// What to do instead of running a broker.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of running a broker.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Move the embedded coordination tree into a ZooKeeper, so that other brokers can join.
    ///
    /// The broker must be stopped; --config and --set are those that it runs with. Topics, settings and
    /// offsets are kept. A move that was interrupted is taken up again by the same command.
    MoveCoordination {
        /// Where to, as in zookeeper.connect.
        #[arg(long, value_name = "HOST:PORT,.../PATH")]
        to: String,
    },
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Reads the files and the settings into a configuration; `awaited` are the files that were waited for.
///
/// # Errors
/// Every fault at once, each with its place.
pub fn configuration(arguments: &Arguments, awaited: &[Awaited]) -> anyhow::Result<BrokerConfig> {
    let mut properties = Properties::default();
    for file in &arguments.config {
        let text = read(file).with_context(|| format!("cannot read {}", file.display()))?;
        properties.extend(Properties::parse(&file.display().to_string(), &text)?);
    }
    for Awaited { file, text } in awaited {
        properties.extend(Properties::parse(&file.display().to_string(), text)?);
    }
    for setting in &arguments.settings {
        properties.set(setting)?;
    }
    BrokerConfig::from_properties(&properties).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the configuration cannot be used:\n  {}", lines.join("\n  "))
    })
}

#[allow(clippy::disallowed_methods, reason = "the one file that is read before there is a broker")]
fn read(file: &std::path::Path) -> std::io::Result<String> {
    String::from_utf8(std::fs::read(file)?)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

/// Writes every setting: what it means, what it does here unless that is just that, and its value.
///
/// # Errors
/// `out` cannot be written to; that a reader went away is none.
pub fn describe(config: &BrokerConfig, out: &mut impl Write) -> io::Result<()> {
    let topics = TopicConfig::entries(config, &BTreeMap::new());
    let written = section(out, "Settings of the broker", &config.entries())
        .and_then(|()| section(out, "Settings of a topic, with the broker's values", &topics))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn section(out: &mut impl Write, title: &str, entries: &[Entry]) -> io::Result<()> {
    writeln!(out, "## {title}\n")?;
    for entry in entries {
        writeln!(out, "# {}", entry.key.doc)?;
        match entry.key.status {
            Status::Honoured => {}
            Status::NotServedYet(why) | Status::NeverServed(why) => {
                writeln!(out, "# Only its default is accepted: {why}")?;
            }
            Status::NoEffect(why) => writeln!(out, "# Has no effect: {why}")?,
        }
        writeln!(out, "{}={}\n", entry.key.name, entry.value.as_deref().unwrap_or(""))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that has seen enough, as `head` has.
    struct Gone;

    /// What is given later wins: of two files the second, over both what is set by itself.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "it writes the files that are read")]
    fn later_files_win_over_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let first = file("first", "num.partitions=2\nbroker.rack=a\nlog.retention.hours=1\n");
        let second = file("second", "num.partitions=3\nbroker.rack=b\n");
        let line = ["ottla-broker", "--config", &first, "--config", &second, "--set"];
        let arguments = Arguments::parse_from(line.into_iter().chain(["num.partitions=4"]));
        let config = configuration(&arguments, &[]).unwrap();
        assert_eq!((config.num_partitions, config.broker_rack.as_deref()), (4, Some("b")));
        // A file that was waited for wins over those, and a setting over it.
        let text = "broker.rack=c\nnum.partitions=5\n# end\n".to_owned();
        let awaited = Awaited { file: "third".into(), text };
        let later = configuration(&arguments, &[awaited]).unwrap();
        assert_eq!((later.num_partitions, later.broker_rack.as_deref()), (4, Some("c")));
        assert_eq!(config.static_settings()["broker.rack"], "b");
    }

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Settings are given before or behind a sub-command; without one there is a broker.
    #[test]
    fn a_sub_command_takes_the_settings_of_the_broker() {
        let parse = |line: &str| Arguments::parse_from(line.split(' '));
        assert_eq!(parse("ottla-broker --set broker.id=3").command, None);
        let to = "zk1:2181,zk2:2181/a".to_owned();
        for line in ["--set broker.id=3 move-coordination --to", "move-coordination --set a=b --to"]
        {
            let arguments = parse(&format!("ottla-broker {line} {to}"));
            assert_eq!(arguments.command, Some(Command::MoveCoordination { to: to.clone() }));
            assert_eq!(arguments.settings.len(), 1);
        }
    }

    /// Keys of broker and topic, with what is special about them.
    #[test]
    fn a_description_names_every_key_and_what_it_does() {
        let config = BrokerConfig::default();
        let mut out = Vec::new();
        describe(&config, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in
            ["\nretention.ms=", "\nlog.retention.ms=", "# Has no effect: ", "# Only its default"]
        {
            assert!(text.contains(line), "{line}");
        }
        describe(&config, &mut Gone).unwrap();
    }
}
