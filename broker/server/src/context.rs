//! What every handler can reach: one immutable value per process, behind one `Arc`.

use std::sync::Arc;

use broker_protocol::quantity::BrokerId;

use crate::clock::SharedClock;
use crate::controller::admin::Admin;
use crate::dynamic_config::{DynamicConfig, SharedConfig};
use crate::group::coordinator::Coordinator;
use crate::in_flight::InFlight;
use crate::metadata::Cache;
use crate::metrics::Metrics;
use crate::order::Orders;
use crate::replica::cleaner::Cleaner;
use crate::replica::manager::Manager;
use crate::tasks::Tasks;

/// The broker as a handler sees it.
#[derive(Debug)]
pub struct Context {
    /// This broker's id.
    pub broker_id: BrokerId,
    /// The id of the cluster it belongs to, 22 characters.
    pub cluster_id: Arc<str>,
    /// The broker's configuration as it is now.
    pub config: SharedConfig,
    /// Settings that change while the broker runs.
    pub dynamic_config: Arc<DynamicConfig>,
    /// What is known of the cluster.
    pub metadata: Arc<Cache>,
    /// Changes to topics.
    pub controller: Admin,
    /// Where a controller's orders to this broker go.
    pub(crate) orders: Orders,
    /// The partitions on this broker.
    pub replicas: Arc<Manager>,
    /// Compaction of their logs.
    pub cleaner: Arc<Cleaner>,
    /// Consumer groups.
    pub groups: Coordinator,
    /// Memory that requests and answers have.
    pub in_flight: Arc<InFlight>,
    /// What it tells of itself.
    pub metrics: Arc<Metrics>,
    /// The source of time.
    pub clock: SharedClock,
    /// The set that every task is spawned in.
    pub tasks: Tasks,
}
