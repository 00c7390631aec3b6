//! What every handler can reach: one immutable value per process, behind one `Arc`.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use broker_protocol::quantity::BrokerId;

use crate::clock::SharedClock;
use crate::controller::admin::Admin;
use crate::controller::handle::ControllerHandle;
use crate::dynamic_config::{DynamicConfig, SharedConfig};
use crate::group::coordinator::Coordinator;
use crate::in_flight::InFlight;
use crate::membership::presence::Presence;
use crate::metadata::Cache;
use crate::metrics::Metrics;
use crate::order::Orders;
use crate::replica::cleaner::Cleaner;
use crate::replica::manager::Manager;
use crate::seldom::Warned;
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
    pub admin: Admin,
    /// The controller, if it is here.
    pub controller: Arc<ControllerHandle>,
    /// Where controllers' orders go.
    pub(crate) orders: Orders,
    /// The epoch of this broker's registration, -1 while there is none.
    pub broker_epoch: Arc<AtomicI64>,
    /// Tells this process from others that may be taken for this broker.
    pub(crate) presence: Arc<Presence>,
    /// The partitions on this broker.
    pub replicas: Arc<Manager>,
    /// Compaction of their logs.
    pub cleaner: Arc<Cleaner>,
    /// Consumer groups.
    pub groups: Coordinator,
    /// Memory that requests and answers have.
    pub in_flight: Arc<InFlight>,
    /// What its log said lately.
    pub(crate) warned: Warned,
    /// What it tells of itself.
    pub metrics: Arc<Metrics>,
    /// The source of time.
    pub clock: SharedClock,
    /// The set that every task is spawned in.
    pub tasks: Tasks,
}
