//! The loops on a real partition of `__consumer_offsets`: not here, not yet, here, gone again.

use std::time::Duration;

use broker_config::broker::BrokerConfig;
use broker_config::raw::Properties;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::compression::Compression;
use broker_protocol::record::entries::{Entry as Framed, entries as framed};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_storage::commit::{CommitError, Synced};
use broker_storage::fs::real::RealFs;
use broker_storage::log_dir::{Identity, LogDir, NewLog};
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::path;
use broker_zookeeper::store::CreateMode;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::group::record::Entry;
use crate::group::state::request::{Commit, CommittedOffset, Identity as Member, Join, Sync};
use crate::group::storage;
use crate::metadata::{Metadata, Partition, Topic};
use crate::replica::manager::{Become, Manager, Outcome, Settings, Stop};
use crate::replica::partition::Partition as Replica;
use crate::replica::partition::read::{FetchPosition, Isolation, Reader};
use crate::replica::partition_state::Leadership;
use crate::replica::producer_id::ProducerIds;
use crate::tasks::Tasks;

const BROKER: BrokerId = BrokerId(0);
const ANOTHER: BrokerId = BrokerId(7);

/// Long enough for any disk, short enough to fail a hung test.
const LIMIT: Duration = Duration::from_secs(20);

/// A coordinator with all that it stands on; a test publishes metadata, and turns replicas, as it likes.
struct World {
    coordinator: Coordinator,
    seams: Arc<Seams>,
    metadata: Metadata,
    tree: EmbeddedTree,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut properties = Properties::default();
        for setting in settings {
            properties.set(setting).unwrap();
        }
        let config = BrokerConfig::from_properties(&properties).unwrap();
        let tree = EmbeddedTree::in_memory();
        let seams = Seams {
            replicas: replicas(dir.path()),
            metadata: Arc::default(),
            store: Arc::new(tree.session().await),
            config: Arc::new(arc_swap::ArcSwap::from_pointee(config)),
            clock: Arc::new(SystemClock),
            tasks: Tasks::new(),
        };
        for parent in ["/brokers", path::TOPICS] {
            seams.store.create(parent, b"", CreateMode::Persistent).await.unwrap();
        }
        let coordinator = Coordinator::start(seams, &Handle::current());
        let seams = Arc::clone(&coordinator.seams);
        Self { coordinator, seams, metadata: Metadata::default(), tree, _dir: dir }
    }

    /// Says who leads the only partition of `topic`.
    fn announce(&mut self, topic: &str, leader: BrokerId, leader_epoch: i32) {
        let partition = Partition {
            leader: Some(leader),
            leader_epoch: LeaderEpoch(leader_epoch),
            replicas: vec![leader],
            isr: vec![leader],
            offline: Vec::new(),
        };
        let id = id_of(topic);
        self.metadata.insert_topic(Topic { name: topic.into(), id, partitions: vec![partition] });
        self.seams.metadata.publish(self.metadata.clone());
    }

    fn forget(&mut self, topic: &str) {
        self.metadata.remove_topic(topic);
        self.seams.metadata.publish(self.metadata.clone());
    }

    async fn write_to_tree(&self, topic: &str) {
        self.seams.store.create(&path::topic(topic), b"{", CreateMode::Persistent).await.unwrap();
    }

    /// Leads the partition that keeps the groups, in sync with nobody.
    fn lead(&self, leader_epoch: i32) -> Arc<Replica> {
        self.turn(BROKER, leader_epoch, &[BROKER])
    }

    /// Turns the partition that keeps the groups, as a LeaderAndIsr does.
    fn turn(&self, leader: BrokerId, leader_epoch: i32, isr: &[BrokerId]) -> Arc<Replica> {
        let leadership = Leadership {
            isr: isr.to_vec(),
            replicas: isr.to_vec(),
            ..Leadership::alone(leader, LeaderEpoch(leader_epoch), 1)
        };
        let change = Become {
            partition: partition(TOPIC),
            topic_id: id_of(TOPIC),
            config: Arc::new(topic_config()),
            leads: leader == BROKER,
            is_in_sync: isr.contains(&BROKER),
            is_new: leader_epoch == 0,
            leadership,
        };
        match &self.seams.replicas.apply(vec![change])[..] {
            [Outcome::Done(partition)] => Arc::clone(partition),
            other => panic!("turned: {other:?}"),
        }
    }

    fn stop(&self) {
        let stop = Stop { partition: partition(TOPIC), delete: false };
        self.seams.replicas.stop(&[stop])[0].as_ref().unwrap();
    }

    /// Asks until the loop has seen that it has the partition, and has read it.
    async fn ask(&self, request: Request) -> Reply {
        let answered = tokio::time::timeout(LIMIT, async {
            loop {
                let reply = self.coordinator.ask("g", request.clone()).await;
                if !matches!(reply, Reply::Unavailable(_)) {
                    return reply;
                }
                tokio::task::yield_now().await;
            }
        });
        answered.await.expect("the groups are here")
    }

    /// The topics that the group has offsets of.
    async fn topics(&self) -> Vec<String> {
        let all = Request::FetchOffsets { partitions: None, require_stable: false };
        let Reply::Offsets(offsets) = self.ask(all).await else { panic!("offsets") };
        offsets.iter().map(|offset| offset.partition.topic.to_string()).collect()
    }

    async fn wait_for_topics(&self, expected: &[&str]) {
        let seen = tokio::time::timeout(LIMIT, async {
            while self.topics().await != expected {
                tokio::task::yield_now().await;
            }
        });
        seen.await.expect("offsets of these topics only");
    }

    async fn written(&self, partition: &Replica) {
        let end = partition.offsets().log_end_offset;
        let deadline = self.seams.clock.now() + LIMIT;
        storage::acknowledged(partition, end, deadline).await.unwrap();
    }

    async fn end(self) {
        self.seams.tasks.shutdown();
        self.tree.close().await;
    }
}

