//! LeaderAndIsr: the controller tells which partitions this broker leads or copies.

use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::leader_and_isr::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use broker_protocol::primitive::IntoOwned;

use super::RequestContext;
use super::brokers::{is_for_brokers, obey};
use crate::context::Context;
use crate::order::Order;

/// Has the order obeyed.
pub(crate) async fn leader_and_isr(
    context: &Arc<Context>,
    request: LeaderAndIsrRequest<'_>,
    rc: &RequestContext<'_>,
) -> LeaderAndIsrResponse<'static> {
    let refused = |code: ErrorCode| LeaderAndIsrResponse {
        error_code: code.code(),
        ..LeaderAndIsrResponse::default()
    };
    if !is_for_brokers(context, rc) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let request = request.into_owned();
    let answer = obey(context, |answer| Order::LeaderAndIsr(request, answer)).await;
    answer.unwrap_or_else(|| refused(ErrorCode::BrokerNotAvailable))
}
