//! The JMX exporter's families of one broker, requests excepted.

use std::collections::BTreeMap;

use broker_config::value::MetricsPartitions;

use super::requests::QUANTILES;
use super::series::{Series, sample};
use crate::metrics::snapshot::{PartitionFacts, ReplicaFacts, Snapshot, TopicFacts};
use crate::metrics::timer::Durations;

/// Adds controller, replicas, traffic, logs, network, process, session and groups.
pub(super) fn render(snapshot: &Snapshot, series: &mut Series<'_>) {
    controller(snapshot, series);
    replicas(snapshot, series);
    traffic(snapshot, series);
    if snapshot.partitions != MetricsPartitions::Off {
        for topic in &snapshot.topics {
            partitions(topic, snapshot.partitions, series);
            lags(topic, snapshot.partitions, series);
        }
    }
    network(snapshot, series);
    process(snapshot, series);
    coordination(snapshot, series);
    groups(snapshot, series);
}

fn controller(snapshot: &Snapshot, series: &mut Series<'_>) {
    let facts = &snapshot.controller;
    let values = [
        ("activecontrollercount", facts.is_active.into()),
        ("offlinepartitionscount", facts.offline_partitions),
        ("preferredreplicaimbalancecount", facts.preferred_imbalance),
        ("globaltopiccount", facts.topics),
        ("globalpartitioncount", facts.partitions),
        ("activebrokercount", facts.brokers),
        ("topicstodeletecount", facts.topics_to_delete),
        ("replicastodeletecount", facts.replicas_to_delete),
    ];
    for (name, value) in values {
        series.add(&format!("kafka_controller_kafkacontroller_{name}"), &[], sample(value));
    }
    let elections = sample(facts.unclean_elections);
    series.add("kafka_controller_controllerstats_uncleanleaderelections_total", &[], elections);
    let durations = "kafka_controller_controllerstats_leaderelectionrateandtimems";
    quantiles(durations, &facts.election_durations, series);
}

/// Adds what a timer of Kafka shows.
fn quantiles(name: &str, durations: &Durations, series: &mut Series<'_>) {
    for (label, quantile) in QUANTILES {
        series.add(name, &[label], durations.recent.quantile_ms(quantile));
    }
    series.add(&format!("{name}_count"), &[], sample(durations.all.total()));
}

fn count<T>(items: impl Iterator<Item = T>) -> f64 {
    sample(items.count() as u64)
}

/// Returns the partitions that have a replica here, with it.
fn local(topic: &TopicFacts) -> impl Iterator<Item = (&PartitionFacts, ReplicaFacts)> {
    topic.partitions.iter().filter_map(|partition| Some((partition, partition.local?)))
}

fn is_under_replicated(replica: &ReplicaFacts) -> bool {
    replica.is_leader && replica.in_sync < replica.wanted
}

fn is_under_min_isr(replica: &ReplicaFacts) -> bool {
    replica.is_leader && replica.in_sync < replica.required_in_sync
}

fn is_at_min_isr(replica: &ReplicaFacts) -> bool {
    replica.is_leader && replica.in_sync == replica.required_in_sync
}

fn replicas(snapshot: &Snapshot, series: &mut Series<'_>) {
    let all = || snapshot.topics.iter().flat_map(local).map(|(_, replica)| replica);
    let values = [
        ("leadercount", count(all().filter(|replica| replica.is_leader))),
        ("partitioncount", count(all())),
        ("underreplicatedpartitions", count(all().filter(is_under_replicated))),
        ("underminisrpartitioncount", count(all().filter(is_under_min_isr))),
        ("atminisrpartitioncount", count(all().filter(is_at_min_isr))),
        ("offlinereplicacount", count(all().filter(|replica| replica.is_offline))),
        ("reassigningpartitions", count(all().filter(|replica| replica.is_reassigning))),
        ("isrshrinks_total", sample(snapshot.replication.isr_shrinks)),
        ("isrexpands_total", sample(snapshot.replication.isr_expands)),
    ];
    for (name, value) in values {
        series.add(&format!("kafka_server_replicamanager_{name}"), &[], value);
    }
    let lag = all().filter(|replica| replica.source >= 0).map(|replica| replica.lag).max();
    series.add("kafka_server_replicafetchermanager_maxlag", &["Replica"], sample(lag.unwrap_or(0)));
    let offline = count(snapshot.log_dirs.iter().filter(|dir| dir.is_offline));
    series.add("kafka_log_logmanager_offlinelogdirectorycount", &[], offline);
}

fn traffic(snapshot: &Snapshot, series: &mut Series<'_>) {
    let mut add = |name: &str, labels: &[&str], value: u64| {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        series.add(&name, labels, sample(value));
    };
    for (name, value) in &snapshot.totals {
        add(name, &[], *value);
    }
    if snapshot.partitions == MetricsPartitions::Off {
        return;
    }
    for topic in &snapshot.topics {
        for (name, value) in &topic.counts {
            add(name, &[&topic.name], *value);
        }
    }
}

