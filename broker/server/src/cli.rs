//! The command line of `ottla-broker`.

use std::path::PathBuf;

use anyhow::Context as _;
use broker_config::broker::BrokerConfig;
use broker_config::raw::Properties;
use clap::{Parser, ValueEnum};

/// A Kafka-compatible message broker in one binary.
///
/// With nothing given it listens on 127.0.0.1:9092, keeps its data in ./ottla-data and coordinates
/// through an embedded tree: no ZooKeeper is needed.
#[derive(Debug, Parser)]
#[command(name = "ottla-broker", version)]
pub struct Arguments {
    /// A `server.properties` file, as Kafka's.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// One setting; may be repeated, and wins over the file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,

    /// What is logged: a level (error, warn, info, debug, trace) or a filter such as
    /// `info,broker_server::net=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How a log line looks.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Print every setting with its value, its default and what it does, then exit.
    #[arg(long)]
    pub describe_config: bool,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Reads the file and the settings into a configuration.
///
/// # Errors
/// Every fault at once, each with its place.
pub fn configuration(arguments: &Arguments) -> anyhow::Result<BrokerConfig> {
    let mut properties = match &arguments.config {
        Some(file) => {
            let text = read(file).with_context(|| format!("cannot read {}", file.display()))?;
            Properties::parse(&file.display().to_string(), &text)?
        }
        None => Properties::default(),
    };
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

/// Prints every setting.
pub fn describe(config: &BrokerConfig) {
    for entry in config.entries() {
        let value = entry.value.as_deref().unwrap_or("");
        println!("# {}", entry.key.doc);
        println!("{}={value}\n", entry.key.name);
    }
}
