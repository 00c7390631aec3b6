//! The JMX exporter's families of requests, by API.

use super::series::{Series, sample};
use crate::metrics::histogram::Counts;
use crate::metrics::snapshot::Snapshot;

/// The quantiles of Kafka's histograms, as Strimzi's rules write them.
pub(super) const QUANTILES: [(&str, f64); 6] = [
    ("0.50", 0.5),
    ("0.75", 0.75),
    ("0.95", 0.95),
    ("0.98", 0.98),
    ("0.99", 0.99),
    ("0.999", 0.999),
];

/// Adds counts by version and by error code, and quantiles of every part of a request's time.
pub(super) fn render(snapshot: &Snapshot, series: &mut Series<'_>) {
    let none = Counts::default();
    for facts in &snapshot.requests {
        for (version, count) in &facts.versions {
            let labels = [facts.request, &version.to_string()];
            series.add("kafka_network_requestmetrics_requests_total", &labels, sample(*count));
        }
        for (error, count) in &facts.errors {
            let labels = [facts.request, error];
            series.add("kafka_network_requestmetrics_errors_total", &labels, sample(*count));
        }
        let parts = [
            ("totaltimems", &facts.recent_total),
            ("localtimems", &facts.recent_local),
            ("remotetimems", &facts.recent_remote),
            ("requestqueuetimems", &none),
            ("responsequeuetimems", &none),
            ("responsesendtimems", &none),
        ];
        for (part, durations) in parts {
            let name = format!("kafka_network_requestmetrics_{part}");
            for (label, quantile) in QUANTILES {
                let value = durations.quantile_ms(quantile);
                series.add(&name, &[facts.request, label], value);
            }
            series.add(&format!("{name}_count"), &[facts.request], sample(facts.count));
        }
    }
}
