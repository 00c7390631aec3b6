//! UpdateMetadata: the controller tells what clients may be told of the cluster.

use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use broker_protocol::primitive::IntoOwned;

use super::RequestContext;
use super::brokers::{is_for_brokers, obey};
use crate::context::Context;
use crate::order::Order;

/// Has the order obeyed.
pub(crate) async fn update_metadata(
    context: &Arc<Context>,
    request: UpdateMetadataRequest<'_>,
    rc: &RequestContext<'_>,
) -> UpdateMetadataResponse {
    let refused = |code: ErrorCode| UpdateMetadataResponse { error_code: code.code() };
    if !is_for_brokers(context, rc) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let request = request.into_owned();
    let answer = obey(context, |answer| Order::UpdateMetadata(request, answer)).await;
    answer.unwrap_or_else(|| refused(ErrorCode::BrokerNotAvailable))
}
