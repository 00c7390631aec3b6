//! What this broker does about orders: leads, copies and gives up replicas, and tells clients.
//!
//! One loop obeys one order after the other, which is Kafka's one lock over LeaderAndIsr,
//! UpdateMetadata and StopReplica; settings that changed come in the same order (`control/configure.rs`), so
//! that a partition is led with those that were read after its topic was seen. The loop is the only owner of what is known of
//! controllers, the only writer of the metadata and the only one who starts and ends fetchers.
//!
//! Source: Kafka 3.9 `KafkaApis` and `ReplicaManager.replicaStateChangeLock`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use broker_config::topic::TopicConfig;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use broker_protocol::quantity::BrokerId;
use broker_zookeeper::store::Store;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::dynamic_config::DynamicConfig;
use crate::metadata::{Cache, Metadata};
use crate::order::Order;
use crate::replica::fetcher::Fetchers;
use crate::replica::manager::Manager;
use crate::tasks::Tasks;

mod cluster;
pub(crate) mod configure;
mod leadership;
mod proof;
mod settings;
pub(crate) mod state;
mod stop;
mod strays;
mod telling;

use cluster::Named;
use state::{ControlState, Sender};
use telling::Telling;

/// What the loop acts on.
#[derive(Debug)]
pub(crate) struct Parts {
    /// This broker.
    pub(crate) broker_id: BrokerId,
    /// The epoch of its registration, which whoever registers it sets.
    pub(crate) broker_epoch: Arc<AtomicI64>,
    /// Whether it is being registered, so that a controller may know of an epoch first.
    pub(crate) is_registering: watch::Receiver<bool>,
    /// Its partitions.
    pub(crate) replicas: Arc<Manager>,
    /// What its clients are told.
    pub(crate) metadata: Arc<Cache>,
    /// Who copies its replicas.
    pub(crate) fetchers: Fetchers,
    /// The listener through which brokers reach each other.
    pub(crate) inter_broker_listener: Arc<str>,
    /// Whatever session there is with the tree.
    pub(crate) store: Arc<dyn Store>,
    /// The settings of topics.
    pub(crate) dynamic_config: Arc<DynamicConfig>,
    /// Set once all that was there at the start is led or copied, and clients may be told.
    pub(crate) loaded: watch::Sender<bool>,
    /// Where its work on the disk is counted.
    pub(crate) tasks: Tasks,
}

/// What the task that obeys is called.
pub(crate) const TASK: &str = "control";

/// Obeys orders.
#[derive(Debug)]
pub(crate) struct Control {
    parts: Parts,
    state: ControlState,
    /// Whether a LeaderAndIsr was obeyed since this broker registered.
    is_told: bool,
    /// What the last UpdateMetadata named, until the next order that moves replicas: a controller that
    /// tells all there is begins with the one, and says by the other that it was all.
    announced: Option<Named>,
    /// Whether clients may be told of topics.
    telling: Telling,
}

impl Control {
    /// Makes a loop that has heard of no controller later than `controller_epoch` (-1: of none).
    pub(crate) fn new(parts: Parts, controller_epoch: i32) -> Self {
        let (state, telling) = (ControlState::new(controller_epoch), Telling::default());
        Self { parts, state, is_told: false, announced: None, telling }
    }

