//! `cargo run -p e2e --bin kubernetes`: a cluster for a person, or for another program, until its input ends.

use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::kubernetes::Kubernetes;
use e2e::kubernetes::ottla::{Ottla, builds};

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
    /// Build Ottla, give its images to every node, and install the operator
    #[arg(long)]
    ottla: bool,
    /// Give the images of the next release, too, which is this one under another version
    #[arg(long, requires = "ottla")]
    next: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cluster = if arguments.ottla { with_ottla(&arguments)? } else { started(&arguments)? };
    for archive in &arguments.image {
        cluster.import(archive)?;
    }
    println!("# for another shell; Ctrl-D in this one ends the cluster");
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    println!("alias kubectl={}", cluster.programs().of_node("kubectl").display());
    println!("alias helm={}", cluster.programs().helm.display());
    io::stdin().read_to_end(&mut Vec::new()).context("wait for the end of the input")?;
    cluster.end()
}

fn started(arguments: &Arguments) -> Result<Kubernetes> {
    Kubernetes::start(&arguments.name, arguments.nodes)
}

fn with_ottla(arguments: &Arguments) -> Result<Kubernetes> {
    let this = builds::this()?;
    let mut all = vec![this.clone()];
    if arguments.next {
        all.push(builds::next()?);
    }
    let ottla = Ottla::start(&arguments.name, arguments.nodes, &all, &builds::load()?)?;
    let operator = ottla.install(&this, 1)?;
    ottla.operator_is_ready(&operator)?;
    Ok(ottla.kubernetes)
}
