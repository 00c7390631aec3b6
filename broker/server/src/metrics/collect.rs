//! One look at every owner, into a [`Snapshot`].
//!
//! Groups are asked first, since their loops answer asynchronously; the rest takes short locks and
//! reads a header for each partition that a group is behind in, so it is done on a thread that may
//! wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use broker_config::value::MetricsPartitions;
use broker_protocol::quantity::TimestampMs;

use super::snapshot::{
    CleanerFacts, CommittedFacts, EventFacts, GroupFacts, LogDirFacts, PartitionFacts,
    ReplicaFacts, SessionFacts, Snapshot, TopicFacts,
};
use super::{lag, process};
use crate::context::Context;
use crate::group::listing::{self, Listing};
use crate::group::state::GroupState;
use crate::metadata::{Metadata, Partition};
use crate::replica::cleaner;
use crate::replica::counters::TopicCounters;
use crate::replica::manager::Manager;
use crate::replica::partition_state::{Role, required_in_sync};

/// Groups that get series of their own; their names are the clients' to choose.
const GROUPS_MAX: usize = 1_000;

/// Looks at everything; `None` if the process is about to end.
pub async fn collect(context: &Arc<Context>) -> Option<Snapshot> {
    let groups = context.groups.snapshot().await;
    let context = Arc::clone(context);
    tokio::task::spawn_blocking(move || look(&context, groups)).await.ok()
}

fn look(context: &Context, listing: Listing) -> Snapshot {
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
        is_controller: metadata.controller == Some(context.broker_id),
        topics: topics(&metadata, &context.replicas),
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
        events: events(context),
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

fn topics(metadata: &Metadata, replicas: &Manager) -> Vec<TopicFacts> {
    let topic = |(name, topic): (&Arc<str>, &Arc<crate::metadata::Topic>)| {
        let local = replicas.topic(name);
        let partitions = topic.partitions.iter().zip(0..).map(|(partition, number)| {
            let replica = local.as_ref().and_then(|topic| topic.partition(number));
            let assigned = partition.replicas.len() as u32;
            described(partition, number, replica.map(|replica| replica_facts(&replica, assigned)))
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
) -> ReplicaFacts {
    let min_insync_replicas = replica.config().min_insync_replicas.max(0) as u32;
    let offsets = replica.offsets();
    ReplicaFacts {
        is_leader: offsets.role == Role::Leader,
        log_start_offset: offsets.log_start_offset.0,
        high_watermark: offsets.high_watermark.0,
        log_end_offset: offsets.log_end_offset.0,
        size_in_bytes: offsets.size_in_bytes,
        segments: offsets.segment_count as u64,
        required_in_sync: required_in_sync(min_insync_replicas, assigned_replicas),
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

fn events(context: &Context) -> EventFacts {
    let events = &context.metrics.events;
    EventFacts {
        isr_shrinks: events.isr_shrinks.get(),
        isr_expands: events.isr_expands.get(),
        unclean_leader_elections: events.unclean_leader_elections.get(),
        zookeeper_disconnects: events.zookeeper_disconnects.get(),
        zookeeper_expires: events.zookeeper_expires.get(),
        zookeeper_sync_connects: events.zookeeper_sync_connects.get(),
        zookeeper_auth_failures: events.zookeeper_auth_failures.get(),
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
