//! What this broker does about orders: leads, copies and gives up replicas, and tells clients.
//!
//! One loop obeys one order after the other, which is Kafka's one lock over LeaderAndIsr,
//! UpdateMetadata and StopReplica; settings that changed come in the same order, so that a partition is
//! led with those that were read after its topic was seen. The loop is the only owner of what is known of
//! controllers, the only writer of the metadata and the only one who starts and ends fetchers.
//!
//! Source: Kafka 3.9 `KafkaApis` and `ReplicaManager.replicaStateChangeLock`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use broker_protocol::quantity::BrokerId;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::dynamic_config::{Applied, DynamicConfig};
use crate::metadata::Cache;
use crate::order::Order;
use crate::replica::manager::Manager;

mod cluster;
pub(crate) mod state;

use state::{ControlState, Sender};

/// What the loop acts on.
#[derive(Debug)]
pub(crate) struct Parts {
    /// This broker.
    pub(crate) broker_id: BrokerId,
    /// The epoch of its registration, which whoever registers it sets.
    pub(crate) broker_epoch: Arc<AtomicI64>,
    /// Its partitions.
    pub(crate) replicas: Arc<Manager>,
    /// What its clients are told.
    pub(crate) metadata: Arc<Cache>,
    /// The settings of topics.
    pub(crate) dynamic_config: Arc<DynamicConfig>,
    /// Set once all that was there at the start is led or copied, and clients may be told.
    pub(crate) loaded: watch::Sender<bool>,
}

/// Obeys orders.
#[derive(Debug)]
pub(crate) struct Control {
    parts: Parts,
    state: ControlState,
}

impl Control {
    /// Makes a loop that has heard of no controller later than `controller_epoch` (-1: of none).
    pub(crate) fn new(parts: Parts, controller_epoch: i32) -> Self {
        Self { parts, state: ControlState::new(controller_epoch) }
    }

    /// Obeys until nobody is left who gives orders.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            // Who does not wait for an answer has gone; the order was obeyed all the same.
            match order {
                Order::LeaderAndIsr(_, answer) => drop(answer),
                Order::StopReplica(_, answer) => drop(answer),
                Order::UpdateMetadata(request, answer) => {
                    let _ = answer.send(self.update_metadata(&request));
                }
                Order::Configure(applied, done) => {
                    self.configure(applied).await;
                    let _ = done.send(());
                }
                Order::Resign(done) => {
                    self.state.resign(self.broker_epoch());
                    let _ = done.send(());
                }
            }
        }
    }

    fn broker_epoch(&self) -> i64 {
        self.parts.broker_epoch.load(Ordering::Acquire)
    }

    fn update_metadata(&mut self, request: &UpdateMetadataRequest<'_>) -> UpdateMetadataResponse {
        let sender = Sender {
            controller: BrokerId(request.controller_id),
            controller_epoch: request.controller_epoch,
            broker_epoch: request.broker_epoch,
        };
        if let Err(code) = self.state.admit(sender, self.broker_epoch()) {
            return UpdateMetadataResponse { error_code: code.code() };
        }
        let mut metadata = (*self.parts.metadata.load()).clone();
        cluster::update(&mut metadata, request);
        self.parts.metadata.publish(metadata);
        UpdateMetadataResponse { error_code: ErrorCode::None.code() }
    }

    /// Gives settings that changed to the partitions that they are of.
    async fn configure(&self, applied: Applied) {
        let topics: Vec<String> = match applied {
            Applied::Topic(topic) => vec![topic],
            // Not those of the metadata: a topic is led before it is announced.
            Applied::Broker => {
                self.parts.replicas.topics().iter().map(|topic| topic.name().to_owned()).collect()
            }
        };
        for topic in topics {
            match self.parts.dynamic_config.topic(&topic).await {
                Ok(config) => self.parts.replicas.set_config(&topic, &config),
                Err(error) => warn!(topic, %error, "settings of the topic stay as they were"),
            }
        }
    }
}
