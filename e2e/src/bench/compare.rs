//! The comparison: pairs of runs in turn (A B B A), the median of their ratios, and how sure it is.
//!
//! A pair in which somebody else used more than [`FOREIGN_MAX`] percent of the machine is run again,
//! a bounded number of times; the table says how often that did not help.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::figure::Figure;
use super::machine::{self, Look};
use super::rows::{ROWS, Row, Scale, Target};
use super::subject::{Kind, Subject};
use crate::kafka::Zookeeper;

/// The share of the machine that others may use during a pair, in percent.
const FOREIGN_MAX: f64 = 5.0;

/// How often a disturbed pair is run again.
const REPEATS_MAX: usize = 2;

/// Fewer pairs have no interval worth the name.
const PAIRS_MIN: usize = 7;

/// How long each side is warmed before its first run; a row that a virtual machine has not seen is
/// run once more, uncounted.
const WARM: Duration = Duration::from_secs(10);

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;

/// What to compare.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names of rows, or parts of them; all when empty.
    pub rows: Vec<String>,
    /// Pairs of runs a row.
    pub pairs: usize,
    /// The size of a run.
    pub scale: Scale,
    /// The two sides, the one that is judged first.
    pub sides: [Kind; 2],
}

impl Plan {
    /// Whether the figures are too few or too small to judge by.
    fn is_look(&self) -> bool {
        self.pairs < PAIRS_MIN || self.scale.0 < 1.0
    }
}

struct Pairs {
    row: Row,
    figures: Vec<[Figure; 2]>,
    /// Pairs that were run again and disturbed again.
    disturbed: usize,
    /// The largest share of the machine that the host took during a counted pair, in percent.
    stolen: f64,
    /// What the machine could do before each pair: GB/s into the page cache, ms of an fdatasync.
    limits: Vec<(f64, f64)>,
}

/// Runs the plan and returns the table.
pub fn compare(plan: &Plan) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("bench", directory.path(), None)?;
    let named = |row: &&Row| {
        plan.rows.is_empty() || plan.rows.iter().any(|name| row.name.contains(name.as_str()))
    };
    let rows: Vec<Row> = ROWS.iter().filter(named).copied().collect();
    let sides =
        [Subject::start(plan.sides[0], &zookeeper)?, Subject::start(plan.sides[1], &zookeeper)?];
    crate::broker::binary()?;
    for side in &sides {
        eprintln!("warming {:?}", side.kind);
        let begin = Instant::now();
        while begin.elapsed() < WARM {
            ROWS[0].run(side, &zookeeper, Scale(0.2))?;
        }
    }
    let begin = Instant::now();
    let mut all = Vec::with_capacity(rows.len());
    for (number, row) in rows.iter().enumerate() {
        all.push(pairs(*row, plan, &zookeeper, &sides, directory.path())?);
        let left =
            begin.elapsed().as_secs_f64() / (number + 1) as f64 * (rows.len() - number - 1) as f64;
        eprintln!("{}/{} {}, about {left:.0} s left", number + 1, rows.len(), row.name);
    }
    for side in sides {
        side.stop()?;
    }
    Ok(table(&all, plan))
}

fn pairs(
    row: Row,
    plan: &Plan,
    zookeeper: &Zookeeper,
    sides: &[Subject; 2],
    directory: &Path,
) -> Result<Pairs> {
    let mut done = Pairs {
        row,
        figures: Vec::with_capacity(plan.pairs),
        disturbed: 0,
        stolen: 0.0,
        limits: Vec::new(),
    };
    if !row.is_young() {
        for side in sides {
            row.run(side, zookeeper, plan.scale)?;
        }
    }
    let own = [sides[0].id, sides[1].id];
    for number in 0..plan.pairs {
        for attempt in 0..=REPEATS_MAX {
            let limits = machine::limits(directory)?;
            let look = Look::now(&own)?;
            let mut pair = [Figure::default(); 2];
            // A B, then B A: what drifts with time hits both sides alike.
            let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                pair[side] = row.run(&sides[side], zookeeper, plan.scale)?;
            }
            let (foreign, stolen) = look.since(&own).context("look at the machine")?;
            let is_quiet = foreign + stolen <= FOREIGN_MAX;
            if is_quiet || attempt == REPEATS_MAX {
                done.disturbed += usize::from(!is_quiet);
                done.stolen = done.stolen.max(stolen);
                done.limits.push(limits);
                done.figures.push(pair);
                break;
            }
            eprintln!("{}: others used {foreign:.0} %, stolen {stolen:.0} %; again", row.name);
        }
    }
    Ok(done)
}

