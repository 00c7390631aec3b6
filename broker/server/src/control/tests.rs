//! Orders over their queue to a whole `Control`, on a real directory.
#![allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_config::broker::BrokerConfig;
use broker_protocol::message::leader_and_isr::{
    LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrTopicState,
};
use broker_protocol::message::stop_replica::{
    StopReplicaPartitionState, StopReplicaRequest, StopReplicaTopicState,
};
use broker_protocol::message::update_metadata::{
    UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use broker_protocol::uuid::Uuid;
use broker_zookeeper::embedded::{EmbeddedStore, EmbeddedTree};
use broker_zookeeper::store::CreateMode;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::telling::PATIENCE;
use super::*;
use crate::clock::SystemClock;
use crate::controller::membership::ensure_paths;
use crate::replica::fetcher;
use crate::replica::tests::{config, open};
use crate::tasks::Tasks;

mod configure;
mod proof;

const ME: i32 = 1;
const OTHER: i32 = 2;
const ID: Uuid = Uuid::from_bytes([1; 16]);

/// Types of LeaderAndIsr and UpdateMetadata; Kafka's says none.
const UNKNOWN: i8 = 0;
const PART: i8 = 1;
const FULL: i8 = 2;

/// The leader of what is being deleted.
const DURING_DELETE: i32 = -2;

/// A broker that obeys, and who orders.
struct Obeying {
    orders: mpsc::Sender<Order>,
    replicas: Arc<Manager>,
    metadata: Arc<Cache>,
    loaded: watch::Receiver<bool>,
    dir: TempDir,
    broker_epoch: Arc<AtomicI64>,
    registering: watch::Sender<bool>,
    store: Arc<EmbeddedStore>,
    /// The settings of the broker.
    settings: Arc<ArcSwap<BrokerConfig>>,
}

impl Obeying {
    async fn new() -> Self {
        let (dir, topic) = (tempfile::tempdir().unwrap(), config(&[]));
        let replicas = open(&[dir.path()], &topic);
        let settings = Arc::new(ArcSwap::from_pointee(BrokerConfig::default()));
        let store = Arc::new(EmbeddedTree::in_memory().session().await);
        ensure_paths(&*store).await.unwrap();
        let clock = Arc::new(SystemClock);
        let tree = Arc::clone(&store);
        let dynamic = DynamicConfig::load(tree, BrokerId(ME), Arc::clone(&settings), clock).await;
        let broker_epoch = Arc::new(AtomicI64::new(7));
        let fetchers = Fetchers::new(fetcher::Parts {
            broker_id: BrokerId(ME),
            broker_epoch: Arc::clone(&broker_epoch),
            replicas: Arc::clone(&replicas),
            config: Arc::clone(&settings),
            versions: fetcher::Versions { fetch: 17, list_offsets: 9, offset_for_leader_epoch: 4 },
            runtimes: Vec::new(),
            tasks: Tasks::new(),
        });
        let (loaded, is_loaded) = watch::channel(false);
        let (registering, is_registering) = watch::channel(false);
        let metadata = Arc::new(Cache::default());
        let parts = Parts {
            broker_id: BrokerId(ME),
            broker_epoch: Arc::clone(&broker_epoch),
            is_registering,
            replicas: Arc::clone(&replicas),
            metadata: Arc::clone(&metadata),
            fetchers,
            inter_broker_listener: "PLAINTEXT".into(),
            store: Arc::clone(&store) as _,
            dynamic_config: Arc::new(dynamic.unwrap()),
            loaded,
            tasks: Tasks::new(),
        };
        let (orders, inbox) = mpsc::channel(1);
        tokio::spawn(Control::new(parts, -1).run(inbox));
        Self {
            orders,
            replicas,
            metadata,
            loaded: is_loaded,
            dir,
            broker_epoch,
            registering,
            store,
            settings,
        }
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.unwrap();
        answered.await.unwrap()
    }

    /// UpdateMetadata of so many partitions of `t`.
    async fn announce(&self, controller_id: i32, controller_epoch: i32, partitions: i32) {
        self.update_metadata((controller_id, controller_epoch), (ID, OTHER, partitions)).await;
    }

    /// UpdateMetadata of so many partitions of `t`, from a controller that says whether these are all.
    async fn announce_as(&self, request_type: i8, controller: (i32, i32), partitions: i32) {
        self.tell(request_type, controller, (ID, OTHER, partitions)).await;
    }

    /// UpdateMetadata of so many partitions of a topic `t`.
    async fn update_metadata(&self, controller: (i32, i32), partitions: (Uuid, i32, i32)) {
        self.tell(UNKNOWN, controller, partitions).await;
    }

    async fn tell(
        &self,
        request_type: i8,
        (controller_id, controller_epoch): (i32, i32),
        (topic_id, leader, partitions): (Uuid, i32, i32),
    ) {
        let state = |partition_index| UpdateMetadataPartitionState {
            partition_index,
            leader,
            replicas: vec![OTHER],
            ..Default::default()
        };
        let topic = UpdateMetadataTopicState {
            topic_name: "t".into(),
            topic_id,
            partition_states: (0..partitions).map(state).collect(),
        };
        let request = UpdateMetadataRequest {
            controller_id,
            controller_epoch,
            broker_epoch: 7,
            topic_states: (partitions > 0).then_some(topic).into_iter().collect(),
            request_type,
            ..Default::default()
        };
        let response = self.order(|answer| Order::UpdateMetadata(request, answer)).await;
        assert_eq!(response.error_code, 0);
    }

    /// LeaderAndIsr of so many partitions of `t`, of which no replica is here.
    async fn lead(&self, controller_id: i32, controller_epoch: i32, partitions: i32) {
        self.leader_and_isr(PART, (controller_id, controller_epoch), (OTHER, partitions)).await;
    }

    /// LeaderAndIsr of so many partitions of `t`, each with one replica.
    async fn leader_and_isr(
        &self,
        request_type: i8,
        (controller_id, controller_epoch): (i32, i32),
        (replica, partitions): (i32, i32),
    ) {
        let state = |partition_index| LeaderAndIsrPartitionState {
            partition_index,
            leader: replica,
            isr: vec![replica],
            replicas: vec![replica],
            is_new: true,
            ..Default::default()
        };
        let topic = LeaderAndIsrTopicState {
            topic_name: "t".into(),
            topic_id: ID,
            partition_states: (0..partitions).map(state).collect(),
        };
        let request = LeaderAndIsrRequest {
            controller_id,
            controller_epoch,
            request_type,
            broker_epoch: 7,
            topic_states: (partitions > 0).then_some(topic).into_iter().collect(),
            ..Default::default()
        };
        let response = self.order(|answer| Order::LeaderAndIsr(request, answer)).await;
        assert_eq!(response.error_code, 0);
    }

    /// StopReplica of `t-0`, with its log.
    async fn delete(&self, controller_id: i32, controller_epoch: i32) {
        let state = StopReplicaPartitionState {
            partition_index: 0,
            leader_epoch: -2,
            delete_partition: true,
        };
        let topic = StopReplicaTopicState { topic_name: "t".into(), partition_states: vec![state] };
        let request = StopReplicaRequest {
            controller_id,
            controller_epoch,
            broker_epoch: 7,
            topic_states: vec![topic],
            ..Default::default()
        };
        let response = self.order(|answer| Order::StopReplica(request, answer)).await;
        assert_eq!(response.partition_errors[0].error_code, 0);
    }

    /// How the logs here are called, without what is drawn for a name, in order.
    fn logs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let logs = names.filter(|name| name.starts_with("t-"));
        let mut logs: Vec<_> = logs
            .map(|name| match (name.split_once('.'), name.rsplit_once('-')) {
                (Some((log, _)), Some((_, kind))) => format!("{log} {kind}"),
                _ => name,
            })
            .collect();
        logs.sort();
        logs
    }

    /// Whether clients may be told of topics, and whether the start may go on.
    fn is_told(&self) -> (bool, bool) {
        (self.metadata.load().is_told, *self.loaded.borrow())
    }
}