/// Adds each partition, or their sums; sums of offsets are what dashboards make of them anyway.
fn partitions(topic: &TopicFacts, mode: MetricsPartitions, series: &mut Series<'_>) {
    let mut sums: Option<[f64; 7]> = None;
    for (partition, replica) in local(topic) {
        let values = [
            if replica.is_leader { f64::from(partition.replicas) } else { 0.0 },
            sample(is_under_replicated(&replica)),
            sample(is_under_min_isr(&replica)),
            sample(is_at_min_isr(&replica)),
            sample(replica.size_in_bytes),
            sample(replica.log_start_offset),
            sample(replica.log_end_offset),
        ];
        if mode == MetricsPartitions::All {
            add_all(series, &[&topic.name, &partition.partition.to_string()], values);
        }
        let sums = sums.get_or_insert([0.0; 7]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
    if let (Some(sums), MetricsPartitions::Topic) = (sums, mode) {
        add_all(series, &[&topic.name], sums);
    }
}

/// Adds how far each follower here is behind, or how far those of a topic are together.
fn lags(topic: &TopicFacts, mode: MetricsPartitions, series: &mut Series<'_>) {
    let name = "kafka_server_fetcherlagmetrics_consumerlag";
    let mut sums: BTreeMap<i32, u64> = BTreeMap::new();
    for (partition, replica) in local(topic).filter(|(_, replica)| replica.source >= 0) {
        if mode == MetricsPartitions::All {
            let (client, number) = (fetcher(replica.source), partition.partition.to_string());
            series.add(name, &[&client, &topic.name, &number], sample(replica.lag));
        } else {
            *sums.entry(replica.source).or_default() += replica.lag;
        }
    }
    for (source, lag) in sums {
        series.add(name, &[&fetcher(source), &topic.name], sample(lag));
    }
}

/// The name of the fetchers that copy from a broker, as far as Kafka's and ours agree.
fn fetcher(source: i32) -> String {
    format!("ReplicaFetcherThread-0-{source}")
}

fn add_all(series: &mut Series<'_>, labels: &[&str], values: [f64; 7]) {
    const NAMES: [&str; 7] = [
        "kafka_cluster_partition_replicascount",
        "kafka_cluster_partition_underreplicated",
        "kafka_cluster_partition_underminisr",
        "kafka_cluster_partition_atminisr",
        "kafka_log_log_size",
        "kafka_log_log_logstartoffset",
        "kafka_log_log_logendoffset",
    ];
    for (name, value) in NAMES.into_iter().zip(values) {
        series.add(name, labels, value);
    }
}

fn network(snapshot: &Snapshot, series: &mut Series<'_>) {
    let threads = snapshot.threads.len().max(1) as f64;
    let idle = match &*snapshot.threads {
        [] => 1.0,
        all => all.iter().map(|thread| thread.idle_ratio).sum::<f64>() / threads,
    };
    series.add("kafka_network_socketserver_networkprocessoravgidle_percent", &[], idle);
    series.add("kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent", &[], idle);
    series.add("kafka_network_requestchannel_requestqueuesize", &[], 0.0);
    for facts in &snapshot.connections {
        let labels = [&*facts.listener, &facts.network_thread.to_string()];
        let name = "kafka_server_socket_server_metrics_connection_count";
        series.add(name, &labels, sample(facts.open));
    }
}

fn process(snapshot: &Snapshot, series: &mut Series<'_>) {
    let state = f64::from(snapshot.phase.broker_state());
    series.add("kafka_server_kafkaserver_brokerstate", &[], state);
    let facts = &snapshot.process;
    let values = [
        ("kafka_server_kafkaserver_linux_disk_read_bytes", facts.disk_read_bytes),
        ("kafka_server_kafkaserver_linux_disk_write_bytes", facts.disk_write_bytes),
        ("process_cpu_seconds_total", facts.cpu_seconds),
        ("process_open_fds", facts.open_fds),
        ("process_max_fds", facts.max_fds),
        ("process_resident_memory_bytes", facts.resident_memory_bytes),
        ("process_start_time_seconds", facts.start_time_seconds),
    ];
    for (name, value) in values {
        series.add_known(name, &[], value);
    }
}

fn coordination(snapshot: &Snapshot, series: &mut Series<'_>) {
    let facts = &snapshot.coordination;
    let values = [
        ("disconnects", facts.disconnects),
        ("expires", facts.expires),
        ("syncconnects", facts.connects),
        ("authfailures", facts.auth_failures),
    ];
    for (name, value) in values {
        let name = format!("kafka_server_sessionexpirelistener_zookeeper{name}_total");
        series.add(&name, &[], sample(value));
    }
    let latency = "kafka_server_zookeeperclientmetrics_zookeeperrequestlatencyms";
    quantiles(latency, &facts.requests, series);
}

fn groups(snapshot: &Snapshot, series: &mut Series<'_>) {
    let name = "kafka_coordinator_group_groupmetadatamanager_numgroups";
    let all: u64 = snapshot.group_states.iter().map(|(_, groups)| groups).sum();
    series.add(name, &[], sample(all));
    for (state, groups) in &snapshot.group_states {
        series.add(&format!("{name}{}", state.to_ascii_lowercase()), &[], sample(*groups));
    }
}