fn table(all: &[Pairs], plan: &Plan) -> String {
    let [ours, theirs] = plan.sides;
    let limits = all.iter().flat_map(|pairs| &pairs.limits);
    let (caches, syncs): (Vec<f64>, Vec<f64>) = limits.copied().unzip();
    let mut lines = vec![format!(
        "{}; page cache {:.1} GB/s, fdatasync {:.2} ms (medians before each pair); {} pairs a row{}\n\n\
         | row | unit | {ours:?} | {theirs:?} | ratio (90 %) | target | user s | system s | MiB | \
         disturbed | stolen % |\n|---|---|---|---|---|---|---|---|---|---|---|",
        machine::name(),
        median(caches),
        median(syncs),
        plan.pairs,
        if plan.is_look() { "; A LOOK, not to be quoted" } else { "" },
    )];
    for Pairs { row, figures, disturbed, stolen, .. } in all {
        let side = |side: usize, of: fn(&Figure) -> f64| {
            median(figures.iter().map(|pair| of(&pair[side])).collect())
        };
        let ratios: Vec<f64> =
            figures.iter().map(|pair| pair[0].cost / pair[1].cost.max(f64::MIN_POSITIVE)).collect();
        let (low, high) = interval(&ratios);
        let (target, judged) = match row.target {
            Target::Ratio(ratio) => (ratio.to_string(), (low, high, ratio)),
            Target::Figure(bound) => {
                let ours: Vec<f64> = figures.iter().map(|pair| pair[0].cost).collect();
                let (low, high) = interval(&ours);
                (format!("below {bound} {}", row.unit), (low, high, bound))
            }
        };
        let verdict = match judged {
            (_, high, bound) if high <= bound => "met",
            (low, _, bound) if low > bound => "missed",
            _ => "within noise",
        };
        let verdict = if plan.is_look() { "not judged" } else { verdict };
        let both = |of: fn(&Figure) -> f64| format!("{:.2} / {:.2}", side(0, of), side(1, of));
        lines.push(format!(
            "| {} | {} | {:.3} | {:.3} | {:.2} ({low:.2}-{high:.2}) | {target} {verdict} | {} | {} | {} | {disturbed} | {stolen:.1} |",
            row.name,
            row.unit,
            side(0, |figure| figure.cost),
            side(1, |figure| figure.cost),
            median(ratios.clone()),
            both(|figure| figure.user),
            both(|figure| figure.system),
            both(|figure| figure.resident),
        ));
    }
    lines.join("\n") + "\n"
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The interval that holds the median of nine resamples in ten.
fn interval(ratios: &[f64]) -> (f64, f64) {
    let mut seed = 0x9e37_79b9_u64;
    let mut draw = |count: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % count
    };
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| median((0..ratios.len()).map(|_| ratios[draw(ratios.len())]).collect()))
        .collect();
    medians.sort_by(f64::total_cmp);
    (medians[RESAMPLES / 20], medians[RESAMPLES - RESAMPLES / 20 - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The interval holds the median and is no wider than the values.
    #[test]
    fn the_interval_holds_the_median() {
        let ratios = [0.5, 0.52, 0.48, 0.51, 0.9, 0.49, 0.5];
        let (low, high) = interval(&ratios);
        let middle = median(ratios.to_vec());
        assert!(low <= middle && middle <= high && low >= 0.48 && high <= 0.9, "{low} {high}");
        assert!((median(vec![1.0, 3.0]) - 2.0).abs() < f64::EPSILON);
    }
}
