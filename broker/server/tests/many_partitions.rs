//! What a partition costs a broker that has thousands of them: memory while it leads or follows them, and
//! time to load them.
//!
//! Method: the manager alone, on real files of this machine; what is allocated between two moments is counted,
//! and divided by the partitions. Times are told and not judged: they are the machine's. The test is alone in
//! its binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::alloc::System;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use broker_config::broker::BrokerConfig;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_server::clock::{Clock, SystemClock};
use broker_server::replica::manager::{Become, Manager, Outcome, Settings};
use broker_server::replica::partition_state::Leadership;
use broker_server::replica::producer_id::ProducerIds;
use broker_storage::fs::real::RealFs;
use broker_storage::log_dir::{Identity, LogDir};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ME: BrokerId = BrokerId(1);

/// Enough for what a broker needs by itself to vanish in the quotient.
const PARTITIONS: i32 = 100;

/// What a partition of three replicas may hold, in bytes: 10,000 of them then take 60 MiB of the 250 MiB that a
/// broker with as many may have; fetch sessions, metadata, the controller and connections take the rest.
const BYTES_MAX: usize = 6 * 1024;

fn config() -> Arc<TopicConfig> {
    Arc::new(TopicConfig::resolve(&BrokerConfig::default(), &BTreeMap::default()).unwrap())
}

fn load(dir: &Path) -> Arc<Manager> {
    let identity = Identity { cluster_id: "cluster".to_owned(), broker_id: ME };
    let dir = LogDir::open(Arc::new(RealFs), dir, &identity, SystemClock.wall()).unwrap();
    let settings =
        Settings { fetch_sessions_max: 10, recovery_threads: 2, producer_id_expiration_ms: 1 };
    let ids = ProducerIds::new(Box::new(|| Box::pin(async { Ok(0..1) })));
    let (config, clock) = (config(), Arc::new(SystemClock));
    Manager::load(vec![Arc::new(dir)], settings, ids, clock, &|_| Arc::clone(&config), &|_, _| ())
}

/// Leads every second partition of three replicas, and follows the others.
fn turn(manager: &Manager, epoch: i32) {
    let config = config();
    let change = |number| {
        let leader = BrokerId(1 + number % 2);
        let replicas = vec![BrokerId(1), BrokerId(2), BrokerId(3)];
        Become {
            partition: TopicPartition { topic: "a-topic-of-many".into(), partition: number },
            topic_id: Uuid::from_bytes([1; 16]),
            config: Arc::clone(&config),
            leadership: Leadership {
                isr: replicas.clone(),
                replicas,
                ..Leadership::alone(leader, LeaderEpoch(epoch), 3)
            },
            leads: leader == ME,
            is_in_sync: true,
            is_new: epoch == 0,
        }
    };
    let outcomes = manager.apply((0..PARTITIONS).map(change).collect());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(_))));
}

/// Appends a batch to what is led.
fn fill(manager: &Manager) {
    let mut batch = BatchBuilder::new(Offset(0), Compression::None);
    batch.push(TimestampMs(1), None, Some(b"value"));
    let bytes = batch.finish().unwrap();
    for partition in manager.partitions() {
        let header = broker_protocol::record::batch::BatchHeader::parse(&bytes).unwrap();
        let batch = broker_storage::log::AppendBatch { header, bytes: (&bytes[..]).into() };
        // Half of them are led elsewhere.
        _ = partition.append(&mut [batch], LeaderEpoch(-1), false, TimestampMs(1));
    }
}

/// Returns what is done, and the bytes each partition holds after it.
fn measured<T>(what: &str, work: impl FnOnce() -> T) -> (T, usize) {
    let (region, start) = (Region::new(ALLOCATOR), SystemClock.now());
    let done = work();
    let (stats, took) = (region.change(), SystemClock.now() - start);
    let held = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
    let held = held / PARTITIONS as usize;
    println!("{what}: {took:?} for {PARTITIONS} partitions, {held} bytes each");
    (done, held)
}

#[test]
fn a_partition_is_cheap_however_many_there_are() {
    for (kind, is_filled) in [("empty", false), ("short", true)] {
        let dir = tempfile::tempdir().unwrap();
        let manager = load(dir.path());
        let ((), made) = measured(&format!("{kind}, made"), || turn(&manager, 0));
        if is_filled {
            fill(&manager);
        }
        manager.close(0);
        drop(manager);
        let (manager, loaded) = measured(&format!("{kind}, loaded"), || load(dir.path()));
        let ((), turned) = measured(&format!("{kind}, led and followed"), || turn(&manager, 1));
        let held = made.max(loaded + turned);
        assert!(held <= BYTES_MAX, "{kind}: a partition holds {held} bytes");
    }
}
