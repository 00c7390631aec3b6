//! Pages of an invented broker, held to golden files: every name, type, label and value.
//!
//! The golden files are the surface that dashboards and alerts are written against: a change of them
//! is a change that users see.

use std::collections::BTreeSet;
use std::time::Duration;

use broker_config::value::MetricsPartitions;

use super::*;
use crate::metrics::health::Phase;
use crate::metrics::histogram::Counts;
use crate::metrics::snapshot::{
    CleanerFacts, CommittedFacts, ConnectionFacts, ControllerFacts, CoordinationFacts, DiskSpace,
    GroupFacts, LogDirFacts, PartitionFacts, ProcessFacts, ReplicaFacts, ReplicationFacts,
    RequestFacts, SessionFacts, ThreadFacts, TopicFacts,
};
use crate::metrics::timer::Durations;
use crate::replica::counters::TopicCounters;

/// A broker of two: leads one partition, follows in another, knows a third that has no leader.
fn example() -> Snapshot {
    let counters = TopicCounters::default();
    for (index, (_, counter)) in (1..).zip(counters.named()) {
        counter.add(index * 10);
    }
    let counts: Vec<_> = counters.named().into_iter().map(|(n, c)| (n, c.get())).collect();
    Snapshot {
        version: "0.1.0",
        phase: Phase::Running,
        partitions: MetricsPartitions::All,
        broker_id: 1,
        brokers: vec![(1, "one:9092".into()), (2, "two:9092".into())],
        controller: controller(),
        topics: vec![
            TopicFacts { name: "a".into(), partitions: partitions(), counts: counts.clone() },
            TopicFacts { name: "b".into(), partitions: vec![lost()], counts: Vec::new() },
        ],
        totals: counts.iter().map(|(name, count)| (*name, count + 5)).collect(),
        requests: vec![request("Fetch"), request("FetchConsumer"), request("Produce")],
        connections: vec![ConnectionFacts {
            listener: "PLAINTEXT".into(),
            network_thread: 0,
            open: 3,
            total: 9,
        }],
        threads: vec![
            ThreadFacts { busy_seconds: 12.5, idle_ratio: 0.75 },
            ThreadFacts { busy_seconds: 1.5, idle_ratio: 0.25 },
        ],
        process: process(),
        log_dirs: vec![
            LogDirFacts {
                dir: "/data/1".into(),
                is_offline: false,
                syncs_queued: 4,
                space: Some(DiskSpace { total_bytes: 1000, available_bytes: 900 }),
            },
            LogDirFacts { dir: "/data/2".into(), is_offline: true, syncs_queued: 0, space: None },
        ],
        cleaner: CleanerFacts {
            rounds: 3,
            failures: 1,
            bytes_read: 2000,
            bytes_written: 700,
            last_round_seconds: 0.25,
            dirty_ratio_max: 0.625,
            uncleanable: 1,
        },
        groups: groups(),
        group_states: vec![
            ("Empty", 1),
            ("PreparingRebalance", 2),
            ("CompletingRebalance", 3),
            ("Stable", 4),
            ("Dead", 5),
        ],
        is_loading_groups: false,
        replication: replication(),
        coordination: CoordinationFacts {
            state: "CONNECTING",
            disconnects: 4,
            expires: 5,
            connects: 6,
            auth_failures: 7,
            requests: durations(),
        },
        fetch_sessions: SessionFacts { sessions: 1, partitions: 2, evictions: 3 },
        tasks: vec![("listener", 1)],
    }
}

fn replication() -> ReplicationFacts {
    ReplicationFacts { isr_shrinks: 1, isr_expands: 2, unproven: 9, refused_leaderships: 4 }
}

fn controller() -> ControllerFacts {
    ControllerFacts {
        is_active: true,
        epoch: 17,
        brokers: 2,
        topics: 2,
        partitions: 3,
        offline_partitions: 1,
        preferred_imbalance: 2,
        reassigning: 1,
        topics_to_delete: 4,
        replicas_to_delete: 5,
        elections: 8,
        unclean_elections: 3,
        election_durations: durations(),
        load_seconds: 0.5,
    }
}

fn durations() -> Durations {
    let mut counts = Counts::default();
    counts.record(Duration::from_millis(4), 6);
    Durations { all: counts.clone(), total_seconds: 0.024, recent: counts }
}

fn partitions() -> Vec<PartitionFacts> {
    let replica = ReplicaFacts {
        is_leader: true,
        log_start_offset: 10,
        high_watermark: 90,
        log_end_offset: 100,
        size_in_bytes: 4096,
        segments: 2,
        required_in_sync: 2,
        is_offline: false,
        wanted: 2,
        in_sync: 1,
        is_reassigning: true,
        source: -1,
        lag: 25,
        lag_seconds: 1.5,
    };
    let led = PartitionFacts {
        partition: 0,
        leader: 1,
        is_leader_preferred: true,
        replicas: 2,
        in_sync: 1,
        local: Some(replica),
    };
    let followed = PartitionFacts {
        partition: 1,
        leader: 2,
        is_leader_preferred: false,
        replicas: 2,
        in_sync: 2,
        local: Some(ReplicaFacts {
            is_leader: false,
            in_sync: 0,
            wanted: 0,
            is_reassigning: false,
            source: 2,
            lag: 6,
            lag_seconds: 0.0,
            ..replica
        }),
    };
    vec![led, followed]
}

