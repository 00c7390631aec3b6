//! AllocateProducerIds: a broker asks this one, as the controller, for ids of idempotent producers.

use broker_protocol::message::allocate_producer_ids::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse,
};

use super::RequestContext;
use crate::context::Context;
use crate::controller::wire;

/// Answers once the block is taken in the tree.
pub(crate) async fn allocate_producer_ids(
    context: &Context,
    request: AllocateProducerIdsRequest,
    _: &RequestContext<'_>,
) -> AllocateProducerIdsResponse {
    wire::allocate_producer_ids(&context.controller, &request).await
}
