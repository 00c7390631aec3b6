//! kafka_exporter's families, and lag in time beside them.
//!
//! Dashboards sum them over everything they scrape, so that on `/metrics` each series has one owner:
//! the leader for a partition, the coordinator for a group, the controller for the brokers. On
//! `/metrics/cluster` any broker says all that it knows; that page is scraped from one broker only.

use std::collections::BTreeMap;

use broker_config::value::MetricsPartitions;

use super::Scope;
use super::series::{Series, sample};
use crate::metrics::snapshot::{GroupFacts, PartitionFacts, Snapshot, TopicFacts};

/// Adds brokers, topics and groups.
pub(super) fn render(snapshot: &Snapshot, scope: Scope, series: &mut Series<'_>) {
    if snapshot.controller.is_active || scope == Scope::Cluster {
        series.add("kafka_brokers", &[], sample(snapshot.brokers.len() as u64));
        for (id, address) in &snapshot.brokers {
            series.add("kafka_broker_info", &[&id.to_string(), address], 1.0);
        }
    }
    let mode = snapshot.partitions;
    if mode != MetricsPartitions::Off {
        for topic in &snapshot.topics {
            render_topic(topic, mode, scope, series);
        }
    }
    for group in &snapshot.groups {
        render_group(group, mode, series);
    }
}

fn is_led_here(partition: &PartitionFacts) -> bool {
    partition.local.is_some_and(|replica| replica.is_leader)
}

fn render_topic(
    topic: &TopicFacts,
    mode: MetricsPartitions,
    scope: Scope,
    series: &mut Series<'_>,
) {
    let owns = |partition: &&PartitionFacts| scope == Scope::Cluster || is_led_here(partition);
    if topic.partitions.first().is_some_and(|first| owns(&first)) {
        let count = sample(topic.partitions.len() as u64);
        series.add("kafka_topic_partitions", &[&topic.name], count);
    }
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for partition in topic.partitions.iter().filter(owns) {
        let number = partition.partition.to_string();
        let led = partition.local.filter(|replica| replica.is_leader);
        let is_under = partition.in_sync < partition.replicas;
        // Ids do not add up: they come last, and are no part of sums.
        let values = [
            ("current_offset", led.map(|replica| sample(replica.high_watermark))),
            ("oldest_offset", led.map(|replica| sample(replica.log_start_offset))),
            ("replicas", Some(f64::from(partition.replicas))),
            ("in_sync_replica", Some(f64::from(partition.in_sync))),
            ("under_replicated_partition", Some(sample(is_under))),
            ("leader_is_preferred", Some(sample(partition.is_leader_preferred))),
            ("leader", Some(f64::from(partition.leader))),
        ];
        for (name, value) in values {
            if mode == MetricsPartitions::All {
                let labels = [&*topic.name, &*number];
                series.add_known(&format!("kafka_topic_partition_{name}"), &labels, value);
            } else if name != "leader"
                && let Some(value) = value
            {
                *sums.entry(name).or_default() += value;
            }
        }
    }
    for (name, sum) in sums {
        series.add(&format!("kafka_topic_partition_{name}"), &[&topic.name], sum);
    }
}

#[derive(Default)]
struct Sums {
    offset: f64,
    lag: Option<f64>,
    lag_seconds: Option<f64>,
}

fn render_group(group: &GroupFacts, mode: MetricsPartitions, series: &mut Series<'_>) {
    let mut topics: BTreeMap<&str, Sums> = BTreeMap::new();
    for offset in &group.offsets {
        let lag = offset.lag.map(sample);
        let sums = topics.entry(&offset.topic).or_default();
        sums.offset += sample(offset.offset);
        sums.lag = sums.lag.zip(lag).map(|(sum, lag)| sum + lag).or(sums.lag).or(lag);
        sums.lag_seconds = sums.lag_seconds.into_iter().chain(offset.lag_seconds).reduce(f64::max);
        if mode == MetricsPartitions::All && !group.is_other {
            let labels = [&*group.group, &*offset.topic, &*offset.partition.to_string()];
            let committed = sample(offset.offset);
            series.add("kafka_consumergroup_current_offset", &labels, committed);
            series.add_known("kafka_consumergroup_lag", &labels, lag);
            series.add_known("ottla_consumergroup_lag_seconds", &labels, offset.lag_seconds);
        }
    }
    for (topic, sums) in topics {
        let labels = [&*group.group, topic];
        series.add("kafka_consumergroup_current_offset_sum", &labels, sums.offset);
        series.add_known("kafka_consumergroup_lag_sum", &labels, sums.lag);
        series.add_known("ottla_consumergroup_max_lag_seconds", &labels, sums.lag_seconds);
    }
    series.add("kafka_consumergroup_members", &[&group.group], sample(group.members));
}
