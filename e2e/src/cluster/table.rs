//! The end of a run, told as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::checker::{Rule, Violation};
use super::fault::Fault;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// What all choices came from.
    pub seed: u64,
    /// How long faults and load went on, and the last look.
    pub time: Duration,
    /// How long faults and load went on, calms between them included.
    pub stormy: Duration,
    /// The least faults an hour of that.
    pub least: f64,
    /// How often each fault was done.
    pub faults: BTreeMap<Fault, u64>,
    /// How often one found nothing to do, and why.
    pub undone: BTreeMap<(Fault, &'static str), u64>,
    /// The topics whose acknowledgements waited for replicas and for no disk, at first.
    pub relaxed: Vec<&'static str>,
    /// Records acknowledged with `acks=all`.
    pub acknowledged: u64,
    /// Those of them that were read where they were said to be.
    pub verified: u64,
    /// Partitions and batches compared between disks.
    pub compared: (usize, u64),
    /// Stretches in which a partition was asked and acknowledged nothing, shortest first.
    pub gaps: Vec<Duration>,
    /// After each storm, the time until every partition accepted.
    pub accepts: Vec<Duration>,
    /// After each storm, the time until all replicas were in sync.
    pub wholes: Vec<Duration>,
    /// Brokers that ended without being told to, and their last words.
    pub ended_by_themselves: Vec<String>,
    /// How often each rule was broken.
    pub counts: BTreeMap<Rule, usize>,
    /// The first cases of each.
    pub violations: Vec<Violation>,
    /// What the harness failed to do.
    pub harness_errors: Mutex<Vec<String>>,
}

impl Report {
    /// Whether no rule was broken, something was there to break one, and the harness did what it was to do.
    pub fn is_clean(&self) -> bool {
        let errors = self.harness_errors.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = self.counts.is_empty() && errors.is_empty();
        let is_read = self.acknowledged > 0 && self.acknowledged == self.verified;
        is_kept && is_read && self.faults_an_hour() >= self.least
    }

    fn faults_an_hour(&self) -> f64 {
        let faults: u64 = self.faults.values().sum();
        faults as f64 * 3_600.0 / self.stormy.as_secs_f64().max(1.0)
    }

    /// Keeps an error of the harness for the table.
    pub fn note_error(&self, error: &anyhow::Error) {
        let mut errors = self.harness_errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.push(format!("{error:#}"));
    }
}

/// The value below which `percent` of the sorted values lie.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn spread(f: &mut fmt::Formatter<'_>, name: &str, times: &[Duration]) -> fmt::Result {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let [p50, p99, worst] = [50, 99, 100].map(|percent| percentile(&sorted, percent));
    writeln!(
        f,
        "{name:40} {:6}  p50 {:6.2} s  p99 {:6.2} s  worst {:6.2} s",
        sorted.len(),
        p50.as_secs_f64(),
        p99.as_secs_f64(),
        worst.as_secs_f64()
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        writeln!(f, "\nseed {}, {:.0} s", self.seed, self.time.as_secs_f64())?;
        for (fault, count) in &self.faults {
            writeln!(f, "{fault:40} {count:6}")?;
        }
        let (rate, least) = (self.faults_an_hour(), self.least);
        let verdict = if rate < least { ": TOO FEW" } else { "" };
        writeln!(f, "{:40} {faults:6}  {rate:.0} an hour, at least {least:.0}{verdict}", "faults")?;
        for ((fault, why), count) in &self.undone {
            writeln!(f, "  did nothing: {fault}: {why} {count:6}")?;
        }
        writeln!(f, "{:40} {}", "topics acknowledged unsynced at first", self.relaxed.join(", "))?;
        writeln!(f, "{:40} {:>6}", "records acknowledged", self.acknowledged)?;
        writeln!(f, "{:40} {:>6}", "of them read back", self.verified)?;
        let (partitions, batches) = self.compared;
        writeln!(f, "{:40} {batches:6}  of {partitions} partitions", "batches equal on all disks")?;
        spread(f, "a partition without acknowledgements", &self.gaps)?;
        spread(f, "calm until all partitions accept", &self.accepts)?;
        spread(f, "calm until all replicas are in sync", &self.wholes)?;
        let ended = self.ended_by_themselves.len();
        writeln!(f, "{:40} {ended:6}", "brokers that ended by themselves")?;
        for end in &self.ended_by_themselves {
            writeln!(f, "  {end}")?;
        }
        let errors = self.harness_errors.lock().unwrap_or_else(PoisonError::into_inner);
        for error in errors.iter() {
            writeln!(f, "harness: {error}")?;
        }
        writeln!(f, "{:40} {:6}", "violations", self.counts.values().sum::<usize>())?;
        for (rule, count) in &self.counts {
            writeln!(f, "  {rule:38} {count:6}")?;
        }
        for Violation { rule, what } in &self.violations {
            writeln!(f, "{rule}: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of ten minutes with 200 faults, all well.
    fn clean() -> Report {
        Report {
            stormy: Duration::from_mins(10),
            least: 900.0,
            faults: BTreeMap::from([(Fault::Kill, 120), (Fault::Stop, 80)]),
            acknowledged: 7,
            verified: 7,
            ..Report::default()
        }
    }

    #[test]
    fn a_run_without_a_broken_rule_and_with_enough_faults_is_clean() {
        assert!(clean().is_clean());
        // Exactly as many as there must be.
        let faults = BTreeMap::from([(Fault::Kill, 150)]);
        assert!(Report { faults, ..clean() }.is_clean());
    }

    #[test]
    fn too_few_faults_fail_a_run_however_many_did_nothing() {
        let faults = BTreeMap::from([(Fault::Kill, 149)]);
        let undone = BTreeMap::from([((Fault::Stop, "why not"), 500)]);
        let report = Report { faults, undone, ..clean() };
        assert!(!report.is_clean());
        let told = report.to_string();
        assert!(told.contains("894 an hour, at least 900: TOO FEW"), "{told}");
        assert!(told.contains("did nothing: SIGTERM: why not"), "{told}");
        assert!(!Report { faults: BTreeMap::new(), ..clean() }.is_clean());
    }

    #[test]
    fn what_the_harness_failed_to_do_fails_a_run() {
        let report = clean();
        report.note_error(&anyhow::anyhow!("ip refuses"));
        assert!(!report.is_clean());
        assert!(report.to_string().contains("harness: ip refuses"));
    }

    #[test]
    fn a_broken_rule_or_a_record_that_was_not_read_fails_a_run() {
        let counts = BTreeMap::from([(Rule::Diverged, 1)]);
        assert!(!Report { counts, ..clean() }.is_clean());
        assert!(!Report { verified: 6, ..clean() }.is_clean());
        assert!(!Report { acknowledged: 0, verified: 0, ..clean() }.is_clean());
    }
}
