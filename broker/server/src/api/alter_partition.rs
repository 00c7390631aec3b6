//! AlterPartition: a leader asks this broker, as the controller, for other ISRs.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};

use super::RequestContext;
use super::brokers::is_for_brokers;
use crate::context::Context;
use crate::controller::wire;

/// Answers once the decision is in the tree.
pub(crate) async fn alter_partition(
    context: &Context,
    request: AlterPartitionRequest<'_>,
    rc: &RequestContext<'_>,
) -> AlterPartitionResponse<'static> {
    if !is_for_brokers(context, rc) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return AlterPartitionResponse { error_code, ..Default::default() };
    }
    wire::alter_partition(&context.controller, &request, rc.api_version).await
}
