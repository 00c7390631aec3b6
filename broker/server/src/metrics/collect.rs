//! One look at every owner, into a [`Snapshot`].
//!
//! Groups are asked first, since their loops answer asynchronously; the rest takes short locks and
//! reads a header for each partition that a group is behind in, so it is done on a thread that may
//! wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use broker_config::value::MetricsPartitions;
use broker_protocol::quantity::TimestampMs;

use super::snapshot::{
    CleanerFacts, CommittedFacts, ControllerFacts, GroupFacts, LogDirFacts, PartitionFacts,
    ReplicaFacts, ReplicationFacts, SessionFacts, Snapshot, TopicFacts,
};
use super::{lag, process};
use crate::context::Context;
use crate::controller::state::Summary;
use crate::group::listing::{self, Listing};
use crate::group::state::GroupState;
use crate::metadata::{Metadata, Partition};
use crate::replica::cleaner;
use crate::replica::counters::TopicCounters;
use crate::replica::manager::Manager;
use crate::replica::partition_state::{Role, required_in_sync};

/// Groups that get series of their own; their names are the clients' to choose.
const GROUPS_MAX: usize = 1_000;

/// How long a controller may take to say how the cluster is: it may be waiting for a write, and that for
/// a server of the coordination tree.
const SUMMARY_WAIT: Duration = Duration::from_secs(1);

/// Looks at everything; `None` if the process is about to end.
pub async fn collect(context: &Arc<Context>) -> Option<Snapshot> {
    let groups = context.groups.snapshot().await;
    let summary = tokio::time::timeout(SUMMARY_WAIT, context.controller.summary()).await;
    let summary = summary.ok().flatten();
    let context = Arc::clone(context);
    tokio::task::spawn_blocking(move || look(&context, groups, summary)).await.ok()
}

fn look(context: &Context, listing: Listing, summary: Option<Summary>) -> Snapshot {
    let metadata = context.metadata.load();
    let config = context.config.load();
    let metrics = &context.metrics;
    let now = context.clock.now();
    let mode = config.metrics_partitions;
    let sessions = context.replicas.sessions().counts();
    Snapshot {
        version: env!("CARGO_PKG_VERSION"),
        phase: metrics.health.phase(),
        partitions: mode,
        broker_id: context.broker_id.0,
        brokers: brokers(&metadata),
        controller: controller(context, &metadata, summary, now),
        topics: topics(&metadata, &context.replicas, now),
        totals: totals(&context.replicas),
        requests: metrics.recent.read(&metrics.requests, now),
        connections: metrics.connections.read(),
        threads: metrics.threads.read(now),
        process: process::read(),
        log_dirs: log_dirs(&context.replicas),
        group_states: group_states(&listing),
        is_loading_groups: listing.is_loading,
        groups: groups(&context.replicas, listing.groups, mode, context.clock.wall()),
        cleaner: cleaner(context.cleaner.facts()),
        replication: replication(&context.replicas),
        coordination: metrics.coordination.read(now),
        fetch_sessions: SessionFacts {
            sessions: sessions.sessions as u64,
            partitions: sessions.partitions as u64,
            evictions: sessions.evictions,
        },
        tasks: context.tasks.running().into_iter().map(|(name, n)| (name, n as u64)).collect(),
    }
}

fn brokers(metadata: &Metadata) -> Vec<(i32, String)> {
    let address = |broker: &crate::metadata::Broker| {
        let first = broker.endpoints.first();
        first.map_or_else(String::new, |endpoint| format!("{}:{}", endpoint.host, endpoint.port))
    };
    metadata.brokers.iter().map(|(id, broker)| (id.0, address(broker))).collect()
}

fn topics(metadata: &Metadata, replicas: &Manager, now: Instant) -> Vec<TopicFacts> {
    let topic = |(name, topic): (&Arc<str>, &Arc<crate::metadata::Topic>)| {
        let local = replicas.topic(name);
        let partitions = topic.partitions.iter().zip(0..).map(|(partition, number)| {
            let replica = local.as_ref().and_then(|topic| topic.partition(number));
            let assigned = partition.replicas.len() as u32;
            described(
                partition,
                number,
                replica.map(|replica| replica_facts(&replica, assigned, now)),
            )
        });
        TopicFacts {
            name: Arc::clone(name),
            partitions: partitions.collect(),
            counts: local.map_or_else(Vec::new, |topic| read(topic.counters())),
        }
    };
    metadata.topics.iter().map(topic).collect()
}