fn id_of(topic: &str) -> Uuid {
    Uuid::from_bytes([topic.len() as u8; 16])
}

fn topic_config() -> TopicConfig {
    TopicConfig::resolve(&BrokerConfig::default(), &std::collections::BTreeMap::default()).unwrap()
}

fn replicas(dir: &std::path::Path) -> Arc<Manager> {
    let identity = Identity { cluster_id: "cluster".to_owned(), broker_id: BROKER };
    let dir = LogDir::open(Arc::new(RealFs), dir, &identity, TimestampMs(0)).unwrap();
    let settings =
        Settings { fetch_sessions_max: 1, recovery_threads: 1, producer_id_expiration_ms: 1 };
    let ids = ProducerIds::new(Box::new(|| Box::pin(async { Ok(0..1) })));
    let config = Arc::new(topic_config());
    let (dirs, clock) = (vec![Arc::new(dir)], Arc::new(SystemClock));
    Manager::load(dirs, settings, ids, clock, &|_| Arc::clone(&config), &|_, _| ())
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition: 0 }
}

fn committed() -> CommittedOffset {
    CommittedOffset {
        offset: 5,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp: SystemClock.wall().0,
        expire_timestamp: None,
    }
}

fn nobody() -> Member {
    Member { generation_id: -1, member_id: "".into(), group_instance_id: None }
}

fn commit(topics: &[&str]) -> Request {
    let offsets = topics.iter().map(|topic| (partition(topic), committed())).collect();
    Request::Commit(Commit { identity: nobody(), offsets })
}

/// What is in the log from the start: an offset of each topic.
fn seed(replica: &Arc<Replica>, topics: &[&str]) {
    let entry = |topic: &&str| Entry::Offset {
        group_id: "g".into(),
        partition: partition(topic),
        value: Some(committed()),
    };
    let entries: Vec<_> = topics.iter().map(entry).collect();
    let (unsaid, now) = (LeaderEpoch(-1), TimestampMs(1_000));
    storage::append(replica, &entries, unsaid, Compression::None, now).unwrap();
}

/// Fetches from the end as [`ANOTHER`], which shows that it has all.
fn fetch_all(replica: &Replica, leader_epoch: i32) {
    let position = FetchPosition {
        fetch_offset: replica.offsets().log_end_offset,
        max_bytes: 1,
        current_leader_epoch: LeaderEpoch(leader_epoch),
        last_fetched_epoch: LeaderEpoch(-1),
        log_start_offset: Offset(0),
    };
    let reader = Reader::Replica {
        broker: ANOTHER,
        broker_epoch: -1,
        at: SystemClock.now(),
        is_over_quota: false,
    };
    replica.read(&position, reader, 1, false).unwrap();
}

/// What is in the log, in the epoch that holds.
fn loaded(replica: &Replica) -> Vec<crate::group::state::LoadedGroup> {
    storage::load(replica, replica.offsets().leader_epoch, 1 << 20).unwrap()
}