    /// Obeys until nobody is left who gives orders.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => order,
                () = self.telling.ended() => {
                    info!("the controller tells of no more topics");
                    self.telling = Telling::Topics;
                    self.told();
                    continue;
                }
            };
            let Some(order) = order else { return };
            self.take(order).await;
        }
    }

    async fn take(&mut self, order: Order) {
        // Who does not wait for an answer has gone; the order was obeyed all the same.
        match order {
            Order::LeaderAndIsr(request, answer) => {
                let _ = answer.send(self.leader_and_isr(&request).await);
            }
            Order::StopReplica(request, answer) => {
                let _ = answer.send(self.stop_replica(&request).await);
            }
            Order::UpdateMetadata(request, answer) => {
                let _ = answer.send(self.update_metadata(&request).await);
            }
            Order::Configure(settings, done) => {
                self.configure(settings).await;
                let _ = done.send(());
            }
            Order::Resign(done) => {
                self.resign().await;
                let _ = done.send(());
            }
        }
    }

    fn broker_epoch(&self) -> i64 {
        self.parts.broker_epoch.load(Ordering::Acquire)
    }

    /// Takes an order that moves replicas, or says why it is of another time.
    async fn admit(&mut self, sender: Sender) -> Result<(), ErrorCode> {
        let admitted = self.obey(sender).await;
        let (controller, epoch) = (sender.controller.0, sender.broker_epoch);
        let ours = self.broker_epoch();
        match &admitted {
            Ok(()) => {}
            Err(ErrorCode::StaleBrokerEpoch) if epoch > ours => warn!(
                controller,
                epoch,
                ours,
                "an order for another registration refused: who made it may tell the cluster an address \
                 that leads here"
            ),
            Err(code) => warn!(controller, %code, "order of another time refused"),
        }
        admitted
    }

    /// Takes an order, or says why it is of another time.
    ///
    /// # Panics
    /// If one would be obeyed that was meant for another registration than this broker's.
    async fn obey(&mut self, sender: Sender) -> Result<(), ErrorCode> {
        if sender.broker_epoch > self.broker_epoch() {
            // It is our own only if it is known in a moment: nothing else makes one. Whoever registers waits
            // for no order, and where it is gone there is nothing to come.
            let _ = self.parts.is_registering.wait_for(|is_registering| !is_registering).await;
        }
        let broker_epoch = self.broker_epoch();
        self.state.admit(sender, broker_epoch)?;
        assert!(
            sender.broker_epoch < 0 || sender.broker_epoch == broker_epoch,
            "an order for registration {} is obeyed in {broker_epoch}",
            sender.broker_epoch
        );
        Ok(())
    }

    async fn update_metadata(
        &mut self,
        request: &UpdateMetadataRequest<'_>,
    ) -> UpdateMetadataResponse {
        let (id, epoch) = (request.controller_id, request.controller_epoch);
        let sender = Sender::new(id, epoch, request.broker_epoch);
        if let Err(code) = self.obey(sender).await {
            return UpdateMetadataResponse { error_code: code.code() };
        }
        self.announced = None;
        let named = cluster::named(request);
        self.telling.announced(request.request_type, !named.topics.is_empty());
        self.announced = Some(named);
        let mut metadata = (*self.parts.metadata.load()).clone();
        cluster::update(&mut metadata, request);
        let listener = &self.parts.inter_broker_listener;
        self.parts.fetchers.reach(metadata.brokers.keys().filter_map(|broker| {
            let endpoint = metadata.endpoint(*broker, listener)?;
            Some((*broker, &*endpoint.host, endpoint.port))
        }));
        self.prove(&metadata);
        self.parts.metadata.publish(metadata);
        self.told();
        UpdateMetadataResponse { error_code: ErrorCode::None.code() }
    }

    /// Lets clients be told of topics, and the start go on, if this broker was told enough.
    fn told(&self) {
        if !self.telling.is_done() {
            return;
        }
        let known = self.parts.metadata.load();
        if !known.is_told {
            self.parts.metadata.publish(Metadata { is_told: true, ..Metadata::clone(&known) });
        }
        // Our own controller tells everything, and our replicas last; another's tells of our replicas
        // only if there are any.
        if self.is_told || known.controller != Some(self.parts.broker_id) {
            self.parts.loaded.send_replace(true);
        }
    }

    /// Takes in whether the replicas here that cannot prove that they are complete are in sync.
    fn prove(&self, metadata: &Metadata) {
        let (me, standings) = (self.parts.broker_id, self.parts.replicas.standings());
        for name in standings.unproven() {
            let topic = metadata.topic(&name.topic);
            let partition = topic.and_then(|it| it.partitions.get(name.partition as usize));
            if let Some(known) = partition.filter(|known| known.leader.is_some_and(|it| it != me)) {
                standings.follows(&name, known.isr.contains(&me));
            }
        }
    }

    /// Gives up all that it was told, until it is told anew in another session.
    async fn resign(&mut self) {
        self.state.resign(self.broker_epoch());
        self.is_told = false;
        self.announced = None;
        self.telling.resigned();
        self.parts.fetchers.stop();
        let replicas = Arc::clone(&self.parts.replicas);
        self.on_disk(move || replicas.resign()).await;
    }

    /// Runs what waits for the disk where nothing else waits for it; `None` if it was cut short. A stop waits for it.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match self.parts.tasks.spawn_blocking(TASK, work).await {
            Ok(done) => Some(done),
            Err(error) => {
                error!(%error, "work on the disk was not finished");
                None
            }
        }
    }

    /// Gives settings that changed to the partitions that they are of, and copies as those of the broker say.
    async fn configure(&mut self, settings: Vec<(Arc<str>, Arc<TopicConfig>)>) {
        self.parts.fetchers.spread().await;
        let replicas = Arc::clone(&self.parts.replicas);
        self.on_disk(move || {
            for (topic, config) in &settings {
                replicas.set_config(topic, config);
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests;
