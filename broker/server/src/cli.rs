//! The command line of `ottla-broker`.

use std::path::PathBuf;

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
