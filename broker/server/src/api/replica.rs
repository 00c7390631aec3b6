//! Who may ask as a replica: another broker of the cluster, over the listener that is for brokers.
//!
//! Whether it is assigned a replica of a partition is for the partition to say. A client that says it is a
//! broker gets nothing, and moves nothing (CVE-2018-1288); where clients share the listener and nobody
//! proves who he is, only the network keeps it from claiming to be one, as in Kafka without ACLs.

use broker_protocol::quantity::BrokerId;

use super::RequestContext;
use crate::context::Context;

/// Returns whether a request that says it is of `replica_id` may be.
pub(super) fn is_broker(context: &Context, rc: &RequestContext<'_>, replica_id: BrokerId) -> bool {
    let is_other = replica_id != context.broker_id;
    let listener = &context.config.load().inter_broker_listener.name;
    is_other
        && *rc.peer.listener == **listener
        && context.metadata.load().brokers.contains_key(&replica_id)
}
