//! Followers that copy over a socket from partitions that lead: what they catch up with, and what they
//! never append.
#![allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]

use std::time::Duration;

use arc_swap::ArcSwap;
use broker_config::broker::BrokerConfig;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_protocol::uuid::Uuid;
use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::replica::delayed::FetchWaiter;
use crate::replica::manager::{Become, Outcome};
use crate::replica::partition::admin::Offsets;
use crate::replica::partition_state::Leadership;
use crate::replica::tests::{append, config, open};

mod leader;

use leader::{Asked, Served, serve};

const ID: Uuid = Uuid::from_bytes([1; 16]);
const FOLLOWER: BrokerId = BrokerId(3);

/// How long anything may take before a test fails.
const LIMIT: Duration = Duration::from_mins(1);

/// A broker's partitions.
struct Node {
    id: BrokerId,
    manager: Arc<Manager>,
    config: Arc<TopicConfig>,
    topic_id: Uuid,
    /// Whether the follower is in sync, as far as this broker is told.
    has_follower_in_sync: bool,
    dir: TempDir,
}

impl Node {
    fn new(id: BrokerId, durability: &str) -> Self {
        let (dir, config) =
            (tempfile::tempdir().unwrap(), config(&[("ottla.durability", durability)]));
        let manager = open(&[dir.path()], &config);
        Self { id, manager, config, topic_id: ID, has_follower_in_sync: true, dir }
    }

    /// Tells the broker who leads `count` partitions in `epoch`.
    fn apply(&self, leader: BrokerId, epoch: i32, count: i32) -> Vec<Arc<Partition>> {
        let isr = self.has_follower_in_sync.then_some(FOLLOWER);
        let change = |partition| Become {
            partition: name(partition),
            topic_id: self.topic_id,
            config: Arc::clone(&self.config),
            leadership: Leadership {
                leader: Some(leader),
                leader_epoch: LeaderEpoch(epoch),
                partition_epoch: epoch,
                isr: [leader].into_iter().chain(isr).collect(),
                replicas: vec![BrokerId(1), BrokerId(2), FOLLOWER],
                adding: Vec::new(),
                removing: Vec::new(),
                recovering: false,
            },
            leads: leader == self.id,
            is_in_sync: leader == self.id || self.id == FOLLOWER,
            is_new: true,
        };
        let outcomes = self.manager.apply((0..count).map(change).collect());
        let partitions = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Done(partition) => partition,
            Outcome::Stale | Outcome::InconsistentTopicId | Outcome::Offline => panic!("refused"),
        });
        partitions.collect()
    }

    fn records(&self, partition: i32) -> Vec<u8> {
        let dir = self.dir.path().join(name(partition).to_string());
        std::fs::read(dir.join("00000000000000000000.log")).unwrap()
    }
}

const NEWEST: Versions = Versions { fetch: 17, list_offsets: 9, offset_for_leader_epoch: 4 };

/// Of 0.11.0, whose answers name no epoch, of 2.3, and of 2.6.
const OLD: [Versions; 3] = [
    Versions { fetch: 5, list_offsets: 2, offset_for_leader_epoch: 0 },
    Versions { fetch: 11, list_offsets: 5, offset_for_leader_epoch: 2 },
    Versions { fetch: 11, list_offsets: 5, offset_for_leader_epoch: 3 },
];

/// A follower's fetchers.
struct Follower {
    node: Node,
    fetchers: Fetchers,
    config: SharedConfig,
}

impl Follower {
    fn new(durability: &str) -> Self {
        Self::of(Node::new(FOLLOWER, durability), BrokerConfig::default())
    }

    fn of(node: Node, config: BrokerConfig) -> Self {
        Self::speaking(node, config, NEWEST)
    }

    fn speaking(node: Node, config: BrokerConfig, versions: Versions) -> Self {
        let config = Arc::new(ArcSwap::from_pointee(config));
        let fetchers = Fetchers::new(Parts {
            broker_id: FOLLOWER,
            broker_epoch: Arc::new(AtomicI64::new(7)),
            replicas: Arc::clone(&node.manager),
            config: Arc::clone(&config),
            versions,
            runtimes: Vec::new(),
            tasks: Tasks::new(),
        });
        Self { node, fetchers, config }
    }

    async fn follow(&mut self, leader: BrokerId, epoch: i32, count: i32) -> Vec<Arc<Partition>> {
        let partitions = self.node.apply(leader, epoch, count);
        self.fetchers.follow(partitions.clone()).await;
        partitions
    }