const SILENT: (bool, bool) = (false, false);
const TOLD: (bool, bool) = (true, true);

/// Kafka's controller takes over while this broker starts: the topics come after the brokers.
#[tokio::test]
async fn no_topic_is_denied_before_another_controller_has_named_them() {
    let broker = Obeying::new().await;
    tokio::time::pause();
    broker.announce(OTHER, 3, 0).await;
    assert_eq!(broker.is_told(), SILENT);
    tokio::time::advance(PATIENCE * 2 / 3).await;
    broker.lead(OTHER, 3, 2).await;
    tokio::time::advance(PATIENCE * 2 / 3).await;
    broker.lead(OTHER, 3, 1).await;
    assert_eq!(broker.is_told(), SILENT, "what is led is announced later");
    broker.announce(OTHER, 3, 2).await;
    assert_eq!(broker.is_told(), TOLD);
    broker.announce(OTHER, 4, 0).await;
    assert_eq!(broker.is_told(), TOLD, "what it knows stays");
    assert_eq!(broker.metadata.load().topics.len(), 1);
}

/// A broker that registers is told all at once.
#[tokio::test]
async fn a_broker_that_is_told_all_at_first_waits_for_nothing() {
    let broker = Obeying::new().await;
    broker.announce(OTHER, 3, 1).await;
    assert_eq!(broker.is_told(), TOLD);
}