fn described(partition: &Partition, number: i32, local: Option<ReplicaFacts>) -> PartitionFacts {
    let leader = partition.leader;
    PartitionFacts {
        partition: number,
        leader: leader.map_or(-1, |leader| leader.0),
        is_leader_preferred: leader.is_some() && leader.as_ref() == partition.replicas.first(),
        replicas: partition.replicas.len() as u32,
        in_sync: partition.isr.len() as u32,
        local,
    }
}

fn replica_facts(
    replica: &crate::replica::partition::Partition,
    assigned_replicas: u32,
    now: Instant,
) -> ReplicaFacts {
    let min_insync_replicas = replica.config().min_insync_replicas.max(0) as u32;
    let (offsets, replication) = (replica.offsets(), replica.replication(now));
    ReplicaFacts {
        is_leader: offsets.role == Role::Leader,
        log_start_offset: offsets.log_start_offset.0,
        high_watermark: offsets.high_watermark.0,
        log_end_offset: offsets.log_end_offset.0,
        size_in_bytes: offsets.size_in_bytes,
        segments: offsets.segment_count as u64,
        required_in_sync: required_in_sync(min_insync_replicas, assigned_replicas),
        is_offline: offsets.role == Role::Offline,
        wanted: replication.wanted,
        in_sync: replication.in_sync,
        is_reassigning: replication.is_reassigning,
        source: replication.source.map_or(-1, |source| source.0),
        lag: replication.lag,
        lag_seconds: replication.late_by.as_secs_f64(),
    }
}

fn read(counters: &TopicCounters) -> Vec<(&'static str, u64)> {
    counters.named().into_iter().map(|(name, counter)| (name, counter.get())).collect()
}

fn totals(replicas: &Manager) -> Vec<(&'static str, u64)> {
    let mut totals = read(replicas.retired_counters());
    for topic in replicas.topics() {
        for ((_, total), (_, count)) in totals.iter_mut().zip(read(topic.counters())) {
            *total += count;
        }
    }
    totals
}

fn log_dirs(replicas: &Manager) -> Vec<LogDirFacts> {
    let dirs = replicas.log_dirs().iter().map(|dir| LogDirFacts {
        dir: dir.path().display().to_string(),
        is_offline: dir.offline().is_offline(),
        syncs_queued: dir.committer().queue_count() as u64,
        space: process::disk_space(dir.path()),
    });
    dirs.collect()
}

fn cleaner(facts: &cleaner::Facts) -> CleanerFacts {
    CleanerFacts {
        rounds: facts.rounds.load(Relaxed),
        failures: facts.failures.load(Relaxed),
        bytes_read: facts.bytes_read.load(Relaxed),
        bytes_written: facts.bytes_written.load(Relaxed),
        last_round_seconds: facts.last_round_ms.load(Relaxed) as f64 / 1e3,
        dirty_ratio_max: facts.dirty_permille_max.load(Relaxed) as f64 / 1e3,
        uncleanable: facts.uncleanable.load(Relaxed) as u64,
    }
}

fn replication(replicas: &Manager) -> ReplicationFacts {
    let attention = replicas.attention();
    ReplicationFacts {
        isr_shrinks: attention.shrinks.get(),
        isr_expands: attention.expansions.get(),
        refused_leaderships: replicas.attention().refusals.get(),
        unproven: replicas.standings().unproven().len() as u64,
    }
}

