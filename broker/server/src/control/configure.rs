//! Settings that changed, from the coordination tree to the loop.
//!
//! They are read here, outside of the loop: it obeys meanwhile, however many there are and however long the
//! tree is away. What cannot be read for now is an error, and whoever saw the change carries it out again.
//!
//! That a partition is led with settings of before is made good by the order in which things come: who changes
//! settings writes them first, and those of the broker are in force, before they are carried out. So an order
//! that read what was before was begun before ours, and its topics are there once ours was obeyed.

use std::collections::HashSet;
use std::sync::Arc;

use broker_zookeeper::error::TreeError;
use tokio::sync::oneshot;

use crate::dynamic_config::{Applied, DynamicConfig};
use crate::order::{Order, Orders};
use crate::replica::manager::Manager;

/// How many topics are read at once, and given to the loop in one order.
const MANY: usize = 500;

/// Carries settings that changed to the partitions that they are of.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Where the loop takes its orders.
    pub(crate) orders: Orders,
    /// The partitions that are here.
    pub(crate) replicas: Arc<Manager>,
    /// The settings of topics.
    pub(crate) dynamic_config: Arc<DynamicConfig>,
}

impl Changes {
    /// Returns once all partitions have the settings; done again where it fails.
    pub(crate) async fn carry_out(&self, applied: &Applied) -> Result<(), TreeError> {
        match applied {
            Applied::Topic(topic) => self.configure(&[Arc::from(topic.as_str())]).await,
            Applied::Broker => {
                let topics = self.topics();
                self.configure(&topics).await?;
                let known: HashSet<_> = topics.into_iter().collect();
                let mut late = self.topics();
                late.retain(|topic| !known.contains(topic));
                if late.is_empty() { Ok(()) } else { self.configure(&late).await }
            }
        }
    }

    /// The topics that are here. Not those of the metadata: a topic is led before it is announced.
    fn topics(&self) -> Vec<Arc<str>> {
        self.replicas.topics().iter().map(|topic| Arc::from(topic.name())).collect()
    }

    /// Gives the loop what the topics' settings are now, in one order at least.
    async fn configure(&self, topics: &[Arc<str>]) -> Result<(), TreeError> {
        let mut left = topics;
        loop {
            let (now, later) = left.split_at(left.len().min(MANY));
            let settings = self.dynamic_config.topics(now).await?;
            let (done, finished) = oneshot::channel();
            // The loop ends only with the process.
            let _ = self.orders.send(Order::Configure(settings, done)).await;
            let _ = finished.await;
            if later.is_empty() {
                return Ok(());
            }
            left = later;
        }
    }
}
