//! What the handlers of groups share: who asks, and the code of a coordinator that is not there.

use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;

use crate::group::state::request::{Identity, Reply};

/// Returns the code of an answer that is not of the kind that was asked for.
pub(super) fn unexpected(reply: &Reply) -> ErrorCode {
    match reply {
        Reply::Unavailable(error) => *error,
        Reply::Join(_)
        | Reply::Sync(_)
        | Reply::Code(_)
        | Reply::Codes(_)
        | Reply::Offsets(_)
        | Reply::Description(_) => ErrorCode::UnknownServerError,
    }
}

/// Copies out of the frame who asks.
pub(super) fn identity(
    generation_id: i32,
    member_id: &str,
    group_instance_id: Option<&str>,
) -> Identity {
    Identity {
        generation_id,
        member_id: Arc::from(member_id),
        group_instance_id: group_instance_id.map(Arc::from),
    }
}
