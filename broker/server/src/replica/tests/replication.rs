//! Partitions of several brokers beside each other: what one leads another follows, byte for byte.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use broker_config::topic::TopicConfig;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, AlteredPartition, AlteredTopic,
};
use broker_storage::commit::Synced;
use broker_storage::log::AppendError as LogAppendError;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::replica::fetch::Replica;
use crate::replica::isr::Keeper;
use crate::replica::manager::{Become, Outcome, Stop, Truncation};
use crate::replica::partition::follower::{Cut, FollowError, FromLeader, TruncateError};
use crate::replica::partition::read::{Read, Reader};
use crate::replica::partition_state::Leadership;
use crate::replica::throttle::Quota;
use crate::tasks::Tasks;

/// A broker with one directory and, at most, partition `t-0`.
struct Node {
    id: BrokerId,
    manager: Arc<Manager>,
    config: Arc<TopicConfig>,
    dir: TempDir,
}

impl Node {
    fn new(id: i32, config: &Arc<TopicConfig>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let manager = open(&[dir.path()], config);
        Self { id: BrokerId(id), manager, config: Arc::clone(config), dir }
    }

    fn apply(&self, leadership: Leadership) -> Outcome {
        let change = Become {
            partition: TopicPartition { topic: "t".into(), partition: 0 },
            topic_id: ID,
            config: Arc::clone(&self.config),
            leads: leadership.leader == Some(self.id),
            is_in_sync: leadership.isr.contains(&self.id),
            leadership,
            is_new: true,
        };
        self.manager.apply(vec![change]).pop().unwrap()
    }

    fn partition(&self) -> Arc<Partition> {
        self.manager.partition("t", 0).unwrap()
    }

    /// Fetches once from `leader` and uses the answer.
    fn fetch_from(&self, leader: &Node) -> Read {
        let (epoch, read) = self.ask(leader, SystemClock.now());
        if let Some(end) = read.diverging {
            let truncation = self.cut(epoch, &read, Cut::EpochEnd(end));
            self.manager.truncate(&[truncation]).pop().unwrap().unwrap();
        } else {
            self.take(epoch, &read).unwrap();
        }
        read
    }

    /// Returns the epoch that a fetch from `offset` names now.
    fn epoch_before(&self, offset: Offset) -> LeaderEpoch {
        let position = self.partition().follower_position();
        let same = position.filter(|position| position.fetch_offset == offset);
        same.map_or(LeaderEpoch(-1), |position| position.last_fetched_epoch)
    }

    fn cut(&self, leader_epoch: LeaderEpoch, read: &Read, cut: Cut) -> Truncation {
        let (partition, fetch_offset) = (self.partition(), read.fetch_offset);
        let last_fetched_epoch = self.epoch_before(fetch_offset);
        Truncation { partition, leader_epoch, fetch_offset, last_fetched_epoch, cut }
    }

    fn ask(&self, leader: &Node, at: Instant) -> (LeaderEpoch, Read) {
        let position = self.partition().follower_position().unwrap();
        assert_eq!(position.leader, leader.id);
        assert!(position.unsynced.is_none(), "a relaxed log is vouched for as it is");
        let fetch = FetchPosition {
            fetch_offset: position.fetch_offset,
            max_bytes: 1 << 20,
            current_leader_epoch: position.leader_epoch,
            last_fetched_epoch: position.last_fetched_epoch,
            log_start_offset: position.log_start_offset,
        };
        let reader = Reader::Replica { broker: self.id, broker_epoch: 7, at, is_over_quota: false };
        let read = leader.partition().read(&fetch, reader, 1 << 20, true).unwrap();
        (position.leader_epoch, read)
    }

    fn take(&self, leader_epoch: LeaderEpoch, read: &Read) -> Result<(), FollowError> {
        let batches = bytes(read);
        let answer = FromLeader {
            batches: &batches,
            leader_epoch,
            fetch_offset: read.fetch_offset,
            last_fetched_epoch: self.epoch_before(read.fetch_offset),
            high_watermark: read.high_watermark,
            log_start_offset: read.log_start_offset,
        };
        self.partition().append_as_follower(&answer, TimestampMs(3_000)).map(|_| ())
    }

