//! The series of a page while it is made, sorted into the families of the catalogue.

use std::collections::HashMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::metrics::catalogue::Family;
use crate::metrics::histogram::Counts;

/// Series by family.
pub(super) struct Series<'a>(HashMap<&'static str, (&'a Family, Vec<Metric>)>);

impl<'a> Series<'a> {
    pub(super) fn new(families: impl Iterator<Item = &'a Family>) -> Self {
        Self(families.map(|family| (family.name, (family, Vec::new()))).collect())
    }

    /// Adds a series of the counter or gauge `name`, with the values of its labels in order; labels
    /// may be missing at the end.
    ///
    /// # Panics
    /// If the catalogue does not have it so: that is a mistake in this program.
    pub(super) fn add(&mut self, name: &str, values: &[&str], value: f64) {
        self.push(name, values, |kind, metric| {
            if kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        });
    }

    /// Adds a series whose value may be unknown.
    pub(super) fn add_known(&mut self, name: &str, values: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.add(name, values, value);
        }
    }

    /// Adds a histogram.
    pub(super) fn add_histogram(&mut self, name: &str, values: &[&str], counts: &Counts, sum: f64) {
        self.push(name, values, |_, metric| {
            let bucket = |(bound, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                bucket
            };
            let mut histogram = Histogram::default();
            histogram.set_bucket(counts.cumulative().into_iter().map(bucket).collect());
            histogram.set_sample_count(counts.total());
            histogram.set_sample_sum(sum);
            metric.set_histogram(histogram);
        });
    }

    fn push(&mut self, name: &str, values: &[&str], set: impl FnOnce(MetricType, &mut Metric)) {
        let known = self.0.get_mut(name);
        assert!(known.is_some(), "{name} is in the catalogue");
        let Some((family, metrics)) = known else { return };
        assert!(values.len() <= family.labels.len(), "{name} has labels {:?}", family.labels);
        let label = |(label, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*label).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let labels = family.labels.iter().zip(values).map(label).collect();
        let mut metric = Metric::from_label(labels);
        set(family.kind, &mut metric);
        metrics.push(metric);
    }

    /// Returns the families that have series.
    pub(super) fn into_families(self) -> Vec<MetricFamily> {
        let filled = self.0.into_values().filter(|(_, metrics)| !metrics.is_empty());
        let families = filled.map(|(family, metrics)| {
            let mut proto = MetricFamily::default();
            proto.set_name(family.name.to_owned());
            proto.set_help(family.help.to_owned());
            proto.set_field_type(family.kind);
            proto.set_metric(metrics);
            proto
        });
        families.collect()
    }
}

/// Returns a count or a yes as a sample.
pub(super) fn sample(value: impl Into<Sample>) -> f64 {
    value.into().0
}

/// A sample of a series.
pub(super) struct Sample(f64);

impl From<u64> for Sample {
    fn from(value: u64) -> Self {
        Self(value as f64)
    }
}

impl From<i64> for Sample {
    fn from(value: i64) -> Self {
        Self(value as f64)
    }
}

impl From<bool> for Sample {
    fn from(value: bool) -> Self {
        Self(if value { 1.0 } else { 0.0 })
    }
}
