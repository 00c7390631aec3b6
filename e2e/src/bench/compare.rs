//! The comparison: pairs of runs in turn (A B B A), the median of their ratios, and how sure it is.
//!
//! A pair in which somebody else used more than [`FOREIGN_MAX`] percent of the machine is run again,
//! a bounded number of times; the table says how often that did not help.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::figure::Figure;
use super::frozen::Frozen;
use super::kind::Kind;
use super::machine::{self, Look};
use super::memory::Memory;
use super::rows::{ROWS, Row, Scale, Target};
use super::subject::Subject;
use crate::kafka::Zookeeper;

/// The share of the machine that others may use during a pair, in percent.
const FOREIGN_MAX: f64 = 5.0;

/// How often a disturbed pair is run again.
const REPEATS_MAX: usize = 2;

/// Fewer pairs have no interval worth the name.
const PAIRS_MIN: usize = 5;

/// How long each side is warmed before its first run.
const WARM: Duration = Duration::from_secs(10);

/// The most uncounted runs of a row: a virtual machine that has not seen it first compiles it.
const REHEARSALS_MAX: usize = 8;

/// A row has been seen enough once a run took no less than this share of the processor time of the one
/// before.
const SETTLED: f64 = 0.9;

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

/// The pairs of a load, as one of its rows tells them.
#[derive(Clone)]
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
    crate::broker::binary()?;
    let memory = Memory::new(directory.path())?;
    let begin = Instant::now();
    let mut all = Vec::with_capacity(rows.len());
    // Rows of one broker first, then those of three: idle brokers of the others would disturb.
    for group in rows.chunk_by(|one, other| one.brokers == other.brokers) {
        let bench = Bench::start(plan, group, &zookeeper, &memory, directory.path())?;
        for load in group.chunk_by(Row::shares_runs) {
            let runs = bench.pairs(load[0])?;
            for row in load {
                all.push(Pairs { row: *row, ..runs.clone() });
                eprintln!("{}", line(all.last().context("a row was run")?, plan));
            }
            let per_row = begin.elapsed().as_secs_f64() / all.len() as f64;
            let left = per_row * (rows.len() - all.len()) as f64;
            eprintln!("{}/{}, about {left:.0} s left", all.len(), rows.len());
        }
        bench.stop()?;
    }
    Ok(table(&all, plan))
}

/// The two sides of rows of as many brokers.
struct Bench<'a> {
    plan: &'a Plan,
    zookeeper: &'a Zookeeper,
    memory: &'a Memory,
    directory: &'a Path,
    /// Warm; none where every row starts brokers of its own.
    sides: Option<[Subject; 2]>,
}

impl<'a> Bench<'a> {
    fn start(
        plan: &'a Plan,
        rows: &[Row],
        zookeeper: &'a Zookeeper,
        memory: &'a Memory,
        directory: &'a Path,
    ) -> Result<Self> {
        let mut bench = Self { plan, zookeeper, memory, directory, sides: None };
        let Some(warm) = rows.iter().find(|row| !row.is_young()) else { return Ok(bench) };
        let [one, other] = plan.sides;
        let start = |kind| Subject::start(kind, warm.brokers, zookeeper);
        bench.sides = Some([start(one)?, start(other)?]);
        let warming = ROWS.iter().find(|row| row.brokers == warm.brokers).unwrap_or(warm);
        for side in 0..2 {
            eprintln!("warming {:?}", plan.sides[side]);
            let begin = Instant::now();
            while begin.elapsed() < WARM {
                bench.run(warming, side, Scale(0.2))?;
            }
        }
        Ok(bench)
    }

    fn run(&self, row: &Row, side: usize, scale: Scale) -> Result<Figure> {
        let subject = self.sides.as_ref().map(|sides| &sides[side]);
        let other = self.sides.as_ref().filter(|_| row.is_of_time()).map(|sides| &sides[1 - side]);
        if !row.is_alone() {
            self.memory.fill()?;
        }
        let _frozen = Frozen::halt(other.map(Subject::processes).unwrap_or_default())?;
        row.run(self.plan.sides[side], subject, self.zookeeper, scale)
    }

    /// Runs the row uncounted until it costs no less than before.
    fn rehearse(&self, row: &Row, side: usize) -> Result<()> {
        let mut last = f64::INFINITY;
        for _ in 0..REHEARSALS_MAX {
            let figure = self.run(row, side, self.plan.scale)?;
            let spent = figure.user + figure.system;
            if spent >= last * SETTLED {
                break;
            }
            last = spent;
        }
        Ok(())
    }

    fn pairs(&self, row: Row) -> Result<Pairs> {
        let plan = self.plan;
        let mut done = Pairs {
            row,
            figures: Vec::with_capacity(plan.pairs),
            disturbed: 0,
            stolen: 0.0,
            limits: Vec::new(),
        };
        if !row.is_young() {
            for side in 0..2 {
                self.rehearse(&row, side)?;
            }
        }
        let own: Vec<u32> = self.sides.iter().flatten().flat_map(Subject::processes).collect();
        for number in 0..plan.pairs {
            for attempt in 0..=REPEATS_MAX {
                let limits = machine::limits(self.directory)?;
                let look = Look::now(&own)?;
                let mut pair = <[Figure; 2]>::default();
                // A B, then B A: what drifts with time hits both sides alike.
                let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
                for side in order {
                    if side == 0 || !row.is_alone() {
                        pair[side] = self.run(&row, side, plan.scale)?;
                    }
                }
                let (foreign, stolen) = look.since(&own).context("look at the machine")?;
                let is_quiet = foreign + stolen <= FOREIGN_MAX;
                if is_quiet || attempt == REPEATS_MAX || plan.is_look() {
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

    fn stop(self) -> Result<()> {
        self.sides.into_iter().flatten().try_for_each(Subject::stop)
    }
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
    lines.extend(all.iter().map(|pairs| line(pairs, plan)));
    lines.join("\n") + "\n"
}

/// A row of the table.
fn line(Pairs { row, figures, disturbed, stolen, .. }: &Pairs, plan: &Plan) -> String {
    let costs: Vec<[f64; 2]> =
        figures.iter().map(|pair| pair.each_ref().map(|side| row.cost(side))).collect();
    let cost = |side: usize| median(costs.iter().map(|pair| pair[side]).collect());
    let ratios: Vec<f64> =
        costs.iter().map(|[ours, theirs]| ours / theirs.max(f64::MIN_POSITIVE)).collect();
    let (low, high) = interval(&ratios);
    let (target, judged) = match row.target {
        Target::Ratio(ratio) => (format!("{ratio:.3}"), (low, high, ratio)),
        Target::Figure(bound) => {
            let ours: Vec<f64> = costs.iter().map(|pair| pair[0]).collect();
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
    let ours = cost(0);
    let side = |side: usize, of: fn(&Figure) -> f64| {
        median(figures.iter().map(|pair| of(&pair[side])).collect())
    };
    let both = |of: fn(&Figure) -> f64| {
        let ours = format!("{:.2}", side(0, of));
        if row.is_alone() { ours } else { format!("{ours} / {:.2}", side(1, of)) }
    };
    let beside = if row.is_alone() {
        "not run | -".to_owned()
    } else {
        let theirs = cost(1);
        format!("{theirs:.3} | {:.2} ({low:.2}-{high:.2})", median(ratios.clone()))
    };
    format!(
        "| {} | {} | {ours:.3} | {beside} | {target} {verdict} | {} | {} | {} | {disturbed} | {stolen:.1} |",
        row.name,
        row.unit,
        both(|figure| figure.user),
        both(|figure| figure.system),
        both(|figure| figure.resident),
    )
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
