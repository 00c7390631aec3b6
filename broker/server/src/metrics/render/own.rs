//! Our own families: what Kafka has no name for.

use std::collections::BTreeMap;

use broker_config::value::MetricsPartitions;

use super::series::{Series, sample};
use crate::metrics::coordination::STATES;
use crate::metrics::snapshot::{PartitionFacts, Snapshot};

/// Adds build, requests, replication, control, network threads, log directories, sessions and tasks.
pub(super) fn render(snapshot: &Snapshot, series: &mut Series<'_>) {
    series.add("ottla_build_info", &[snapshot.version], 1.0);
    series.add("ottla_ready", &[], sample(snapshot.phase.reason().is_none()));
    series.add("ottla_groups_loading", &[], sample(snapshot.is_loading_groups));
    requests(snapshot, series);
    replication(snapshot, series);
    control(snapshot, series);
    network(snapshot, series);
    storage(snapshot, series);
    let sessions = &snapshot.fetch_sessions;
    series.add("ottla_fetch_sessions", &[], sample(sessions.sessions));
    series.add("ottla_fetch_session_partitions", &[], sample(sessions.partitions));
    series.add("ottla_fetch_session_evictions_total", &[], sample(sessions.evictions));
    for (task, count) in &snapshot.tasks {
        series.add("ottla_tasks", &[task], sample(*count));
    }
}

fn requests(snapshot: &Snapshot, series: &mut Series<'_>) {
    // `Fetch` is the sum of its two kinds, and would be counted twice.
    for facts in snapshot.requests.iter().filter(|facts| facts.request != "Fetch") {
        let (counts, sum) = (&facts.durations, facts.total_seconds);
        series.add_histogram("ottla_request_duration_seconds", &[facts.request], counts, sum);
    }
}

fn replication(snapshot: &Snapshot, series: &mut Series<'_>) {
    let (mut records, mut seconds) = (0, 0.0_f64);
    for topic in &snapshot.topics {
        let led = |partition: &PartitionFacts| {
            partition.local.filter(|replica| replica.is_leader && replica.wanted > 1)
        };
        let led = topic.partitions.iter().filter_map(|one| Some((one.partition, led(one)?)));
        let mut sum = None;
        for (number, replica) in led {
            records = records.max(replica.lag);
            seconds = seconds.max(replica.lag_seconds);
            *sum.get_or_insert(0) += replica.lag;
            if snapshot.partitions == MetricsPartitions::All {
                let labels = [&*topic.name, &*number.to_string()];
                series.add("ottla_replication_lag_records", &labels, sample(replica.lag));
            }
        }
        if let (Some(sum), MetricsPartitions::Topic) = (sum, snapshot.partitions) {
            series.add("ottla_replication_lag_records", &[&topic.name], sample(sum));
        }
    }
    series.add("ottla_replication_max_lag_records", &[], sample(records));
    series.add("ottla_replication_max_lag_seconds", &[], seconds);
    let refused = sample(snapshot.replication.refused_leaderships);
    series.add("ottla_replication_refused_leaderships_total", &[], refused);
    let unproven = sample(snapshot.replication.unproven);
    series.add("ottla_replication_unproven_replicas", &[], unproven);
}

fn control(snapshot: &Snapshot, series: &mut Series<'_>) {
    let facts = &snapshot.controller;
    series.add("ottla_controller_epoch", &[], f64::from(facts.epoch));
    series.add("ottla_controller_elections_total", &[], sample(facts.elections));
    series.add("ottla_controller_load_seconds", &[], facts.load_seconds);
    series.add("ottla_controller_reassigning_partitions", &[], sample(facts.reassigning));
    let session = &snapshot.coordination;
    for state in STATES {
        series.add("ottla_coordination_session_state", &[state], sample(state == session.state));
    }
    for (name, durations) in [
        ("ottla_controller_election_duration_seconds", &facts.election_durations),
        ("ottla_coordination_request_duration_seconds", &session.requests),
    ] {
        series.add_histogram(name, &[], &durations.all, durations.total_seconds);
    }
}

fn network(snapshot: &Snapshot, series: &mut Series<'_>) {
    let mut accepted: BTreeMap<&str, u64> = BTreeMap::new();
    for facts in &snapshot.connections {
        *accepted.entry(&facts.listener).or_default() += facts.total;
    }
    for (listener, total) in accepted {
        series.add("ottla_connections_total", &[listener], sample(total));
    }
    for (thread, facts) in snapshot.threads.iter().enumerate() {
        let thread = thread.to_string();
        let busy = facts.busy_seconds;
        series.add("ottla_network_thread_busy_seconds_total", &[&thread], busy);
        series.add("ottla_network_thread_idle_ratio", &[&thread], facts.idle_ratio);
    }
}

fn storage(snapshot: &Snapshot, series: &mut Series<'_>) {
    let replicas =
        || snapshot.topics.iter().flat_map(|topic| &topic.partitions).filter_map(|p| p.local);
    let segments: u64 = replicas().map(|replica| replica.segments).sum();
    let bytes: u64 = replicas().map(|replica| replica.size_in_bytes).sum();
    series.add("ottla_log_segments", &[], sample(segments));
    series.add("ottla_log_bytes", &[], sample(bytes));
    let cleaner = snapshot.cleaner;
    series.add("ottla_log_cleaner_rounds_total", &[], sample(cleaner.rounds));
    series.add("ottla_log_cleaner_failures_total", &[], sample(cleaner.failures));
    series.add("ottla_log_cleaner_read_bytes_total", &[], sample(cleaner.bytes_read));
    series.add("ottla_log_cleaner_written_bytes_total", &[], sample(cleaner.bytes_written));
    series.add("ottla_log_cleaner_last_round_seconds", &[], cleaner.last_round_seconds);
    series.add("ottla_log_cleaner_max_dirty_ratio", &[], cleaner.dirty_ratio_max);
    series.add("ottla_log_cleaner_uncleanable_logs", &[], sample(cleaner.uncleanable));
    for facts in &snapshot.log_dirs {
        let dir = [&*facts.dir];
        series.add("ottla_log_dir_online", &dir, sample(!facts.is_offline));
        series.add("ottla_log_dir_syncs_queued", &dir, sample(facts.syncs_queued));
        let space = facts.space;
        let available = space.map(|space| sample(space.available_bytes));
        let total = space.map(|space| sample(space.total_bytes));
        series.add_known("ottla_log_dir_available_bytes", &dir, available);
        series.add_known("ottla_log_dir_total_bytes", &dir, total);
    }
}
