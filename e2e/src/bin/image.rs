//! `cargo run -p e2e --bin image`: makes Ottla's own image without a container daemon.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use e2e::image::ottla::{self, Parts};

/// Writes an archive that `ctr images import`, `docker load` and `skopeo` read.
#[derive(Debug, Parser)]
#[command(name = "image")]
struct Arguments {
    /// The broker's binary
    #[arg(long, value_name = "PATH")]
    broker: PathBuf,
    /// The operator's binary; without it the image has the broker alone
    #[arg(long, value_name = "PATH")]
    operator: Option<PathBuf>,
    /// Where the archive goes
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The name of the image; one without a host is another in a pod's specification
    #[arg(long, default_value = "localhost/ottla")]
    name: String,
    /// The tag of the image
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
}

fn main() -> Result<()> {
    let Arguments { broker, operator, output, name, tag } = Arguments::parse();
    let name = format!("{name}:{tag}");
    let size = ottla::write(&Parts { broker, operator, name: name.clone() }, &output)?;
    let megabytes = size as f64 / f64::from(1 << 20);
    println!("{name} in {}: {megabytes:.1} MiB", output.display());
    Ok(())
}