    /// Returns (high watermark, end).
    fn ends(&self) -> (i64, i64) {
        let offsets = self.partition().offsets();
        (offsets.high_watermark.0, offsets.log_end_offset.0)
    }

    fn log(&self) -> Vec<u8> {
        let path = self.dir.path().join("t-0/00000000000000000000.log");
        broker_storage::fs::read_file(&RealFs, &path, u64::MAX).unwrap()
    }
}

fn bytes(read: &Read) -> Vec<u8> {
    let Some(slice) = &read.slice else { return Vec::new() };
    let mut bytes = vec![0; slice.size as usize];
    slice.file.read_exact_at(&mut bytes, u64::from(slice.position)).unwrap();
    bytes
}

fn led_by(leader: i32, epoch: i32, isr: &[i32]) -> Leadership {
    let isr = isr.iter().copied().map(BrokerId).collect();
    let replicas = (1..=3).map(BrokerId).collect();
    let alone = Leadership::alone(BrokerId(leader), LeaderEpoch(epoch), 3);
    Leadership { isr, replicas, ..alone }
}

fn two(config: &Arc<TopicConfig>) -> [Node; 2] {
    [Node::new(1, config), Node::new(2, config)]
}

#[test]
fn a_follower_gets_the_leaders_bytes_and_its_high_watermark() {
    let [leader, follower] = two(&relaxed());
    for node in [&leader, &follower] {
        assert!(matches!(node.apply(led_by(1, 0, &[1, 2])), Outcome::Done(_)));
    }
    append(&leader.partition(), 3).unwrap();
    append(&leader.partition(), 2).unwrap();
    assert_eq!(leader.ends(), (0, 5));
    follower.fetch_from(&leader);
    assert_eq!((leader.ends(), follower.ends()), ((0, 5), (0, 5)));
    follower.fetch_from(&leader);
    assert_eq!((leader.ends(), follower.ends()), ((5, 5), (5, 5)));
    assert_eq!(leader.log()[..100], follower.log()[..100]);
}

#[test]
fn what_the_leader_deleted_goes_on_its_followers_once_it_was_shown() {
    let [leader, follower] = two(&relaxed());
    for node in [&leader, &follower] {
        node.apply(led_by(1, 0, &[1, 2]));
    }
    for _ in 0..3 {
        append(&leader.partition(), 2).unwrap();
    }
    follower.fetch_from(&leader);
    follower.fetch_from(&leader);
    leader.manager.delete_records(&leader.partition(), Offset(3)).unwrap();
    follower.fetch_from(&leader);
    // What is to go must be durable first, which the answer only asked for.
    follower.partition().request_sync().wait().unwrap();
    follower.fetch_from(&leader);
    assert_eq!(follower.partition().offsets().log_start_offset, Offset(3));
    assert_eq!(follower.partition().follower_position().unwrap().log_start_offset, Offset(3));
}

#[test]
fn a_follower_of_the_next_epoch_loses_what_only_it_has() {
    let [one, two] = two(&relaxed());
    for node in [&one, &two] {
        node.apply(led_by(1, 0, &[1, 2]));
    }
    append(&one.partition(), 3).unwrap();
    two.fetch_from(&one);
    append(&one.partition(), 4).unwrap();
    for node in [&two, &one] {
        assert!(matches!(node.apply(led_by(2, 1, &[1, 2])), Outcome::Done(_)));
    }
    append(&two.partition(), 1).unwrap();
    let read = one.fetch_from(&two);
    assert_eq!(read.diverging.map(|end| end.end_offset), Some(Offset(3)));
    assert_eq!(one.ends().1, 3);
    one.fetch_from(&two);
    one.fetch_from(&two);
    assert_eq!((one.ends(), two.ends()), ((4, 4), (4, 4)));
    assert_eq!(one.log()[..150], two.log()[..150]);
}

