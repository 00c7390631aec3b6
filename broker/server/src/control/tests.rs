//! Orders over their queue to a whole `Control`, on a real directory.
#![allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_config::broker::BrokerConfig;
use broker_protocol::message::leader_and_isr::{
    LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrTopicState,
};
use broker_protocol::message::update_metadata::{
    UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use broker_protocol::uuid::Uuid;
use broker_zookeeper::embedded::EmbeddedTree;
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

const ME: i32 = 1;
const OTHER: i32 = 2;
const ID: Uuid = Uuid::from_bytes([1; 16]);

/// A broker that obeys, and who orders.
struct Obeying {
    orders: mpsc::Sender<Order>,
    metadata: Arc<Cache>,
    loaded: watch::Receiver<bool>,
    _dir: TempDir,
}

impl Obeying {
    async fn new() -> Self {
        let (dir, topic) = (tempfile::tempdir().unwrap(), config(&[]));
        let replicas = open(&[dir.path()], &topic);
        let settings = Arc::new(ArcSwap::from_pointee(BrokerConfig::default()));
        let store = Arc::new(EmbeddedTree::in_memory().session().await);
        ensure_paths(&*store).await.unwrap();
        let clock = Arc::new(SystemClock);
        let dynamic = DynamicConfig::load(store, BrokerId(ME), Arc::clone(&settings), clock).await;
        let broker_epoch = Arc::new(AtomicI64::new(7));
        let fetchers = Fetchers::new(fetcher::Parts {
            broker_id: BrokerId(ME),
            broker_epoch: Arc::clone(&broker_epoch),
            replicas: Arc::clone(&replicas),
            config: settings,
            versions: fetcher::Versions { fetch: 17, list_offsets: 9, offset_for_leader_epoch: 4 },
            runtimes: Vec::new(),
            tasks: Tasks::new(),
        });
        let (loaded, is_loaded) = watch::channel(false);
        let metadata = Arc::new(Cache::default());
        let parts = Parts {
            broker_id: BrokerId(ME),
            broker_epoch,
            replicas,
            metadata: Arc::clone(&metadata),
            fetchers,
            inter_broker_listener: "PLAINTEXT".into(),
            dynamic_config: Arc::new(dynamic.unwrap()),
            loaded,
        };
        let (orders, inbox) = mpsc::channel(1);
        tokio::spawn(Control::new(parts, -1).run(inbox));
        Self { orders, metadata, loaded: is_loaded, _dir: dir }
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.unwrap();
        answered.await.unwrap()
    }

    /// UpdateMetadata of so many partitions of `t`.
    async fn announce(&self, controller_id: i32, controller_epoch: i32, partitions: i32) {
        let state = |partition_index| UpdateMetadataPartitionState {
            partition_index,
            leader: OTHER,
            replicas: vec![OTHER],
            ..Default::default()
        };
        let topic = UpdateMetadataTopicState {
            topic_name: "t".into(),
            topic_id: ID,
            partition_states: (0..partitions).map(state).collect(),
        };
        let request = UpdateMetadataRequest {
            controller_id,
            controller_epoch,
            broker_epoch: 7,
            topic_states: (partitions > 0).then_some(topic).into_iter().collect(),
            ..Default::default()
        };
        let response = self.order(|answer| Order::UpdateMetadata(request, answer)).await;
        assert_eq!(response.error_code, 0);
    }

    /// LeaderAndIsr of so many partitions of `t`, of which no replica is here.
    async fn lead(&self, controller_id: i32, controller_epoch: i32, partitions: i32) {
        let state = |partition_index| LeaderAndIsrPartitionState {
            partition_index,
            leader: OTHER,
            replicas: vec![OTHER],
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
            broker_epoch: 7,
            topic_states: (partitions > 0).then_some(topic).into_iter().collect(),
            ..Default::default()
        };
        let response = self.order(|answer| Order::LeaderAndIsr(request, answer)).await;
        assert_eq!(response.error_code, 0);
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
        broker.lead(controller, 3, 0).await;
        broker.announce(controller, 3, 0).await;
        assert_eq!(broker.is_told(), TOLD);
        assert_eq!(begun.elapsed(), Duration::ZERO);
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
