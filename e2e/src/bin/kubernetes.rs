//! `cargo run -p e2e --bin kubernetes`: a cluster for a person, or for another program, until its input ends.

use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::kubernetes::Kubernetes;

/// Starts a Kubernetes, prints what leads to it, and ends it when the standard input ends (Ctrl-D).
#[derive(Debug, Parser)]
#[command(name = "kubernetes")]
struct Arguments {
    /// How many nodes, 1 to 3
    #[arg(long, default_value_t = 1)]
    nodes: u8,
    /// What its logs are named after
    #[arg(long, default_value = "shell")]
    name: String,
    /// An archive of images that every node is given; may be repeated
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cluster = Kubernetes::start(&arguments.name, arguments.nodes)?;
    for archive in &arguments.image {
        cluster.import(archive)?;
    }
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    println!("alias kubectl={}", cluster.programs().of_node("kubectl").display());
    println!("alias helm={}", cluster.programs().helm.display());
    io::stdin().read_to_end(&mut Vec::new()).context("wait for the end of the input")?;
    cluster.end()
}
