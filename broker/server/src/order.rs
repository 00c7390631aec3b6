//! What this broker is told to do: by a controller, by whoever changes settings, by its own session.
//!
//! A vocabulary only. A controller of another broker speaks it over the wire (`api`), the one of this
//! broker in memory; `control` obeys, one order after the other, and answers each.

use std::sync::Arc;

use broker_config::topic::TopicConfig;
use broker_protocol::message::leader_and_isr::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use broker_protocol::message::stop_replica::{StopReplicaRequest, StopReplicaResponse};
use broker_protocol::message::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait: a connection or a controller has one on its way, so that a full queue only
/// pushes back on who would send a second.
pub(crate) const ORDERS: usize = 16;

/// Where orders go.
pub(crate) type Orders = mpsc::Sender<Order>;

/// An order, and where its answer goes. An answer that nobody waits for is dropped.
#[derive(Debug)]
pub(crate) enum Order {
    /// Lead or copy these partitions.
    ///
    /// The answer names partitions in both ways, by topic and by topic id: a version encodes its own.
    LeaderAndIsr(LeaderAndIsrRequest<'static>, oneshot::Sender<LeaderAndIsrResponse<'static>>),
    /// Give up these replicas, and delete the logs of some.
    StopReplica(StopReplicaRequest<'static>, oneshot::Sender<StopReplicaResponse<'static>>),
    /// Tell clients this of the cluster.
    UpdateMetadata(UpdateMetadataRequest<'static>, oneshot::Sender<UpdateMetadataResponse>),
    /// Give settings that changed, as they were read, to the partitions of their topics.
    Configure(Vec<(Arc<str>, Arc<TopicConfig>)>, oneshot::Sender<()>),
    /// Lead and copy nothing: the session is over. Answered once nothing is led any more.
    Resign(oneshot::Sender<()>),
}
