//! The benchmark: `cargo run --release -p e2e --bin bench -- compare`.

use anyhow::Result;
use clap::{Args, Parser};
use e2e::bench::compare::{self, Plan};
use e2e::bench::kind::Kind;
use e2e::bench::rows::{ROWS, Scale, Target};

/// Measures Ottla beside Apache Kafka on this machine.
#[derive(Debug, Parser)]
enum Command {
    /// Runs both in turn and prints one table of ratios; below 1 is ours
    Compare(Compare),
    /// Lists the rows
    Rows,
}

#[derive(Debug, Args)]
struct Compare {
    /// Rows to run, by a part of their names; all when none is given
    rows: Vec<String>,
    /// Pairs of runs a row; fewer than 5 are a look
    #[arg(long, default_value_t = 7)]
    pairs: usize,
    /// A twentieth of the load, for a look; such figures are not to be quoted
    #[arg(long)]
    quick: bool,
    /// The side that is judged: ottla, or kafka to see how far equal sides differ
    #[arg(long, default_value = "ottla")]
    side: String,
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Rows => {
            for row in ROWS {
                let target = match row.target {
                    Target::Ratio(ratio) => format!("at most {ratio:.3} of Kafka's"),
                    Target::Figure(bound) => format!("at most {bound}"),
                };
                println!("{:22} {:16} {target}", row.name, row.unit);
            }
        }
        Command::Compare(Compare { rows, pairs, quick, side }) => {
            let scale = Scale(if quick { 0.05 } else { 1.0 });
            let sides = [Kind::parse(&side)?, Kind::Kafka];
            let plan = Plan { rows, pairs: pairs.max(1), scale, sides };
            print!("{}", compare::compare(&plan)?);
        }
    }
    Ok(())
}
