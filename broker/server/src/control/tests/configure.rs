//! Settings that change while the loop obeys.

use broker_config::dynamic::Layers;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::faulty::{Faults, FaultyStore};
use broker_zookeeper::node::config::Config;
use broker_zookeeper::store::StoreError;

use super::*;
use crate::control::configure::Changes;
use crate::dynamic_config::Applied;

impl Obeying {
    /// Who carries out changes, and reads through these faults.
    async fn changes(&self, faults: Faults) -> Changes {
        let store = Arc::new(FaultyStore::new(Arc::clone(&self.store) as _, faults));
        let (settings, clock) = (Arc::clone(&self.settings), Arc::new(SystemClock));
        let dynamic = DynamicConfig::load(store, BrokerId(ME), settings, clock).await.unwrap();
        Changes {
            orders: self.orders.clone(),
            replicas: Arc::clone(&self.replicas),
            dynamic_config: Arc::new(dynamic),
        }
    }

    /// Writes the `min.insync.replicas` of `t`.
    async fn set(&self, min_insync: i32) {
        let path = broker_zookeeper::path::topic_config("t");
        let settings = [("min.insync.replicas".to_owned(), min_insync.to_string())];
        let data = Config::new(settings.into()).encode();
        let _ = self.store.create(&path, &data, CreateMode::Persistent).await;
        self.store.set(&path, &data, None).await.unwrap();
    }

    /// What the broker's own settings say of all topics.
    fn set_all(&self, min_insync: i32) {
        let settings = [("min.insync.replicas".to_owned(), min_insync.to_string())];
        let layers = Layers { dynamic_broker: settings.into(), ..Layers::default() };
        self.settings.store(Arc::new(BrokerConfig::resolve(layers).unwrap()));
    }

    /// Has this broker lead a topic `u`.
    async fn lead_another(&self) {
        let state = LeaderAndIsrPartitionState {
            leader: ME,
            isr: vec![ME],
            replicas: vec![ME],
            is_new: true,
            ..Default::default()
        };
        let topic = LeaderAndIsrTopicState {
            topic_name: "u".into(),
            topic_id: Uuid::from_bytes([9; 16]),
            partition_states: vec![state],
        };
        let request = LeaderAndIsrRequest {
            controller_id: OTHER,
            controller_epoch: 3,
            broker_epoch: 7,
            topic_states: vec![topic],
            ..Default::default()
        };
        let response = self.order(|answer| Order::LeaderAndIsr(request, answer)).await;
        assert_eq!(response.partition_errors[0].error_code, 0);
    }

    /// The `min.insync.replicas` of the topic's partition that is here.
    fn min_insync(&self, topic: &str) -> i32 {
        self.replicas.partition(topic, 0).unwrap().config().min_insync_replicas
    }
}

/// A tree that is away for a moment, as when it goes to another server, costs no change: it is done, or said not
/// to be.
#[tokio::test]
async fn settings_that_could_not_be_read_are_not_forgotten() {
    let broker = Obeying::new().await;
    broker.leader_and_isr(PART, (OTHER, 3), (ME, 1)).await;
    let faults = Faults { seed: 1, lost_answers: 0.5, ..Faults::NONE };
    let changes = broker.changes(faults).await;
    let mut lost = 0;
    for min_insync in 2..20 {
        broker.set(min_insync).await;
        let applied =
            if min_insync % 2 == 0 { Applied::Broker } else { Applied::Topic("t".to_owned()) };
        while let Err(error) = changes.carry_out(&applied).await {
            assert!(matches!(error, TreeError::Store(StoreError::ConnectionLoss)), "{error}");
            assert_eq!(broker.min_insync("t"), min_insync - 1, "it is said not to be done");
            lost += 1;
        }
        assert_eq!(broker.min_insync("t"), min_insync);
    }
    assert!(lost > 0);
}

/// However long the settings of topics take to be read, what a controller orders is done meanwhile; and who was
/// given the settings of before meanwhile has those of now in the end.
#[tokio::test]
async fn orders_are_obeyed_while_settings_are_read() {
    let broker = Obeying::new().await;
    broker.set(2).await;
    broker.leader_and_isr(PART, (OTHER, 3), (ME, 1)).await;
    let faults = Faults { latest_answer: Duration::from_hours(1), ..Faults::NONE };
    tokio::time::pause();
    let changes = broker.changes(faults).await;
    // What is ordered has its own time, which a clock that runs by itself would use up.
    tokio::time::resume();
    let carried = tokio::spawn(async move { changes.carry_out(&Applied::Broker).await });
    tokio::task::yield_now().await;
    broker.lead_another().await;
    assert!(!carried.is_finished());
    broker.set_all(3);
    tokio::time::pause();
    carried.await.unwrap().unwrap();
    assert_eq!((broker.min_insync("t"), broker.min_insync("u")), (2, 3));
}
