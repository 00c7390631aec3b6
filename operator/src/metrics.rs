//! What the operator counts of itself, in Prometheus's text format. Labels have few values, all known beforehand.
//!
//! What is a state rather than a count (who waits, what runs) is asked of its owner at each scrape.

use std::time::Duration;

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::error::Class;
use crate::kind::Kind;
use crate::progress::Progress;

mod family;

pub use family::{ALL, Family};

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as it should be.
    Converged,
    /// Something was done, or is waited for, without an error.
    Progressed,
    /// An error of this class.
    Failed(Class),
    /// The object could not be read.
    Unreadable,
    /// Leadership was lost on the way.
    Deposed,
}

impl Outcome {
    /// Every outcome.
    fn all() -> impl Iterator<Item = Self> {
        let others = [Self::Converged, Self::Progressed, Self::Unreadable, Self::Deposed];
        others.into_iter().chain(Class::ALL.map(Self::Failed))
    }

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Progressed => "progressed",
            Self::Failed(class) => class.label(),
            Self::Unreadable => "unreadable",
            Self::Deposed => "deposed",
        }
    }
}

/// Everything that is counted. Shared; all methods may be called from anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_duration: HistogramVec,
    in_progress_since: GaugeVec,
    queue_depth: IntGaugeVec,
    api_requests: IntCounterVec,
    writes: IntCounterVec,
    writes_while_converged: IntCounterVec,
    leader: IntGauge,
    lease_term: IntGauge,
    rolls: IntCounterVec,
    permits_refused: IntCounterVec,
}

/// Seconds: from an object in the cache that is as it should be to one whose broker does not answer.
const BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

impl Metrics {
    /// Makes every family, with those series at zero that an alert looks at.
    ///
    /// # Errors
    /// When two families have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |family: &Family| {
            let made = IntCounterVec::new(family.opts(), family.labels)?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let gauge = |family: &Family| {
            let made = IntGauge::with_opts(family.opts())?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let histogram = HistogramOpts::from(family::RECONCILE_DURATION.opts());
        let reconcile_duration = HistogramVec::new(
            histogram.buckets(BUCKETS.to_vec()),
            family::RECONCILE_DURATION.labels,
        )?;
        registry.register(Box::new(reconcile_duration.clone()))?;
        let since = &family::IN_PROGRESS_SINCE;
        let in_progress_since = GaugeVec::new(since.opts(), since.labels)?;
        registry.register(Box::new(in_progress_since.clone()))?;
        let depth = &family::QUEUE_DEPTH;
        let queue_depth = IntGaugeVec::new(depth.opts(), depth.labels)?;
        registry.register(Box::new(queue_depth.clone()))?;
        let metrics = Self {
            reconciles: counter(&family::RECONCILES)?,
            reconcile_duration,
            in_progress_since,
            queue_depth,
            api_requests: counter(&family::API_REQUESTS)?,
            writes: counter(&family::WRITES)?,
            writes_while_converged: counter(&family::WRITES_WHILE_CONVERGED)?,
            leader: gauge(&family::LEADER)?,
            lease_term: gauge(&family::LEASE_TERM)?,
            rolls: counter(&family::ROLLS)?,
            permits_refused: counter(&family::PERMITS_REFUSED)?,
            registry,
        };
        for kind in Kind::ALL {
            // A series that begins at one looks as if it had not risen.
            for outcome in Outcome::all() {
                metrics.reconciles.with_label_values(&[kind.name(), outcome.label()]);
            }
            metrics.writes_while_converged.with_label_values(&[kind.name()]);
        }
        Ok(metrics)
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, kind: Kind, outcome: Outcome, took: Duration) {
        self.reconciles.with_label_values(&[kind.name(), outcome.label()]).inc();
        self.reconcile_duration.with_label_values(&[kind.name()]).observe(took.as_secs_f64());
    }

    /// Counts a request to the API server.
    pub fn requested(&self, verb: &'static str, kind: &'static str, outcome: &'static str) {
        self.api_requests.with_label_values(&[verb, kind, outcome]).inc();
    }

    /// Counts a write of an object of `kind` on behalf of one of `owner`, which was said to be as it should be or not.
    pub fn wrote(&self, owner: Kind, kind: &str, was_converged: bool) {
        self.writes.with_label_values(&[kind]).inc();
        if was_converged {
            self.writes_while_converged.with_label_values(&[owner.name()]).inc();
        }
    }

    /// Takes in the term that this operator leads, or that it does not.
    pub fn leads(&self, term: Option<u64>) {
        self.leader.set(i64::from(term.is_some()));
        self.lease_term.set(term.map_or(0, |term| term as i64));
    }

    /// Counts a roll that ended as `outcome` says.
    pub fn rolled(&self, outcome: &'static str) {
        self.rolls.with_label_values(&[outcome]).inc();
    }

    /// Counts a restart permit that brokers refused for `reason`.
    pub fn permit_refused(&self, reason: &'static str) {
        self.permits_refused.with_label_values(&[reason]).inc();
    }

    /// Returns the page.
    ///
    /// # Errors
    /// When a family cannot be written.
    pub fn page(&self, progress: &Progress) -> Result<Vec<u8>, prometheus::Error> {
        for kind in Kind::ALL {
            let name = [kind.name()];
            let since = progress.oldest(kind).map_or(0.0, |since| since.as_second() as f64);
            self.in_progress_since.with_label_values(&name).set(since);
            self.queue_depth.with_label_values(&name).set(progress.depth(kind) as i64);
        }
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(page)
    }
}

impl Family {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;

    /// What an alert looks at is there before anything happened.
    #[tokio::test]
    async fn the_page_tells_counts_and_states() {
        let progress = Arc::new(Progress::new(Clock::system()));
        let metrics = Metrics::new().unwrap();
        let page = |metrics: &Metrics| String::from_utf8(metrics.page(&progress).unwrap()).unwrap();
        for line in [
            "ottla_operator_writes_while_converged_total{kind=\"Topic\"} 0",
            "ottla_operator_reconciles_total{kind=\"Cluster\",outcome=\"bug\"} 0",
            "ottla_operator_reconciles_total{kind=\"Topic\",outcome=\"unreadable\"} 0",
            "ottla_operator_reconcile_in_progress_since_seconds{kind=\"Topic\"} 0",
            "ottla_operator_queue_depth{kind=\"Cluster\"} 0",
            "ottla_operator_leader 0",
        ] {
            assert!(page(&metrics).contains(line), "{line}");
        }
        metrics.leads(Some(7));
        metrics.wrote(Kind::Topic, "Topic", true);
        metrics.reconciled(Kind::Topic, Outcome::Failed(Class::Bug), Duration::from_millis(2));
        let running = progress.begin(Kind::Topic, (String::new(), "orders".to_owned()));
        for line in [
            "ottla_operator_lease_term 7",
            "ottla_operator_writes_total{kind=\"Topic\"} 1",
            "ottla_operator_writes_while_converged_total{kind=\"Topic\"} 1",
            "ottla_operator_reconciles_total{kind=\"Topic\",outcome=\"bug\"} 1",
            "ottla_operator_reconcile_duration_seconds_bucket{kind=\"Topic\",le=\"0.0025\"} 1",
        ] {
            assert!(page(&metrics).contains(line), "{line}");
        }
        assert!(!page(&metrics).contains("_since_seconds{kind=\"Topic\"} 0"));
        drop(running);
    }
}
