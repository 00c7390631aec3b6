//! Why a change was refused, as the status of a call.

use broker_protocol::uuid::Uuid;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::path;
use broker_zookeeper::store::StoreError;
use tonic::Status;

use super::unavailable;
use crate::controller::admin::error::AdminError;

/// Says what is to be done about an error: another request, another look, or the same again.
pub(super) fn of_admin(error: &AdminError) -> Status {
    let words = error.to_string();
    match error {
        AdminError::Unknown(_) => Status::not_found(words),
        AdminError::Exists(_) | AdminError::Going(_) => Status::already_exists(words),
        AdminError::Name(_)
        | AdminError::Collision { .. }
        | AdminError::PartitionCount { .. }
        | AdminError::Fewer { .. }
        | AdminError::AssignmentCount { .. }
        | AdminError::ReplicationFactor { .. }
        | AdminError::Assignment(_)
        | AdminError::IdTaken { .. }
        | AdminError::Both
        | AdminError::Config(_) => Status::invalid_argument(words),
        AdminError::Closed { .. }
        | AdminError::NotMore { .. }
        | AdminError::Otherwise { .. }
        | AdminError::Moving(_)
        | AdminError::Placement(_)
        | AdminError::DeletionDisabled => Status::failed_precondition(words),
        AdminError::Cordoned | AdminError::Fenced | AdminError::TimedOut(_) => {
            Status::unavailable(words)
        }
        AdminError::Silent(_) | AdminError::Tree(_) => unavailable(words),
    }
}

/// Says that another operator has come while the call was under way.
pub(super) fn overtaken() -> Status {
    of_admin(&AdminError::Fenced)
}

/// Reads why a transaction was not done: `None` where something of it was changed meanwhile, and another look is due.
pub(super) fn of_transaction(error: &TreeError) -> Option<Status> {
    match error {
        TreeError::Store(StoreError::BadVersion { path, .. } | StoreError::NoNode { path })
            if path == path::OPERATOR =>
        {
            Some(overtaken())
        }
        TreeError::Store(
            StoreError::BadVersion { .. }
            | StoreError::NodeExists { .. }
            | StoreError::NoNode { .. }
            | StoreError::ConnectionLoss,
        ) => None,
        TreeError::Store(StoreError::TooLarge { .. }) => {
            Some(Status::failed_precondition(format!("{error}: ask for less at once")))
        }
        TreeError::Store(_) | TreeError::Node(_) => Some(unavailable(error)),
    }
}

/// Reads the id of a topic.
pub(super) fn topic_id(text: &str) -> Result<Uuid, Status> {
    let id = text.parse().ok().filter(|id: &Uuid| !id.is_zero());
    id.ok_or_else(|| {
        Status::invalid_argument("topic_id: 22 characters of base64 for URLs, and not all zero")
    })
}
