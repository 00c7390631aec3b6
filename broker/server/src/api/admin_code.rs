//! Errors of the administration of topics and settings as Kafka's codes.

use broker_config::error::ConfigError;
use broker_protocol::error_code::ErrorCode;
use broker_zookeeper::store::StoreError;

use super::alter_configs::AlterError;
use super::describe_configs::ResourceError;
use crate::controller::admin::error::AdminError;
use crate::controller::placement::PlacementError;
use broker_zookeeper::error::TreeError;

impl From<&AdminError> for ErrorCode {
    fn from(error: &AdminError) -> Self {
        match error {
            AdminError::Name(_) | AdminError::Collision { .. } => Self::InvalidTopicException,
            AdminError::Exists(_) | AdminError::Going(_) | AdminError::IdTaken { .. } => {
                Self::TopicAlreadyExists
            }
            AdminError::Unknown(_) => Self::UnknownTopicOrPartition,
            AdminError::PartitionCount { .. }
            | AdminError::NotMore { .. }
            | AdminError::Otherwise { .. }
            | AdminError::Fewer { .. } => Self::InvalidPartitions,
            AdminError::ReplicationFactor { .. }
            | AdminError::Placement(PlacementError::TooFewBrokers { .. }) => {
                Self::InvalidReplicationFactor
            }
            // Kafka's code for it too.
            AdminError::Placement(PlacementError::Racks { .. }) => Self::UnknownServerError,
            AdminError::Assignment(_)
            | AdminError::Closed { .. }
            | AdminError::AssignmentCount { .. } => Self::InvalidReplicaAssignment,
            AdminError::Moving(_) => Self::ReassignmentInProgress,
            AdminError::Both => Self::InvalidRequest,
            AdminError::Config(_) => Self::InvalidConfig,
            AdminError::DeletionDisabled => Self::TopicDeletionDisabled,
            AdminError::TimedOut(_)
            | AdminError::Silent(_)
            | AdminError::Cordoned
            | AdminError::Fenced => Self::RequestTimedOut,
            AdminError::Tree(error) => of_tree(error),
        }
    }
}

impl From<&ResourceError> for ErrorCode {
    fn from(error: &ResourceError) -> Self {
        match error {
            ResourceError::UnknownTopic(_) => Self::UnknownTopicOrPartition,
            ResourceError::TopicName(_) => Self::InvalidTopicException,
            ResourceError::OtherBroker(_) | ResourceError::Kind(_) => Self::InvalidRequest,
            ResourceError::Silent(_) => Self::RequestTimedOut,
            ResourceError::Tree(error) => of_tree(error),
        }
    }
}

impl From<&AlterError> for ErrorCode {
    fn from(error: &AlterError) -> Self {
        match error {
            AlterError::Resource(error) => Self::from(error),
            AlterError::Config(ConfigError::ReadOnly { .. })
            | AlterError::NoValue { .. }
            | AlterError::Twice { .. }
            | AlterError::Repeated
            | AlterError::Operation { .. } => Self::InvalidRequest,
            AlterError::Config(
                ConfigError::Unknown { .. }
                | ConfigError::Invalid { .. }
                | ConfigError::NotServed { .. }
                | ConfigError::Conflict { .. }
                | ConfigError::Syntax { .. },
            )
            | AlterError::NoList { .. } => Self::InvalidConfig,
            AlterError::Silent(_) => Self::RequestTimedOut,
            AlterError::Tree(error) => of_tree(error),
        }
    }
}

fn of_tree(error: &TreeError) -> ErrorCode {
    match error {
        // Somebody else changed the same node, or the tree was away for a moment: the client may try again.
        TreeError::Store(
            StoreError::BadVersion { .. } | StoreError::ConnectionLoss | StoreError::SessionExpired,
        ) => ErrorCode::RequestTimedOut,
        TreeError::Store(StoreError::TooLarge { .. }) => ErrorCode::InvalidRequest,
        // Nothing was done, and clients try again: what Kafka answers where its own disk fails.
        TreeError::Store(StoreError::Full) => ErrorCode::KafkaStorageError,
        TreeError::Store(
            StoreError::NoNode { .. }
            | StoreError::NodeExists { .. }
            | StoreError::NotEmpty { .. }
            | StoreError::NoChildrenForEphemerals { .. }
            | StoreError::BadPath { .. }
            | StoreError::NoPermission { .. }
            | StoreError::QuotaExceeded { .. }
            | StoreError::Unsupported
            | StoreError::Unwritable,
        )
        | TreeError::Node(_) => ErrorCode::UnknownServerError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client is told which disk, by a code that it tries again after.
    #[test]
    fn a_full_disk_of_the_tree_is_no_unknown_error() {
        let error = AdminError::from(StoreError::Full);
        assert_eq!(ErrorCode::from(&error), ErrorCode::KafkaStorageError);
        assert_eq!(error.to_string(), "the disk of the coordination tree is full");
        let error = AlterError::Tree(StoreError::Full.into());
        assert_eq!(ErrorCode::from(&error), ErrorCode::KafkaStorageError);
        assert_eq!(error.to_string(), "the disk of the coordination tree is full");
    }
}