#[test]
fn an_answer_of_an_epoch_that_is_over_is_not_appended() {
    let [one, two] = two(&relaxed());
    for node in [&one, &two] {
        node.apply(led_by(1, 0, &[1, 2]));
    }
    append(&one.partition(), 3).unwrap();
    let (epoch, read) = two.ask(&one, SystemClock.now());
    two.apply(led_by(1, 1, &[1, 2]));
    assert!(matches!(
        two.take(epoch, &read),
        Err(FollowError::State(StateError::FencedLeaderEpoch { .. }))
    ));
    assert_eq!(two.ends(), (0, 0));

    let (epoch, read) = {
        one.apply(led_by(1, 1, &[1, 2]));
        two.ask(&one, SystemClock.now())
    };
    two.take(epoch, &read).unwrap();
    assert!(matches!(two.take(epoch, &read), Err(FollowError::Late)), "nor one that came twice");
    let late = two.cut(epoch, &read, Cut::At(Offset(0)));
    let refused = two.manager.truncate(&[late]).pop().unwrap();
    assert!(matches!(refused, Err(TruncateError::Late)));
    assert_eq!(two.ends().1, 3);
}

#[test]
fn a_follower_of_a_synced_topic_vouches_for_what_is_synced_and_no_late_sync_of_cut_bytes_counts() {
    let synced = config(&[("ottla.durability", "synced")]);
    let [one, two] = two(&synced);
    for node in [&one, &two] {
        node.apply(led_by(1, 0, &[1, 2]));
    }
    for _ in 0..4 {
        append(&one.partition(), 2).unwrap();
    }
    let (epoch, read) = two.ask(&one, SystemClock.now());
    two.take(epoch, &read).unwrap();
    let partition = two.partition();
    let position = partition.follower_position().unwrap();
    assert_eq!(position.fetch_offset, Offset(0), "nothing is synced yet");
    assert_eq!(position.unsynced.map(|point| point.end_offset()), Some(Offset(8)));

    let cut = two.cut(epoch, &read, Cut::At(Offset(4)));
    two.manager.truncate(&[cut]).pop().unwrap().unwrap();
    let position = partition.follower_position().unwrap();
    assert!(position.unsynced.is_none(), "a cut is durable when it is done");
    let (_, read) = two.ask(&one, SystemClock.now());
    two.take(epoch, &read).unwrap();
    // What was queued before the cut ends only now.
    Synced::synced(&*partition, Ok(Offset(8)));
    let position = partition.follower_position().unwrap();
    assert_eq!((position.fetch_offset, two.ends().1), (Offset(4), 8));
    let (done, ended) = std::sync::mpsc::channel();
    let told = Box::new(move |outcome| _ = done.send(outcome));
    partition.sync_then(position.unsynced.unwrap(), told);
    ended.recv().unwrap().unwrap();
    assert_eq!(partition.follower_position().unwrap().fetch_offset, Offset(8));
}

/// As on the leader, though nobody waits for it.
#[test]
fn a_follower_of_a_relaxed_topic_syncs_as_often_as_its_settings_say() {
    let flushed = config(&[("ottla.durability", "replicated"), ("flush.messages", "4")]);
    let [one, two] = two(&flushed);
    for node in [&one, &two] {
        node.apply(led_by(1, 0, &[1, 2]));
    }
    append(&one.partition(), 5).unwrap();
    two.fetch_from(&one);
    let began = SystemClock.now();
    while two.partition().offsets().recovery_point < Offset(5) {
        assert!(SystemClock.now() - began < Duration::from_secs(20), "nobody syncs");
        std::thread::yield_now();
    }
}

#[test]
fn a_batch_above_the_epoch_that_was_asked_in_is_not_appended() {
    let [one, two] = two(&relaxed());
    one.apply(led_by(1, 3, &[1]));
    append(&one.partition(), 2).unwrap();
    one.apply(led_by(1, 4, &[1]));
    append(&one.partition(), 2).unwrap();
    two.apply(led_by(1, 3, &[1]));
    let read = one.partition().read(&at(0), Isolation::LogEnd, 1 << 20, true).unwrap();
    let refused = two.take(LeaderEpoch(3), &read).unwrap_err();
    assert!(matches!(refused, FollowError::Log(LogAppendError::WrongEpoch { .. })));
    assert_eq!(two.ends().1, 2, "those before it are sound");
}