    fn reach(&self, leader: &Node, served: &Served) {
        self.fetchers.reach([(leader.id, "127.0.0.1", served.port)].into_iter());
    }
}

fn name(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

/// Waits until `holds` of where a partition stands, which is looked at when its high watermark moves.
async fn until(partition: &Partition, holds: impl Fn(&Offsets) -> bool) {
    let waiter = FetchWaiter::new();
    let subscription = partition.subscribers().subscribe(&waiter, 0);
    let deadline = SystemClock.now() + LIMIT;
    loop {
        subscription.arm();
        let offsets = partition.offsets();
        if holds(&offsets) {
            return;
        }
        assert!(waiter.woken(deadline).await, "{}: {offsets:?}", partition.name());
    }
}

async fn visible(partition: &Partition, offset: i64) {
    until(partition, |offsets| offsets.high_watermark >= Offset(offset)).await;
}

/// Whatever the durability, the leader shows what its follower has, and the follower learns of it.
#[tokio::test]
async fn a_follower_has_every_byte_and_the_leader_shows_it() {
    for durability in ["replicated", "synced"] {
        let leader = Node::new(BrokerId(1), durability);
        let led = leader.apply(BrokerId(1), 0, 3);
        append(&led[0], 5).unwrap();
        assert_eq!(led[0].offsets().high_watermark, Offset(0), "{durability}: nobody has it yet");
        let served = serve(&leader.manager).await;
        let mut follower = Follower::new(durability);
        follower.reach(&leader, &served);
        let copies = follower.follow(BrokerId(1), 0, 3).await;
        visible(&led[0], 5).await;
        // The follower waits at the leader by now.
        for partition in [1, 0, 2, 1] {
            append(&led[partition], 2).unwrap();
            let end = led[partition].offsets().log_end_offset;
            visible(&led[partition], end.0).await;
        }
        for (led, copy) in led.iter().zip(&copies) {
            visible(copy, led.offsets().high_watermark.0).await;
        }
        for partition in 0..3 {
            assert_eq!(follower.node.records(partition), leader.records(partition), "{durability}");
        }
    }
}

/// What only a deposed leader had is cut, by leader epoch and not by the high watermark.
#[tokio::test]
async fn a_log_that_parted_is_brought_in_line() {
    for versions in [NEWEST].into_iter().chain(OLD) {
        brought_in_line(versions).await;
    }
}

async fn brought_in_line(versions: Versions) {
    let (old, new) = (Node::new(FOLLOWER, "replicated"), Node::new(BrokerId(2), "replicated"));
    let kept = old.apply(FOLLOWER, 0, 1);
    append(&kept[0], 4).unwrap();
    append(&kept[0], 3).unwrap();
    let led = new.apply(BrokerId(2), 0, 1);
    append(&led[0], 4).unwrap();
    new.apply(BrokerId(2), 2, 1);
    append(&led[0], 1).unwrap();
    let served = serve(&new.manager).await;
    let mut follower = Follower::speaking(old, BrokerConfig::default(), versions);
    follower.reach(&new, &served);
    let copies = follower.follow(BrokerId(2), 2, 1).await;
    visible(&led[0], 5).await;
    visible(&copies[0], 5).await;
    assert_eq!(copies[0].offsets().log_end_offset, Offset(5), "{versions:?}");
    assert_eq!(follower.node.records(0), new.records(0), "{versions:?}");
}

/// Logs that parted more than once are compared epoch by epoch: what the leader's answer names is looked for
/// here, cut at what is below, and asked about again (KIP-279).
///
/// Method: the follower has epochs 0, 2; the leader 0, 1, 3, where 1 is longer than what the follower has.
#[tokio::test]
async fn logs_that_parted_twice_are_asked_about_until_they_agree() {
    for versions in OLD.into_iter().filter(|versions| versions.offset_for_leader_epoch > 0) {
        let (old, new) = (Node::new(FOLLOWER, "replicated"), Node::new(BrokerId(2), "replicated"));
        let kept = old.apply(FOLLOWER, 0, 1);
        append(&kept[0], 2).unwrap();
        old.apply(FOLLOWER, 2, 1);
        append(&kept[0], 3).unwrap();
        let led = new.apply(BrokerId(2), 0, 1);
        append(&led[0], 2).unwrap();
        new.apply(BrokerId(2), 1, 1);
        append(&led[0], 9).unwrap();
        new.apply(BrokerId(2), 3, 1);
        append(&led[0], 1).unwrap();
        let served = serve(&new.manager).await;
        let mut follower = Follower::speaking(old, BrokerConfig::default(), versions);
        follower.reach(&new, &served);
        let copies = follower.follow(BrokerId(2), 3, 1).await;
        visible(&copies[0], 12).await;
        assert_eq!(follower.node.records(0), new.records(0), "{versions:?}");
    }
}

/// A follower that was away for longer than the leader keeps records begins where the leader does.
#[tokio::test]
async fn a_log_that_ends_before_the_leaders_begins_starts_anew() {
    // Where a batch begins, and in the middle of one.
    for start in [4, 6] {
        starts_anew_at(start).await;
    }
}

async fn starts_anew_at(start: i64) {
    let leader = Node::new(BrokerId(1), "replicated");
    let led = leader.apply(BrokerId(1), 0, 1);
    append(&led[0], 4).unwrap();
    append(&led[0], 4).unwrap();
    let served = serve(&leader.manager).await;
    // Another replica has them, or they could not be deleted.
    let mut other = Follower::new("replicated");
    other.reach(&leader, &served);
    other.follow(BrokerId(1), 0, 1).await;
    visible(&led[0], 8).await;
    let (manager, partition) = (Arc::clone(&leader.manager), Arc::clone(&led[0]));
    let deleting =
        tokio::task::spawn_blocking(move || manager.delete_records(&partition, Offset(start)));
    assert_eq!(deleting.await.unwrap().unwrap(), Offset(start));
    let mut follower = Follower::new("replicated");
    follower.reach(&leader, &served);
    let copies = follower.follow(BrokerId(1), 0, 1).await;
    visible(&copies[0], 8).await;
    assert_eq!(copies[0].offsets().log_end_offset, Offset(8));
    // It begins with the batch, and what of that the leader has deleted goes once all is synced.
    let begins = format!("{}/{:020}.log", name(0), 4);
    assert!(follower.node.dir.path().join(begins).exists());
    assert!((4..=start).contains(&copies[0].offsets().log_start_offset.0));
    append(&led[0], 1).unwrap();
    visible(&copies[0], 9).await;
}

/// An answer that comes after another leader was followed is not appended.
///
/// Method: the first leader's answer is made, held at a gate, and let go only when the second leader is
/// followed; both have records at the same offsets.
#[tokio::test]
async fn an_answer_of_an_older_epoch_is_not_appended() {
    let first = Node::new(BrokerId(1), "replicated");
    let led_first = first.apply(BrokerId(1), 0, 1);
    append(&led_first[0], 7).unwrap();
    let mut served_first = serve(&first.manager).await;
    served_first.gate.send_replace(false);
    let second = Node::new(BrokerId(2), "replicated");
    let led_second = second.apply(BrokerId(2), 1, 1);
    append(&led_second[0], 2).unwrap();
    let served_second = serve(&second.manager).await;

    let mut follower = Follower::new("replicated");
    follower.reach(&first, &served_first);
    follower.reach(&second, &served_second);
    follower.follow(BrokerId(1), 0, 1).await;
    served_first.made.wait_for(|made| *made > 0).await.unwrap();
    let copies = follower.follow(BrokerId(2), 1, 1).await;
    served_first.gate.send_replace(true);
    visible(&led_second[0], 2).await;
    visible(&copies[0], 2).await;
    assert_eq!(copies[0].offsets().log_end_offset, Offset(2));
    assert_eq!(follower.node.records(0), second.records(0));
}

/// A leader that is not there yet, and one that comes back elsewhere, is found.
#[tokio::test]
async fn a_leader_is_found_when_and_where_it_comes() {
    let leader = Node::new(BrokerId(1), "replicated");
    let led = leader.apply(BrokerId(1), 0, 1);
    append(&led[0], 1).unwrap();
    let mut follower = Follower::new("replicated");
    follower.follow(BrokerId(1), 0, 1).await;
    let served = serve(&leader.manager).await;
    follower.reach(&leader, &served);
    visible(&led[0], 1).await;
    served.server.abort();
    let served = serve(&leader.manager).await;
    follower.reach(&leader, &served);
    append(&led[0], 1).unwrap();
    visible(&led[0], 2).await;
}

/// Method: the leader closes each connection; the pauses between twelve of them would double to seconds.
#[tokio::test]
async fn a_leader_that_fails_is_tried_again_after_the_pause_of_the_setting_at_most() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = BrokerConfig { replica_fetch_backoff_ms: 20, ..BrokerConfig::default() };
    let mut follower = Follower::of(Node::new(FOLLOWER, "replicated"), config);
    follower.fetchers.reach([(BrokerId(1), "127.0.0.1", port)].into_iter());
    follower.follow(BrokerId(1), 0, 1).await;
    let began = SystemClock.now();
    for _ in 0..12 {
        drop(listener.accept().await.unwrap());
    }
    let took = SystemClock.now() - began;
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// Settings by which a leader lets a follower wait for an hour.
fn patient() -> BrokerConfig {
    BrokerConfig {
        replica_fetch_wait_max_ms: 3_600_000,
        replica_socket_timeout_ms: 3_600_000,
        ..BrokerConfig::default()
    }
}

/// Partitions that join while the fetcher waits at the leader do not wait with it.
///
/// Method: the leader would let it wait for an hour.
#[tokio::test]
async fn a_partition_that_joins_is_asked_for_at_once() {
    let leader = Node::new(BrokerId(1), "replicated");
    let led = leader.apply(BrokerId(1), 0, 2);
    let served = serve(&leader.manager).await;
    let mut follower = Follower::of(Node::new(FOLLOWER, "replicated"), patient());
    follower.reach(&leader, &served);
    append(&led[0], 1).unwrap();
    let copies = follower.node.apply(BrokerId(1), 0, 2);
    follower.fetchers.follow(vec![Arc::clone(&copies[0])]).await;
    visible(&led[0], 1).await;
    append(&led[1], 1).unwrap();
    follower.fetchers.follow(vec![Arc::clone(&copies[1])]).await;
    visible(&led[1], 1).await;
    follower.fetchers.leave(&[name(0)]).await;
    append(&led[0], 1).unwrap();
    append(&led[1], 1).unwrap();
    visible(&led[1], 2).await;
    assert_eq!(led[0].offsets().high_watermark, Offset(1), "who is left copies no more");
}

/// Partitions that join one after the other do not each cost the session, in which a request names only what
/// is new.
///
/// Method: the leader would let the follower wait for an hour. One session a second may go, so the bound is
/// generous.
#[tokio::test]
async fn partitions_that_join_one_after_the_other_keep_the_session() {
    const COUNT: i32 = 40;
    let leader = Node::new(BrokerId(1), "replicated");
    let led = leader.apply(BrokerId(1), 0, COUNT);
    let served = serve(&leader.manager).await;
    let mut follower = Follower::of(Node::new(FOLLOWER, "replicated"), patient());
    follower.reach(&leader, &served);
    let copies = follower.node.apply(BrokerId(1), 0, COUNT);
    for (led, copy) in led.iter().zip(&copies) {
        append(led, 1).unwrap();
        follower.fetchers.follow(vec![Arc::clone(copy)]).await;
        visible(led, 1).await;
    }
    let full = *served.full.borrow();
    assert!(full <= COUNT as usize / 2, "{full} of {COUNT}");
}

#[tokio::test]
async fn a_leader_is_asked_as_the_settings_say() {
    let leader = Node::new(BrokerId(1), "replicated");
    leader.apply(BrokerId(1), 0, 1);
    let mut served = serve(&leader.manager).await;
    let config = BrokerConfig {
        replica_fetch_wait_max_ms: 123,
        replica_fetch_min_bytes: 45,
        replica_fetch_response_max_bytes: 6_789,
        replica_fetch_max_bytes: 1_234,
        ..BrokerConfig::default()
    };
    let mut follower = Follower::of(Node::new(FOLLOWER, "replicated"), config);
    follower.reach(&leader, &served);
    follower.follow(BrokerId(1), 0, 1).await;
    let expected = Asked {
        version: NEWEST.fetch,
        max_wait_ms: 123,
        min_bytes: 45,
        max_bytes: 6_789,
        partition_max_bytes: 1_234,
    };
    let asked = tokio::time::timeout(LIMIT, served.asked.wait_for(|asked| asked.version > 0)).await;
    assert_eq!(*asked.unwrap().unwrap(), expected);
}

/// A follower that has copied more than its rate asks for nothing more of what is throttled, until it may.
///
/// Method: the rate is zero, which the first answer exceeds; an answer holds one batch.
#[tokio::test]
async fn what_is_throttled_is_left_out_while_it_is_above_the_rate() {
    let mut leader = Node::new(BrokerId(1), "replicated");
    leader.has_follower_in_sync = false;
    let led = leader.apply(BrokerId(1), 0, 2);
    for partition in &led {
        append(partition, 1).unwrap();
        append(partition, 1).unwrap();
        append(partition, 1).unwrap();
    }
    let served = serve(&leader.manager).await;
    let mut node = Node::new(FOLLOWER, "replicated");
    node.config = config(&[
        ("ottla.durability", "replicated"),
        ("follower.replication.throttled.replicas", "0:3"),
    ]);
    let config = BrokerConfig {
        follower_replication_throttled_rate: 0,
        replication_quota_window_num: 1000,
        replica_fetch_max_bytes: 1,
        ..BrokerConfig::default()
    };
    let mut follower = Follower::of(node, config.clone());
    follower.reach(&leader, &served);
    let copies = follower.follow(BrokerId(1), 0, 2).await;
    visible(&copies[1], 3).await;
    append(&led[1], 1).unwrap();
    visible(&copies[1], 4).await;
    assert_eq!(copies[0].offsets().log_end_offset, Offset(1));
    let all = BrokerConfig { follower_replication_throttled_rate: i64::MAX, ..config };
    follower.config.store(Arc::new(all));
    visible(&copies[0], 3).await;
}

/// How many tasks copy from a leader changes for all of its partitions, and what they copy goes on.
#[tokio::test]
async fn partitions_are_spread_over_as_many_tasks_as_the_settings_say() {
    let leader = Node::new(BrokerId(1), "replicated");
    let led = leader.apply(BrokerId(1), 0, 8);
    let served = serve(&leader.manager).await;
    let mut follower = Follower::new("replicated");
    follower.reach(&leader, &served);
    let copies = follower.follow(BrokerId(1), 0, 8).await;
    for (spread_over, records) in [(1, 1), (3, 2), (3, 3), (2, 4)] {
        let all = BrokerConfig { num_replica_fetchers: spread_over, ..BrokerConfig::default() };
        follower.config.store(Arc::new(all));
        // What is followed anew in between goes where the others are.
        let tasks = follower.fetchers.sources.len();
        follower.fetchers.follow(vec![Arc::clone(&copies[0])]).await;
        assert_eq!(follower.fetchers.sources.len(), tasks);
        follower.fetchers.spread().await;
        assert_eq!(follower.fetchers.sources.len(), spread_over as usize);
        for (led, copy) in led.iter().zip(&copies) {
            append(led, 1).unwrap();
            visible(copy, records).await;
        }
    }
}

/// A topic that was made without an id is copied by its name until it is given one, and by that afterwards;
/// the id is found again on the disk.
#[tokio::test]
async fn a_topic_that_is_given_an_id_is_copied_by_it() {
    let mut leader = Node::new(BrokerId(1), "replicated");
    leader.topic_id = Uuid::ZERO;
    let led = leader.apply(BrokerId(1), 0, 2);
    append(&led[0], 1).unwrap();
    let served = serve(&leader.manager).await;
    let mut node = Node::new(FOLLOWER, "replicated");
    node.topic_id = Uuid::ZERO;
    let mut follower = Follower::of(node, BrokerConfig::default());
    follower.reach(&leader, &served);
    let copies = follower.follow(BrokerId(1), 0, 2).await;
    visible(&led[0], 1).await;
    assert_eq!(served.asked.borrow().version, 12, "by name");
    for (node, partitions) in [(&leader, &led), (&follower.node, &copies)] {
        for partition in partitions {
            let given = node.manager.assign_topic_id(partition, ID);
            assert!(matches!(given, Outcome::Done(_)));
        }
        assert_eq!(node.manager.topic_by_id(ID).unwrap().partitions().len(), 2);
    }
    follower.fetchers.follow(copies.clone()).await;
    append(&led[0], 2).unwrap();
    visible(&led[0], 3).await;
    assert_eq!(served.asked.borrow().version, 17, "by id");
    let file = leader.dir.path().join("t-1/partition.metadata");
    assert_eq!(std::fs::read_to_string(file).unwrap(), format!("version: 0\ntopic_id: {ID}"));
}