/// What the controller says, or what is known of the cluster here if it does not say in time.
fn controller(
    context: &Context,
    metadata: &Metadata,
    summary: Option<Summary>,
    now: Instant,
) -> ControllerFacts {
    let handle = &context.controller;
    let is_active = handle.is_active();
    let known = || if is_active { counted(metadata) } else { Summary::default() };
    let summary = summary.unwrap_or_else(known);
    let elections = &handle.elections;
    ControllerFacts {
        is_active,
        epoch: metadata.controller_epoch,
        brokers: summary.brokers as u64,
        topics: summary.topics as u64,
        partitions: summary.partitions as u64,
        offline_partitions: summary.offline_partitions as u64,
        preferred_imbalance: summary.preferred_imbalance as u64,
        reassigning: summary.reassigning as u64,
        topics_to_delete: summary.topics_to_delete as u64,
        replicas_to_delete: summary.replicas_to_delete as u64,
        elections: elections.leaders.get(),
        unclean_elections: elections.unclean.get(),
        election_durations: elections.durations.read(now),
        load_seconds: elections.load_seconds(),
    }
}

fn counted(metadata: &Metadata) -> Summary {
    let partitions = || metadata.topics.values().flat_map(|topic| &topic.partitions);
    let is_live = |leader: &_| metadata.brokers.contains_key(leader);
    let is_led = |one: &&Partition| one.leader.as_ref().is_some_and(is_live);
    let is_balanced = |one: &&Partition| one.leader.as_ref() == one.replicas.first();
    Summary {
        brokers: metadata.brokers.len(),
        topics: metadata.topics.len(),
        partitions: partitions().count(),
        offline_partitions: partitions().filter(|one| !is_led(one)).count(),
        preferred_imbalance: partitions().filter(|one| !is_balanced(one)).count(),
        ..Summary::default()
    }
}

fn group_states(listing: &Listing) -> Vec<(&'static str, u64)> {
    let count = |state: GroupState| {
        let groups = listing.groups.iter().filter(|group| group.state == state);
        (state.name(), groups.count() as u64)
    };
    GroupState::ALL.map(count).to_vec()
}

fn groups(
    replicas: &Manager,
    listed: Vec<listing::GroupFacts>,
    mode: MetricsPartitions,
    now: TimestampMs,
) -> Vec<GroupFacts> {
    let mut named = Vec::with_capacity(listed.len().min(GROUPS_MAX));
    let mut other: Option<GroupFacts> = None;
    for group in listed {
        let is_other = named.len() == GROUPS_MAX;
        // Ages cost a read each; sums of many groups have none.
        let with_age = !is_other && mode != MetricsPartitions::Off;
        let offsets = group.offsets.iter().map(|(partition, committed)| {
            let lag = replicas
                .partition(&partition.topic, partition.partition)
                .filter(|replica| replica.offsets().role == Role::Leader)
                .map(|replica| lag::measure(&replica, committed.offset, with_age.then_some(now)));
            CommittedFacts {
                topic: Arc::clone(&partition.topic),
                partition: partition.partition,
                offset: committed.offset,
                lag: lag.map(|lag| lag.records),
                lag_seconds: lag.and_then(|lag| lag.seconds),
            }
        });
        let (offsets, members) = (offsets.collect(), group.members_count as u64);
        if is_other {
            let other = other.get_or_insert_with(|| GroupFacts {
                group: "other".into(),
                members: 0,
                offsets: Vec::new(),
                is_other: true,
            });
            other.members += members;
            fold(&mut other.offsets, offsets);
        } else {
            named.push(GroupFacts { group: group.group_id, members, offsets, is_other });
        }
    }
    named.extend(other);
    named
}

/// Keeps one sum a topic of the groups that are too many.
fn fold(sums: &mut Vec<CommittedFacts>, more: Vec<CommittedFacts>) {
    let all = sums.drain(..).chain(more);
    let mut by_topic: BTreeMap<Arc<str>, CommittedFacts> = BTreeMap::new();
    for offset in all {
        match by_topic.get_mut(&offset.topic) {
            Some(sum) => {
                sum.offset += offset.offset;
                sum.lag = sum.lag.zip(offset.lag).map(|(a, b)| a + b).or(sum.lag).or(offset.lag);
            }
            None => {
                by_topic.insert(Arc::clone(&offset.topic), offset);
            }
        }
    }
    sums.extend(by_topic.into_values());
}