#[test]
fn a_stranger_is_no_replica_and_an_older_state_is_stale() {
    let [one, stranger] = two(&relaxed());
    let stranger = Node { id: BrokerId(9), ..stranger };
    one.apply(led_by(1, 4, &[1]));
    let reader = Reader::Replica {
        broker: stranger.id,
        broker_epoch: 7,
        at: SystemClock.now(),
        is_over_quota: false,
    };
    let refused = |position: &FetchPosition| match one.partition().read(position, reader, 1, true) {
        Err(ReadError::State(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&at(0)), StateError::NotLeader);
    let known = FetchPosition { current_leader_epoch: LeaderEpoch(4), ..at(0) };
    assert!(matches!(refused(&known), StateError::UnknownLeaderEpoch { .. }));
    assert!(matches!(one.apply(led_by(2, 4, &[1, 2])), Outcome::Stale));
    assert!(matches!(one.apply(led_by(1, 3, &[1])), Outcome::Stale));
}

#[tokio::test]
async fn whoever_waits_for_acknowledgements_is_told_when_leadership_goes() {
    let one = Node::new(1, &relaxed());
    one.apply(led_by(1, 0, &[1, 2]));
    let appended = append(&one.partition(), 3).unwrap();
    let partition = one.partition();
    let waiting = visible(&partition, appended);
    one.apply(led_by(2, 1, &[1, 2]));
    assert_eq!(waiting.await, AckState::NotLeader);
}

#[tokio::test]
async fn acks_all_is_not_kept_by_fewer_than_the_topic_asks_for() {
    let strict = config(&[("ottla.durability", "replicated"), ("min.insync.replicas", "2")]);
    let [one, two] = two(&strict);
    for node in [&one, &two] {
        node.apply(led_by(1, 0, &[1, 2]));
    }
    let partition = one.partition();
    let appended = append(&partition, 3).unwrap();
    let waiting = visible(&partition, appended);
    // The controller takes the other out in the same epoch.
    one.apply(Leadership { partition_epoch: 1, ..led_by(1, 0, &[1]) });
    assert_eq!(waiting.await, AckState::NotEnoughReplicas);
    assert!(append(&partition, 1).is_err(), "and nothing more is taken");
}

#[test]
fn a_log_of_another_topic_of_the_name_stays_where_it_is() {
    let one = Node::new(1, &relaxed());
    one.apply(led_by(1, 0, &[1]));
    append(&one.partition(), 3).unwrap();
    let other = Become {
        partition: one.partition().name().clone(),
        topic_id: Uuid::from_bytes([2; 16]),
        config: relaxed(),
        leadership: led_by(1, 9, &[1]),
        leads: true,
        is_in_sync: true,
        is_new: true,
    };
    let outcome = one.manager.apply(vec![other.clone()]).pop().unwrap();
    assert!(matches!(outcome, Outcome::InconsistentTopicId));
    assert_eq!(one.ends(), (3, 3));

    let stop = Stop { partition: other.partition.clone(), delete: true };
    one.manager.stop(&[stop]).pop().unwrap().unwrap();
    assert!(matches!(one.manager.apply(vec![other]).pop(), Some(Outcome::Done(_))));
    assert_eq!(one.ends(), (0, 0));
}

#[test]
fn what_a_full_request_does_not_name_is_kept_under_another_name() {
    let one = Node::new(1, &relaxed());
    one.apply(led_by(1, 0, &[1]));
    assert_eq!(one.manager.sweep_strays(&|name, _| &*name.topic == "t"), []);
    let swept = one.manager.sweep_strays(&|_, _| false);
    assert_eq!(swept.len(), 1);
    assert!(one.manager.partition("t", 0).is_none());
    let entries = RealFs.list(one.dir.path()).unwrap();
    let mut names = entries.iter().map(|entry| &*entry.name);
    assert!(names.any(|name| name.starts_with("t-0.") && name.ends_with("-stray")));
}

/// Answers as a controller that writes whatever is asked.
fn agree(request: &AlterPartitionRequest<'_>) -> AlterPartitionResponse<'static> {
    answer(request, ErrorCode::None)
}

/// Answers as a controller does.
fn answer(request: &AlterPartitionRequest<'_>, code: ErrorCode) -> AlterPartitionResponse<'static> {
    let topics = request.topics.iter().map(|topic| AlteredTopic {
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| AlteredPartition {
                partition_index: asked.partition_index,
                error_code: code.code(),
                leader_id: request.broker_id,
                leader_epoch: asked.leader_epoch,
                isr: asked.new_isr.clone(),
                leader_recovery_state: asked.leader_recovery_state,
                partition_epoch: asked.partition_epoch + 1,
            })
            .collect(),
        ..AlteredTopic::default()
    });
    AlterPartitionResponse { topics: topics.collect(), ..AlterPartitionResponse::default() }
}

/// Runs what keeps the ISRs of `node`; every request is told, and the first has no answer.
fn keep(node: &Node, lag_max: Duration) -> (mpsc::UnboundedReceiver<Vec<i32>>, CancellationToken) {
    let (told, asked) = mpsc::unbounded_channel();
    let (count, shutdown) = (AtomicUsize::new(0), CancellationToken::new());
    let keeper = Keeper {
        replicas: Arc::clone(&node.manager),
        broker_id: node.id,
        lag_max,
        ask: Box::new(move |request| {
            told.send(request.topics[0].partitions[0].new_isr.clone()).unwrap();
            let is_heard = count.fetch_add(1, Ordering::Relaxed) > 0;
            Box::pin(async move { is_heard.then(|| agree(&request)) })
        }),
        broker_epoch: Box::new(|| 7),
        lives: Box::new(|_| true),
    };
    Tasks::new().spawn("isr", keeper.run(shutdown.clone()));
    (asked, shutdown)
}

#[tokio::test]
async fn a_replica_that_catches_up_joins_and_one_that_falls_behind_leaves() {
    let [one, two] = two(&relaxed());
    for node in [&one, &two] {
        node.apply(led_by(1, 0, &[1]));
    }
    let (mut asked, shutdown) = keep(&one, Duration::from_millis(20));
    append(&one.partition(), 3).unwrap();
    two.fetch_from(&one);
    two.fetch_from(&one);
    assert_eq!(asked.recv().await, Some(vec![1, 2]));
    let partition = one.partition();
    let appended = append(&partition, 1).unwrap();
    assert!(!appended.is_visible, "a member is waited for, and it was asked to be one");
    assert_eq!(asked.recv().await, Some(vec![1, 2]), "asked again where no answer came");
    assert_eq!(visible(&partition, appended).await, AckState::Done, "it falls behind and leaves");
    assert_eq!(asked.recv().await, Some(vec![1]));
    let attention = one.manager.attention();
    assert_eq!((attention.expansions.get(), attention.shrinks.get()), (1, 1));
    shutdown.cancel();
}

/// A replica out of sync is given nothing of a throttled partition while more than the rate has passed; one
/// in sync, and what is not throttled, is given all.
#[test]
fn replicas_out_of_sync_wait_for_the_leaders_rate() {
    for (throttled, expected) in
        [("*", [true, false]), ("0:1", [true, false]), ("0:2", [true, true])]
    {
        let config = config(&[
            ("ottla.durability", "replicated"),
            ("leader.replication.throttled.replicas", throttled),
        ]);
        let leader = Node::new(1, &config);
        leader.apply(led_by(1, 0, &[1, 3]));
        append(&leader.partition(), 3).unwrap();
        let gets = |broker, rate| {
            let mut session = FetchSession::new(true, Isolation::LogEnd);
            session.push(&TopicRef::Id(ID), 0, at(0));
            let limits = FetchLimits {
                min_bytes: 1,
                max_bytes: 1 << 20,
                at_least_one_each: false,
                deadline: None,
            };
            let (broker, quota) = (BrokerId(broker), Quota::new(rate, 1000, 1000));
            let replica = Replica {
                broker,
                broker_epoch: 7,
                at: SystemClock.now(),
                quota,
                serves_consumers: false,
            };
            let held = Held::Full(Box::new(session));
            let mut fetch =
                Fetch::new(Arc::clone(&leader.manager), held, limits).of_replica(Some(replica));
            fetch.read_queued();
            let (mut answers, _) = fetch.answers();
            answers.pop().unwrap().outcome.unwrap().1.size() > 0
        };
        assert_eq!([gets(2, 0), gets(2, 0)], expected, "{throttled}: the second is above the rate");
        assert!(gets(3, 0), "{throttled}: in sync");
        assert!(gets(2, i64::MAX), "{throttled}: no rate");
    }
}

/// The follower is level and idle, so that no fetch of it would have anybody look again; no order comes.
#[tokio::test(start_paused = true)]
async fn a_replica_that_was_not_let_in_at_once_is_let_in_later() {
    let of_controller = [
        ErrorCode::InvalidUpdateVersion,
        ErrorCode::InvalidRequest,
        ErrorCode::IneligibleReplica,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::NotController,
    ];
    let cases =
        of_controller.map(|code| (code, true)).into_iter().chain([(ErrorCode::None, false)]);
    for (first_code, is_live_at_once) in cases {
        let [one, two] = two(&relaxed());
        for node in [&one, &two] {
            node.apply(led_by(1, 0, &[1]));
        }
        let (answers, looks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (told, mut asked) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let keeper = Keeper {
            replicas: Arc::clone(&one.manager),
            broker_id: one.id,
            lag_max: Duration::from_secs(1000),
            ask: Box::new(move |request| {
                let is_first = answers.fetch_add(1, Ordering::Relaxed) == 0;
                let code = if is_first { first_code } else { ErrorCode::None };
                told.send(code).unwrap();
                Box::pin(async move { Some(answer(&request, code)) })
            }),
            broker_epoch: Box::new(|| 7),
            lives: Box::new(move |_| {
                let looks = looks.fetch_add(1, Ordering::Relaxed);
                is_live_at_once || looks > 2
            }),
        };
        Tasks::new().spawn("isr", keeper.run(shutdown.clone()));
        append(&one.partition(), 3).unwrap();
        two.fetch_from(&one);
        two.fetch_from(&one);
        let joined = tokio::time::timeout(Duration::from_mins(1), async {
            while asked.recv().await != Some(ErrorCode::None) {}
        });
        let is_asked = joined.await.is_ok();
        assert!(is_asked, "{first_code}, {is_live_at_once}: out of sync for ever");
        while one.manager.attention().expansions.get() == 0 {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    }
}

/// A proposal counts what the leader counted when it made it: in another registration, which began with
/// another ISR in mind, it must not be asked for.
#[tokio::test(start_paused = true)]
async fn what_was_proposed_before_a_session_ended_is_not_asked_for_after_it() {
    let [one, two] = two(&relaxed());
    for node in [&one, &two] {
        node.apply(led_by(1, 0, &[1]));
    }
    let (told, mut asked) = mpsc::unbounded_channel();
    let (epoch, shutdown) = (Arc::new(AtomicI64::new(7)), CancellationToken::new());
    let (registered, replica) = (Arc::clone(&epoch), one.partition());
    let keeper = Keeper {
        replicas: Arc::clone(&one.manager),
        broker_id: one.id,
        lag_max: Duration::from_secs(1000),
        ask: Box::new(move |request| {
            told.send(request.broker_epoch).unwrap();
            // The session is over before the controller answers.
            if registered.swap(8, Ordering::Relaxed) == 7 {
                replica.resign();
                replica.lead(led_by(1, 0, &[1]), SystemClock.now()).unwrap();
                return Box::pin(async { None });
            }
            Box::pin(async move { Some(agree(&request)) })
        }),
        broker_epoch: Box::new(move || epoch.load(Ordering::Relaxed)),
        lives: Box::new(|_| true),
    };
    Tasks::new().spawn("isr", keeper.run(shutdown.clone()));
    append(&one.partition(), 3).unwrap();
    two.fetch_from(&one);
    two.fetch_from(&one);
    assert_eq!(asked.recv().await, Some(7));
    let later = tokio::time::timeout(Duration::from_mins(1), asked.recv()).await;
    assert!(later.is_err(), "asked in registration {later:?}");
    two.fetch_from(&one);
    assert_eq!(asked.recv().await, Some(8), "once it is proposed anew");
    shutdown.cancel();
}
