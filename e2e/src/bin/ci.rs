//! `cargo ci`: every check and test, in stages, with a summary at the end.

use std::process::ExitCode;

use clap::Parser;
use e2e::stage::{self, Options, STAGES};

/// Runs every check and test in stages; installs what they need.
///
/// The first run downloads tools by pinned version; later ones find them under .cache/tools.
#[derive(Debug, Parser)]
#[command(name = "cargo ci")]
struct Arguments {
    /// Stages to run, in the order of --list; all of them when none is named
    stages: Vec<String>,
    /// Lists the stages
    #[arg(long)]
    list: bool,
    /// The broker that the client tests run against: `ottla`, or `kafka` as the oracle
    #[arg(long, default_value = "ottla")]
    peer: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for stage in STAGES {
            println!("{:12} {}", stage.name, stage.about);
        }
        return ExitCode::SUCCESS;
    }
    let options = Options { peer: arguments.peer };
    match stage::run(&arguments.stages, &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo ci: {error:#}");
            ExitCode::FAILURE
        }
    }
}
