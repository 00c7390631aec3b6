//! What only the controller does, and how another broker says that it is not.

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::context::Context;

/// The trailer that names the controller: one who asks another broker need not ask who it is.
const CONTROLLER: &str = "ottla-controller";

/// Refuses a call because another broker is the controller, or none.
pub(super) fn not_controller(context: &Context) -> Status {
    let id = context.broker_id.0;
    let controller = context.metadata.load().controller.map(|controller| controller.0);
    let controller = controller.filter(|controller| *controller != id);
    let words = match controller {
        Some(controller) => format!("broker {id} is no controller: ask broker {controller}"),
        None => format!("broker {id} is no controller, and knows none yet: ask again"),
    };
    let mut trailers = MetadataMap::new();
    trailers.insert(CONTROLLER, MetadataValue::from(controller.unwrap_or(-1)));
    Status::with_metadata(Code::FailedPrecondition, words, trailers)
}
