//! The JMX exporter's families of one broker, requests excepted.

use broker_config::value::MetricsPartitions;

use super::requests::QUANTILES;
use super::series::{Series, sample};
use crate::metrics::snapshot::{PartitionFacts, ReplicaFacts, Snapshot, TopicFacts};

/// Adds controller, replicas, traffic, logs, network, process, session and groups.
pub(super) fn render(snapshot: &Snapshot, series: &mut Series<'_>) {
    controller(snapshot, series);
    replicas(snapshot, series);
    traffic(snapshot, series);
    if snapshot.partitions != MetricsPartitions::Off {
        for topic in &snapshot.topics {
            partitions(topic, snapshot.partitions, series);
        }
    }
    network(snapshot, series);
    process(snapshot, series);
    coordination(snapshot, series);
    groups(snapshot, series);
}

fn controller(snapshot: &Snapshot, series: &mut Series<'_>) {
    let here = snapshot.is_controller;
    let all = || snapshot.topics.iter().flat_map(|topic| &topic.partitions).filter(|_| here);
    let topics = if here { snapshot.topics.len() } else { 0 };
    let led_elsewhere = |p: &&PartitionFacts| p.leader >= 0 && !p.is_leader_preferred;
    let values = [
        ("activecontrollercount", sample(here)),
        ("offlinepartitionscount", count(all().filter(|p| p.leader < 0))),
        ("preferredreplicaimbalancecount", count(all().filter(led_elsewhere))),
        ("globaltopiccount", sample(topics as u64)),
        ("globalpartitioncount", count(all())),
    ];
    for (name, value) in values {
        series.add(&format!("kafka_controller_kafkacontroller_{name}"), &[], value);
    }
    let elections = sample(snapshot.events.unclean_leader_elections);
    series.add("kafka_controller_controllerstats_uncleanleaderelections_total", &[], elections);
}

fn count<T>(items: impl Iterator<Item = T>) -> f64 {
    sample(items.count() as u64)
}

/// Returns the partitions that have a replica here, with it.
fn local(topic: &TopicFacts) -> impl Iterator<Item = (&PartitionFacts, ReplicaFacts)> {
    topic.partitions.iter().filter_map(|partition| Some((partition, partition.local?)))
}

fn is_under_replicated((partition, replica): &(&PartitionFacts, ReplicaFacts)) -> bool {
    replica.is_leader && partition.in_sync < partition.replicas
}

fn is_under_min_isr((partition, replica): &(&PartitionFacts, ReplicaFacts)) -> bool {
    replica.is_leader && partition.in_sync < replica.required_in_sync
}

fn replicas(snapshot: &Snapshot, series: &mut Series<'_>) {
    let all = || snapshot.topics.iter().flat_map(local);
    let values = [
        ("leadercount", count(all().filter(|(_, replica)| replica.is_leader))),
        ("partitioncount", count(all())),
        ("underreplicatedpartitions", count(all().filter(is_under_replicated))),
        ("underminisrpartitioncount", count(all().filter(is_under_min_isr))),
        ("isrshrinks_total", sample(snapshot.events.isr_shrinks)),
        ("isrexpands_total", sample(snapshot.events.isr_expands)),
    ];
    for (name, value) in values {
        series.add(&format!("kafka_server_replicamanager_{name}"), &[], value);
    }
    // No replica here follows another broker.
    series.add("kafka_server_replicafetchermanager_maxlag", &["Replica"], 0.0);
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
        let pair = (partition, replica);
        let (in_sync, leads) = (partition.in_sync, replica.is_leader);
        let values = [
            if leads { f64::from(partition.replicas) } else { 0.0 },
            sample(is_under_replicated(&pair)),
            sample(is_under_min_isr(&pair)),
            sample(leads && in_sync == replica.required_in_sync),
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
    let events = &snapshot.events;
    let values = [
        ("disconnects", events.zookeeper_disconnects),
        ("expires", events.zookeeper_expires),
        ("syncconnects", events.zookeeper_sync_connects),
        ("authfailures", events.zookeeper_auth_failures),
    ];
    for (name, value) in values {
        let name = format!("kafka_server_sessionexpirelistener_zookeeper{name}_total");
        series.add(&name, &[], sample(value));
    }
    let latency = "kafka_server_zookeeperclientmetrics_zookeeperrequestlatencyms";
    for (quantile, _) in QUANTILES {
        series.add(latency, &[quantile], 0.0);
    }
    series.add(&format!("{latency}_count"), &[], 0.0);
}

fn groups(snapshot: &Snapshot, series: &mut Series<'_>) {
    let name = "kafka_coordinator_group_groupmetadatamanager_numgroups";
    let all: u64 = snapshot.group_states.iter().map(|(_, groups)| groups).sum();
    series.add(name, &[], sample(all));
    for (state, groups) in &snapshot.group_states {
        series.add(&format!("{name}{}", state.to_ascii_lowercase()), &[], sample(*groups));
    }
}