/// A cluster of Kafka without topics never names one.
#[tokio::test]
async fn of_a_cluster_without_topics_clients_are_told_after_a_while() {
    let broker = Obeying::new().await;
    tokio::time::pause();
    let begun = Instant::now();
    broker.announce(OTHER, 3, 0).await;
    let told = broker.metadata.wait_until(|newest| newest.is_told).await;
    let took = begun.elapsed();
    assert!(took >= PATIENCE && took < PATIENCE * 2, "{took:?}");
    assert_eq!((told.controller, told.topics.len()), (Some(BrokerId(OTHER)), 0));
    broker.loaded.clone().wait_for(|loaded| *loaded).await.unwrap();
}

/// Who was about to tell is gone with the session; nobody knows what it would have told.
#[tokio::test]
async fn a_session_that_ends_ends_the_wait_for_topics() {
    let broker = Obeying::new().await;
    tokio::time::pause();
    broker.announce(OTHER, 3, 0).await;
    broker.order(Order::Resign).await;
    let told = broker.metadata.wait_until(|newest| newest.is_told);
    assert!(tokio::time::timeout(PATIENCE * 2, told).await.is_err());
    assert_eq!(broker.is_told(), SILENT);
}

/// One of ours says by a LeaderAndIsr of nothing that it has named all.
#[tokio::test]
async fn a_controller_that_names_no_replicas_has_told_all() {
    for controller in [ME, OTHER] {
        let broker = Obeying::new().await;
        tokio::time::pause();
        let begun = Instant::now();
        broker.announce(controller, 3, 0).await;
        assert_eq!(broker.is_told(), SILENT);
        broker.leader_and_isr(FULL, (controller, 3), (ME, 0)).await;
        broker.announce(controller, 3, 0).await;
        assert_eq!(broker.is_told(), TOLD);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        tokio::time::resume();
    }
}

/// A controller of ours that cannot read one topic says that it names those that it knows: nobody denies that
/// one before all are named, or the wait for them is over.
#[tokio::test]
async fn no_topic_is_denied_while_a_controller_says_that_it_names_only_some() {
    for names_all in [true, false] {
        let broker = Obeying::new().await;
        tokio::time::pause();
        let begun = Instant::now();
        broker.announce_as(PART, (OTHER, 3), 2).await;
        broker.leader_and_isr(PART, (OTHER, 3), (ME, 0)).await;
        assert_eq!(broker.is_told(), SILENT);
        tokio::time::advance(PATIENCE * 2 / 3).await;
        broker.announce_as(PART, (OTHER, 3), 1).await;
        assert_eq!(broker.is_told(), SILENT, "one more topic is not all");
        if names_all {
            broker.announce_as(FULL, (OTHER, 3), 3).await;
            assert_eq!(broker.is_told(), TOLD);
        } else {
            broker.metadata.wait_until(|newest| newest.is_told).await;
            let took = begun.elapsed();
            assert!(took >= PATIENCE && took < PATIENCE * 4 / 3, "{took:?}");
        }
        broker.announce_as(PART, (OTHER, 3), 1).await;
        assert_eq!(broker.is_told(), TOLD);
        tokio::time::resume();
    }
}

/// What this broker leads by itself is led before clients find it.
#[tokio::test]
async fn the_own_controller_has_its_replicas_led_first() {
    let broker = Obeying::new().await;
    broker.announce(ME, 3, 1).await;
    assert_eq!(broker.is_told(), (true, false));
    broker.lead(ME, 3, 1).await;
    broker.announce(ME, 3, 0).await;
    assert_eq!(broker.is_told(), TOLD);
}

