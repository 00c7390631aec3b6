//! Who may ask as a broker: another one of the cluster, over a listener that is for brokers.
//!
//! Whether it is assigned a replica of a partition is for the partition to say. A client that says it is a
//! broker gets nothing, and moves nothing (CVE-2018-1288); where clients share the listener and nobody
//! proves who he is, only the network keeps it from claiming to be one, as in Kafka without ACLs.

use broker_protocol::quantity::BrokerId;
use tokio::sync::oneshot;

use super::RequestContext;
use crate::context::Context;
use crate::order::Order;

/// Returns whether a request that says it is of `replica_id` may be.
pub(super) fn is_replica(context: &Context, rc: &RequestContext<'_>, replica_id: BrokerId) -> bool {
    let is_other = replica_id != context.broker_id;
    is_other
        && is_for_brokers(context, rc)
        && context.metadata.load().brokers.contains_key(&replica_id)
}

/// Returns whether the request came through a listener through which brokers reach each other.
pub(super) fn is_for_brokers(context: &Context, rc: &RequestContext<'_>) -> bool {
    let config = context.config.load();
    let control_plane = config.control_plane_listener_name.as_deref();
    let listener = &*rc.peer.listener;
    listener == config.inter_broker_listener.name || Some(listener) == control_plane
}

/// Gives an order to this broker and waits for its answer; `None` if the broker stops.
pub(super) async fn obey<A>(
    context: &Context,
    order: impl FnOnce(oneshot::Sender<A>) -> Order,
) -> Option<A> {
    let (answer, answered) = oneshot::channel();
    context.orders.send(order(answer)).await.ok()?;
    answered.await.ok()
}
