//! The broker's side of the controller's instructions: lead, delete, announce, forget.
//!
//! One loop takes them in order, and changes of settings with them. A partition is led before it is announced, so that a client that
//! reads the metadata and comes at once is served.

use std::sync::Arc;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use crate::controller::old_run::Instruction;
use crate::controller::old_state::Elected;
use crate::dynamic_config::{Applied, DynamicConfig};
use crate::metadata::Cache;
use crate::replica::manager::Manager;

/// Carries out what the controller and the configuration say.
#[derive(Debug)]
pub(crate) struct Control {
    broker_id: BrokerId,
    replicas: Arc<Manager>,
    metadata: Arc<Cache>,
    dynamic_config: Arc<DynamicConfig>,
    /// True once everything that was in the tree at the start has been carried out.
    loaded: watch::Sender<bool>,
}

impl Control {
    /// Acts on `replicas` and publishes to `metadata`; `loaded` is set once all is announced.
    pub(crate) fn new(
        broker_id: BrokerId,
        replicas: Arc<Manager>,
        metadata: Arc<Cache>,
        dynamic_config: Arc<DynamicConfig>,
        loaded: watch::Sender<bool>,
    ) -> Self {
        Self { broker_id, replicas, metadata, dynamic_config, loaded }
    }

    /// Takes instructions until nobody is left who sends them.
    pub(crate) async fn run(self, mut instructions: mpsc::Receiver<Instruction>) {
        // Everything that is announced before the end of the load is published at once: a snapshot
        // a topic would make starting with many topics quadratic.
        let mut metadata = (*self.metadata.load()).clone();
        let mut is_loading = true;
        while let Some(instruction) = instructions.recv().await {
            match instruction {
                Instruction::Lead { topic_id, partitions, done } => {
                    self.lead(topic_id, partitions).await;
                    let _ = done.send(());
                    continue;
                }
                Instruction::Delete { partitions, done } => {
                    self.delete(partitions).await;
                    let _ = done.send(());
                    continue;
                }
                Instruction::Configure { applied, done } => {
                    self.configure(applied).await;
                    let _ = done.send(());
                    continue;
                }
                Instruction::Announce(topic) => metadata.insert_topic(topic),
                Instruction::Forget(topic) => metadata.remove_topic(&topic),
                Instruction::Loaded => is_loading = false,
            }
            if !is_loading {
                self.metadata.publish(metadata.clone());
                self.loaded.send_replace(true);
            }
        }
    }

    async fn lead(&self, topic_id: Uuid, partitions: Vec<(TopicPartition, Elected)>) {
        let Some(topic) = partitions.first().map(|(name, _)| Arc::clone(&name.topic)) else {
            return;
        };
        let replicas_count = partitions.first().map_or(1, |(_, elected)| elected.isr.len().max(1));
        let mine = partitions.into_iter().filter(|(_, e)| e.leader == Some(self.broker_id));
        let mine: Vec<_> = mine.map(|(name, e)| (name.partition, e.leader_epoch)).collect();
        let config = match self.dynamic_config.topic(&topic).await {
            Ok(config) => config,
            Err(error) => {
                error!(%topic, %error, "topic is not led: its configuration cannot be read");
                return;
            }
        };
        let replicas = Arc::clone(&self.replicas);
        let name = Arc::clone(&topic);
        let led = on_disk_thread(move || {
            replicas.become_leader(&name, topic_id, &config, replicas_count as u32, &mine)
        });
        if let Some(Err(error)) = led.await {
            error!(%topic, %error, "partitions are not led");
        }
    }

    async fn delete(&self, partitions: Vec<TopicPartition>) {
        let replicas = Arc::clone(&self.replicas);
        let deleted = on_disk_thread(move || {
            for partition in &partitions {
                if let Err(error) = replicas.delete(partition) {
                    warn!(%partition, %error, "replica not deleted");
                }
            }
        });
        deleted.await;
    }

    /// Gives settings that changed to the partitions that they are of.
    async fn configure(&self, applied: Applied) {
        let topics: Vec<String> = match applied {
            Applied::Topic(topic) => vec![topic],
            // Not those of the metadata: a topic is led before it is announced.
            Applied::Broker => {
                self.replicas.topics().iter().map(|topic| topic.name().to_owned()).collect()
            }
        };
        for topic in topics {
            match self.dynamic_config.topic(&topic).await {
                Ok(config) => self.replicas.set_config(&topic, &config),
                Err(error) => warn!(topic, %error, "settings of the topic stay as they were"),
            }
        }
    }
}

/// Runs what waits for the disk where nothing else waits for it.
async fn on_disk_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            error!(%error, "work on the disk was not finished");
            None
        }
    }
}
