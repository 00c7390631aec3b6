//! The load of a pod: see `e2e::load`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use e2e::load::{self, Order};

/// Produces, reads and judges, until it is asked for its verdict.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    /// Where clients begin
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: String,
    /// A topic and its partitions; may be repeated
    #[arg(long, value_name = "NAME:PARTITIONS", value_parser = load::topic, required = true)]
    topic: Vec<(String, u16)>,
    /// Records a second and topic
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// How many replicas are to be in sync at all times
    #[arg(long, default_value_t = 2)]
    min_isr: usize,
    /// Where it answers
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Where the history is written
    #[arg(long, default_value = "/tmp/history")]
    history: PathBuf,
}

fn main() -> Result<()> {
    let Arguments { bootstrap, topic, rate, min_isr, listen, history } = Arguments::parse();
    load::run(Order { bootstrap, topics: topic, rate, min_isr, listen, history })
}