fn lost() -> PartitionFacts {
    PartitionFacts {
        partition: 0,
        leader: -1,
        is_leader_preferred: false,
        replicas: 1,
        in_sync: 0,
        local: None,
    }
}

fn request(request: &'static str) -> RequestFacts {
    let mut counts = Counts::default();
    counts.record(Duration::from_millis(2), 10);
    RequestFacts {
        request,
        versions: vec![(3, 4), (9, 6)],
        errors: if request == "FetchConsumer" {
            vec![]
        } else {
            vec![("NONE", 9), ("CORRUPT_MESSAGE", 1)]
        },
        count: 10,
        total_seconds: 0.02,
        durations: counts.clone(),
        recent_total: counts.clone(),
        recent_local: counts,
        recent_remote: Counts::default(),
    }
}

fn process() -> ProcessFacts {
    ProcessFacts {
        cpu_seconds: Some(1.25),
        start_time_seconds: Some(1_700_000_000.5),
        resident_memory_bytes: Some(8192.0),
        open_fds: Some(42.0),
        max_fds: Some(1024.0),
        disk_read_bytes: Some(512.0),
        disk_write_bytes: Some(1024.0),
    }
}

fn groups() -> Vec<GroupFacts> {
    let committed = |partition, offset, lag, lag_seconds| CommittedFacts {
        topic: "a".into(),
        partition,
        offset,
        lag,
        lag_seconds,
    };
    let named = vec![committed(0, 80, Some(10), Some(2.5)), committed(1, 7, None, None)];
    let other = vec![committed(0, 1000, Some(500), None)];
    vec![
        GroupFacts { group: "shop".into(), members: 2, offsets: named, is_other: false },
        GroupFacts { group: "other".into(), members: 30, offsets: other, is_other: true },
    ]
}

fn text(snapshot: Snapshot, scope: Scope) -> String {
    String::from_utf8(render(snapshot, scope).unwrap()).unwrap()
}

/// Says which line differs first, and shows the page, to be put in place of the golden file.
fn check(page: &str, golden: &str, name: &str) {
    if page != golden {
        let first = page.lines().zip(golden.lines()).position(|(a, b)| a != b);
        panic!("{name} differs from line {first:?} on; the page is now:\n{page}");
    }
}

#[test]
fn the_brokers_page_is_as_the_golden_file_has_it() {
    let golden = include_str!("tests/metrics.txt");
    check(&text(example(), Scope::Broker), golden, "metrics.txt");
}

#[test]
fn the_clusters_page_is_as_the_golden_file_has_it() {
    let golden = include_str!("tests/cluster.txt");
    check(&text(example(), Scope::Cluster), golden, "cluster.txt");
}

#[test]
fn every_family_of_the_catalogue_is_on_the_page_and_named_once() {
    let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len(), "no name is there twice");
    let page = text(example(), Scope::Broker);
    let typed: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(typed, names);
}

/// The README's table names our own families, whole or by their last part after one that is.
#[test]
fn the_readme_says_what_every_family_of_our_own_is() {
    let readme = include_str!("../../../README.md");
    let is_named = |name: &str| {
        let by_part = |at: usize| {
            let (stem, part) = name.split_at(at);
            readme.contains(stem) && readme.contains(&format!("`{part}`"))
        };
        readme.contains(&format!("`{name}`")) || name.match_indices('_').any(|(at, _)| by_part(at))
    };
    let ours = FAMILIES.iter().map(|family| family.name).filter(|name| name.starts_with("ottla_"));
    let missing: Vec<&str> = ours.filter(|name| !is_named(name)).collect();
    assert_eq!(missing, [""; 0], "in broker/server/README.md");
}

#[test]
fn series_by_partition_become_sums_or_go() {
    let page = |partitions| text(Snapshot { partitions, ..example() }, Scope::Broker);
    let (topic, off) = (page(MetricsPartitions::Topic), page(MetricsPartitions::Off));
    for page in [&topic, &off] {
        assert!(!page.contains("partition=\""), "{page}");
        assert!(
            page.contains("kafka_consumergroup_lag_sum{consumergroup=\"shop\",topic=\"a\"} 10")
        );
    }
    assert!(topic.contains("kafka_log_log_size{topic=\"a\"} 8192"), "{topic}");
    assert!(topic.contains("kafka_topic_partition_current_offset{topic=\"a\"} 90"), "{topic}");
    assert!(topic.contains("kafka_server_brokertopicmetrics_bytesin_total{topic=\"a\"}"));
    assert!(!off.contains("kafka_log_log_size"), "{off}");
    assert!(!off.contains("kafka_server_brokertopicmetrics_bytesin_total{"), "{off}");
    assert!(off.contains("kafka_server_brokertopicmetrics_bytesin_total 15"), "{off}");
}