fn join() -> Request {
    let protocols = vec![crate::group::state::request::Protocol {
        name: "range".into(),
        metadata: (*b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff").into(),
    }];
    Request::Join(Join {
        member_id: "".into(),
        new_member_id: "m".into(),
        group_instance_id: None,
        require_known_member_id: false,
        supports_skipping_assignment: true,
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout: LIMIT,
        session_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols,
    })
}

/// One request of each kind.
fn each_kind() -> Vec<Request> {
    let sync = Sync {
        identity: nobody(),
        protocol_type: None,
        protocol_name: None,
        assignments: Vec::new(),
    };
    vec![
        join(),
        Request::Sync(sync),
        Request::Heartbeat(nobody()),
        Request::Leave(Vec::new()),
        commit(&["t"]),
        Request::FetchOffsets { partitions: Some(vec![partition("t")]), require_stable: false },
        Request::FetchOffsets { partitions: None, require_stable: true },
        Request::DeleteOffsets(vec![partition("t")]),
        Request::Describe,
        Request::Delete,
    ]
}

async fn assert_all_unavailable(world: &World, expected: ErrorCode) {
    for request in each_kind() {
        let reply = world.coordinator.ask("g", request.clone()).await;
        assert_eq!(reply, Reply::Unavailable(expected), "{request:?}");
    }
}

/// Metadata alone says nothing: it may come before the LeaderAndIsr, and from an old controller.
#[tokio::test]
async fn without_its_partition_a_broker_coordinates_nothing() {
    let mut world = World::new(&[]).await;
    assert_eq!(world.coordinator.partition_for("g"), None);
    assert_all_unavailable(&world, ErrorCode::NotCoordinator).await;
    for leader in [ANOTHER, BROKER] {
        world.announce(TOPIC, leader, 0);
        assert_all_unavailable(&world, ErrorCode::NotCoordinator).await;
    }
    world.turn(ANOTHER, 0, &[ANOTHER, BROKER]);
    assert_all_unavailable(&world, ErrorCode::NotCoordinator).await;
    assert_eq!(world.coordinator.list().await, Listing::default());
    world.end().await;
}

/// An answer before the end would be "no offset", and the consumer would begin anywhere.
///
/// Method: the log has a record that another replica, which is in sync, has not fetched.
#[tokio::test]
async fn until_its_groups_are_read_a_coordinator_says_that_it_is_loading() {
    let mut world = World::new(&[]).await;
    world.announce("t", BROKER, 0);
    world.announce(TOPIC, BROKER, 0);
    seed(&world.turn(BROKER, 0, &[BROKER, ANOTHER]), &["t"]);
    let replica = world.turn(BROKER, 1, &[BROKER, ANOTHER]);
    // At once: whoever has heard of the new leader is not sent away by a loop that has not.
    assert_all_unavailable(&world, ErrorCode::CoordinatorLoadInProgress).await;
    assert!(world.coordinator.list().await.is_loading);
    fetch_all(&replica, 1);
    assert_eq!(world.topics().await, ["t"]);
    assert!(!world.coordinator.list().await.is_loading);
    world.end().await;
}

#[tokio::test]
async fn groups_go_with_their_partition_and_come_back_with_it() {
    let mut world = World::new(&[]).await;
    world.lead(0);
    for topic in ["t", TOPIC] {
        world.announce(topic, BROKER, 0);
    }
    let done = Reply::Codes(Ok(vec![ErrorCode::None]));
    assert_eq!(world.ask(commit(&["t"])).await, done);
    let coordinator = world.coordinator.clone();
    let moved = async {
        while coordinator.list().await.groups[0].members_count == 0 {
            tokio::task::yield_now().await;
        }
        world.turn(ANOTHER, 1, &[ANOTHER, BROKER]);
    };
    let both = async { tokio::join!(coordinator.ask("g", join()), moved) };
    let (joined, ()) = tokio::time::timeout(LIMIT, both).await.expect("the join is answered");
    assert_eq!(joined, Reply::Unavailable(ErrorCode::NotCoordinator));
    assert_all_unavailable(&world, ErrorCode::NotCoordinator).await;
    world.lead(2);
    assert_eq!(world.topics().await, ["t"]);
    world.stop();
    assert_all_unavailable(&world, ErrorCode::NotCoordinator).await;
    world.lead(3);
    assert_eq!(world.topics().await, ["t"]);
    world.seams.replicas.resign();
    assert_all_unavailable(&world, ErrorCode::NotCoordinator).await;
    world.end().await;
}

/// No order came for these: the disk of the partition broke.
#[tokio::test]
async fn groups_go_with_the_disk_of_their_partition() {
    let mut world = World::new(&[]).await;
    let replica = world.lead(0);
    world.announce(TOPIC, BROKER, 0);
    world.ask(Request::Describe).await;
    replica.dir().note_error(&std::io::Error::other("broken"));
    let gone = tokio::time::timeout(LIMIT, async {
        let not_here = Reply::Unavailable(ErrorCode::NotCoordinator);
        while world.coordinator.ask("g", Request::Describe).await != not_here {
            tokio::task::yield_now().await;
        }
    });
    gone.await.expect("the groups are not here");
    world.end().await;
}

/// Deposed and elected again before the loop saw either: another coordinator may have written what this
/// one does not know.
///
/// Method: the replica is turned behind the manager's back, so that the loop is not told.
#[tokio::test]
async fn nothing_is_written_in_an_epoch_whose_log_was_not_read() {
    let mut world = World::new(&[]).await;
    let replica = world.lead(0);
    for topic in ["t", TOPIC] {
        world.announce(topic, BROKER, 0);
    }
    assert_eq!(world.ask(commit(&["t"])).await, Reply::Codes(Ok(vec![ErrorCode::None])));
    assert!(replica.become_leader(LeaderEpoch(2), 1, SystemClock.now()));
    let end = replica.offsets().log_end_offset;
    let refused = Reply::Codes(Ok(vec![ErrorCode::NotCoordinator]));
    assert_eq!(world.ask(commit(&["t"])).await, refused);
    assert_eq!(replica.offsets().log_end_offset, end);
    world.lead(2);
    assert_eq!(world.ask(commit(&["t"])).await, Reply::Codes(Ok(vec![ErrorCode::None])));
    world.end().await;
}

/// The end of a follower raises the epoch and changes nothing here.
///
/// Method: the log has an offset that the loop was not told of, which shows whether it reads.
#[tokio::test]
async fn groups_stay_where_the_leader_stays_and_are_read_again_after_another_led() {
    let mut world = World::new(&[]).await;
    let replica = world.lead(0);
    for topic in ["t", "u", TOPIC] {
        world.announce(topic, BROKER, 0);
    }
    assert_eq!(world.ask(commit(&["t"])).await, Reply::Codes(Ok(vec![ErrorCode::None])));
    seed(&replica, &["u"]);
    world.lead(1);
    let at_once = world.coordinator.ask("g", commit(&["t"])).await;
    assert_eq!(at_once, Reply::Codes(Ok(vec![ErrorCode::None])));
    assert_eq!(world.topics().await, ["t"], "not read again");
    // Both before the loop sees either.
    world.turn(ANOTHER, 2, &[ANOTHER, BROKER]);
    world.lead(3);
    assert_eq!(world.topics().await, ["t", "u"]);
    world.end().await;
}

/// What is read while the partition is led by another right may lack what comes with that right.
#[tokio::test]
async fn groups_are_read_only_in_the_epoch_that_is_led() {
    let world = World::new(&[]).await;
    let replica = world.lead(3);
    let load = |epoch| storage::load(&replica, LeaderEpoch(epoch), 1 << 20);
    for seeded in [0, 1] {
        assert_eq!(load(3).unwrap().len(), seeded);
        for other in [2, 4] {
            let refused = load(other).unwrap_err();
            assert!(matches!(refused, storage::LoadError::NotLed { .. }), "{refused}");
            storage::end_in_epoch(&replica, LeaderEpoch(other)).unwrap_err();
        }
        seed(&replica, &["t"]);
        world.written(&replica).await;
    }
    world.turn(ANOTHER, 4, &[ANOTHER, BROKER]);
    for epoch in [3, 4] {
        load(epoch).unwrap_err();
    }
    world.end().await;
}

/// The broker ended between the deletion of a topic and its tombstones: they are written now. A
/// topic that is only not known, such as one that cannot be read, keeps its offsets.
#[tokio::test]
async fn offsets_of_topics_that_are_gone_are_taken_back_once_they_are_read() {
    let mut world = World::new(&[]).await;
    let replica = world.lead(0);
    seed(&replica, &["gone", "t", "unread"]);
    world.lead(1);
    for topic in ["t", "unread"] {
        world.write_to_tree(topic).await;
    }
    world.announce("t", BROKER, 0);
    world.announce(TOPIC, BROKER, 0);
    world.wait_for_topics(&["t", "unread"]).await;
    world.written(&replica).await;
    let again = loaded(&replica);
    let kept = again[0].offsets.iter().map(|(partition, _)| &*partition.topic);
    assert_eq!(kept.collect::<Vec<_>>(), ["t", "unread"]);
    world.end().await;
}

#[tokio::test]
async fn a_topic_that_is_deleted_while_its_offsets_are_read_takes_them_with_it() {
    let mut world = World::new(&[]).await;
    for topic in ["t", "u", TOPIC] {
        world.announce(topic, BROKER, 0);
    }
    world.write_to_tree("u").await;
    seed(&world.turn(BROKER, 0, &[BROKER, ANOTHER]), &["t", "u"]);
    let replica = world.turn(BROKER, 1, &[BROKER, ANOTHER]);
    let seen = tokio::time::timeout(LIMIT, async {
        while !world.coordinator.list().await.is_loading {
            tokio::task::yield_now().await;
        }
    });
    seen.await.expect("the loop begins to load");
    world.forget("t");
    fetch_all(&replica, 1);
    world.wait_for_topics(&["u"]).await;
    world.end().await;
}

/// The codecs of all batches of `replica`.
fn codecs(replica: &Replica) -> Vec<Compression> {
    let position = FetchPosition {
        fetch_offset: Offset(0),
        max_bytes: 1 << 20,
        current_leader_epoch: LeaderEpoch(-1),
        last_fetched_epoch: LeaderEpoch(-1),
        log_start_offset: Offset(-1),
    };
    let read = replica.read(&position, Isolation::ReadUncommitted, 1 << 20, true).unwrap();
    let slice = read.slice.expect("bytes");
    let mut bytes = vec![0; slice.size as usize];
    let size = slice.file.read_at(&mut bytes, u64::from(slice.position)).unwrap();
    assert_eq!(size, bytes.len());
    let batches = framed(&bytes).map(|entry| match entry {
        Ok(Framed::Batch(batch)) => batch.header.attributes.compression().unwrap(),
        other => panic!("not a batch: {other:?}"),
    });
    batches.collect()
}

/// Offsets, tombstones and generations alike, and what is compressed is read back.
#[tokio::test]
async fn the_offsets_topic_is_compressed_as_it_is_configured() {
    let all = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for (number, expected) in all.into_iter().enumerate() {
        let setting = format!("offsets.topic.compression.codec={number}");
        let mut world = World::new(&[&setting]).await;
        let replica = world.lead(0);
        for topic in ["t", "u", TOPIC] {
            world.announce(topic, BROKER, 0);
        }
        let done = Reply::Codes(Ok(vec![ErrorCode::None; 2]));
        assert_eq!(world.ask(commit(&["t", "u"])).await, done, "{expected:?}");
        let done = Reply::Codes(Ok(vec![ErrorCode::None]));
        let deletion = Request::DeleteOffsets(vec![partition("t")]);
        assert_eq!(world.ask(deletion).await, done, "{expected:?}");
        assert_eq!(codecs(&replica), [expected; 2]);
        let again = loaded(&replica);
        assert_eq!(again[0].offsets, [(partition("u"), again[0].offsets[0].1.clone())]);
        world.end().await;
    }
    let mut properties = Properties::default();
    properties.set("offsets.topic.compression.codec=5").unwrap();
    assert!(BrokerConfig::from_properties(&properties).is_err(), "there is no codec 5");
}

/// Keeps the commit thread busy until it is released.
struct Busy(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Synced for Busy {
    fn synced(&self, _outcome: Result<Offset, CommitError>) {
        let _ = self.0.lock().unwrap().recv();
    }
}

/// Method: a disk whose syncs wait for another log's owner; what is configured is far below the default.
#[tokio::test]
async fn a_commit_that_the_disk_does_not_take_is_answered_after_offsets_commit_timeout_ms() {
    const DEFAULT: Duration = Duration::from_secs(5);
    let mut world = World::new(&["offsets.commit.timeout.ms=1"]).await;
    world.lead(0);
    for topic in ["t", TOPIC] {
        world.announce(topic, BROKER, 0);
    }
    // Until the groups are read.
    world.ask(Request::Describe).await;

    let dir = &world.seams.replicas.log_dirs()[0];
    let config = Arc::new(topic_config());
    let new = NewLog { partition: partition("other"), topic_id: None, config };
    let mut log = dir.create_log(new, TimestampMs(0)).unwrap();
    let (release, released) = std::sync::mpsc::channel();
    dir.committer().submit(log.sync_point(), Arc::new(Busy(std::sync::Mutex::new(released))));

    let asked = tokio::time::timeout(DEFAULT, world.ask(commit(&["t"]))).await;
    let late = Reply::Codes(Ok(vec![ErrorCode::CoordinatorNotAvailable]));
    assert_eq!(asked.expect("earlier than by default"), late);
    drop(release);
    world.end().await;
}
