//! AllocateProducerIds: a broker asks this one, as the controller, for ids of idempotent producers.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::allocate_producer_ids::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse,
};

use super::RequestContext;
use super::brokers::is_for_brokers;
use crate::context::Context;
use crate::controller::wire;

/// Answers once the block is taken in the tree.
pub(crate) async fn allocate_producer_ids(
    context: &Context,
    request: AllocateProducerIdsRequest,
    rc: &RequestContext<'_>,
) -> AllocateProducerIdsResponse {
    if !is_for_brokers(context, rc) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return AllocateProducerIdsResponse { error_code, ..Default::default() };
    }
    wire::allocate_producer_ids(&context.controller, &request).await
}