/// A controller that deletes a topic does not name it when it tells everything, and has its log deleted then.
#[tokio::test]
async fn a_topic_that_is_being_deleted_is_deleted_and_not_put_aside() {
    let broker = Obeying::new().await;
    broker.leader_and_isr(PART, (OTHER, 3), (ME, 2)).await;
    assert_eq!(broker.logs(), ["t-0", "t-1"]);
    broker.update_metadata((OTHER, 4), (ID, DURING_DELETE, 1)).await;
    broker.leader_and_isr(FULL, (OTHER, 4), (ME, 0)).await;
    assert_eq!(broker.logs(), ["t-0", "t-1 stray"], "who is not named at all is a stray");
    assert!(broker.metadata.load().topics.is_empty());
    broker.delete(OTHER, 4).await;
    assert_eq!(broker.logs(), ["t-0 delete", "t-1 stray"]);
}

/// Nobody ever deletes the log of a topic of that name that was before.
#[tokio::test]
async fn of_a_topic_of_another_id_that_is_being_deleted_nothing_is_here() {
    let broker = Obeying::new().await;
    broker.leader_and_isr(PART, (OTHER, 3), (ME, 1)).await;
    let another = Uuid::from_bytes([2; 16]);
    broker.update_metadata((OTHER, 4), (another, DURING_DELETE, 1)).await;
    broker.leader_and_isr(FULL, (OTHER, 4), (ME, 0)).await;
    broker.delete(OTHER, 4).await;
    assert_eq!(broker.logs(), ["t-0 stray"]);
}

/// What says that a controller named nothing of this broker's, for a registration of this epoch, which is led
/// by nobody else; returns its code.
async fn sweep(broker: &Obeying, broker_epoch: i64) -> i16 {
    let request = LeaderAndIsrRequest {
        controller_id: OTHER,
        controller_epoch: 4,
        request_type: FULL,
        broker_epoch,
        ..Default::default()
    };
    broker.order(|answer| Order::LeaderAndIsr(request, answer)).await.error_code
}

/// A broker that registers with this one's address has this one told what is meant for that one, and of which
/// nothing is here.
#[tokio::test]
async fn what_is_meant_for_another_broker_is_refused() {
    let broker = Obeying::new().await;
    broker.leader_and_isr(PART, (OTHER, 3), (ME, 1)).await;
    let stale = ErrorCode::StaleBrokerEpoch.code();
    for epoch in [6, 8] {
        assert_eq!(sweep(&broker, epoch).await, stale, "{epoch}");
        let request =
            StopReplicaRequest { controller_epoch: 4, broker_epoch: epoch, ..Default::default() };
        let stopped = broker.order(|answer| Order::StopReplica(request, answer)).await;
        assert_eq!(stopped.error_code, stale, "{epoch}");
        let request = UpdateMetadataRequest {
            controller_epoch: 4,
            broker_epoch: epoch,
            ..Default::default()
        };
        let told = broker.order(|answer| Order::UpdateMetadata(request, answer)).await;
        assert_eq!(told.error_code, stale, "{epoch}");
    }
    assert_eq!(broker.logs(), ["t-0"]);
    broker.leader_and_isr(PART, (OTHER, 3), (ME, 2)).await;
    // Who does not say whom it means puts nothing aside.
    assert_eq!(sweep(&broker, -1).await, 0);
    assert_eq!(broker.logs(), ["t-0", "t-1"]);
    assert_eq!(sweep(&broker, 7).await, 0);
    assert_eq!(broker.logs(), ["t-0 stray", "t-1 stray"]);
}

/// A controller may know of a registration before the broker that makes it.
#[tokio::test]
async fn an_order_for_the_registration_that_is_being_made_waits_for_it() {
    let broker = Obeying::new().await;
    broker.registering.send_replace(true);
    let registered = async {
        tokio::task::yield_now().await;
        broker.broker_epoch.store(9, Ordering::Release);
        broker.registering.send_replace(false);
    };
    let (code, ()) = tokio::join!(sweep(&broker, 9), registered);
    assert_eq!(code, 0);
}

/// Whoever says that it names all: what the tree assigns to this broker stays.
#[tokio::test]
async fn what_the_tree_assigns_here_is_not_put_aside() {
    let broker = Obeying::new().await;
    broker.leader_and_isr(PART, (OTHER, 3), (ME, 2)).await;
    let topic = broker_zookeeper::node::topic::Topic {
        partitions: [(0, vec![OTHER, ME]), (1, vec![OTHER])].into(),
        topic_id: Some(ID.to_string()),
        ..Default::default()
    };
    let path = broker_zookeeper::path::topic("t");
    broker.store.create(&path, &topic.encode(), CreateMode::Persistent).await.unwrap();
    assert_eq!(sweep(&broker, 7).await, 0);
    assert_eq!(broker.logs(), ["t-0", "t-1 stray"]);
}
