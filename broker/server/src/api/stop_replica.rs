//! StopReplica: the controller tells which replicas this broker gives up, and which of them it deletes.

use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::stop_replica::{StopReplicaRequest, StopReplicaResponse};
use broker_protocol::primitive::IntoOwned;

use super::RequestContext;
use super::brokers::{is_for_brokers, obey};
use crate::context::Context;
use crate::order::Order;

/// Has the order obeyed.
pub(crate) async fn stop_replica(
    context: &Arc<Context>,
    request: StopReplicaRequest<'_>,
    rc: &RequestContext<'_>,
) -> StopReplicaResponse<'static> {
    let refused = |code: ErrorCode| StopReplicaResponse {
        error_code: code.code(),
        ..StopReplicaResponse::default()
    };
    if !is_for_brokers(context, rc) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let request = request.into_owned();
    let answer = obey(context, |answer| Order::StopReplica(request, answer)).await;
    answer.unwrap_or_else(|| refused(ErrorCode::BrokerNotAvailable))
}
