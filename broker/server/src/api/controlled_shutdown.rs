//! ControlledShutdown: a broker that wants to stop asks this one, as the controller, to take its
//! leadership.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse,
};

use super::RequestContext;
use super::brokers::is_for_brokers;
use crate::context::Context;
use crate::controller::wire;

/// Answers once the other leaders are in the tree.
pub(crate) async fn controlled_shutdown(
    context: &Context,
    request: ControlledShutdownRequest,
    rc: &RequestContext<'_>,
) -> ControlledShutdownResponse<'static> {
    if !is_for_brokers(context, rc) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return ControlledShutdownResponse { error_code, ..Default::default() };
    }
    wire::controlled_shutdown(&context.controller, &request).await
}
