//! ControlledShutdown: a broker that wants to stop asks this one, as the controller, to take its
//! leadership.

use broker_protocol::message::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse,
};

use super::RequestContext;
use crate::context::Context;
use crate::controller::wire;

/// Answers once the other leaders are in the tree.
pub(crate) async fn controlled_shutdown(
    context: &Context,
    request: ControlledShutdownRequest,
    _: &RequestContext<'_>,
) -> ControlledShutdownResponse<'static> {
    wire::controlled_shutdown(&context.controller, &request).await
}
