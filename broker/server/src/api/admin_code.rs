//! Errors of the administration of topics and settings as Kafka's codes.

use broker_config::error::ConfigError;
use broker_protocol::error_code::ErrorCode;
use broker_zookeeper::store::StoreError;

use super::alter_configs::AlterError;
use super::describe_configs::ResourceError;
use crate::controller::TreeError;
use crate::controller::admin::AdminError;

impl From<&AdminError> for ErrorCode {
    fn from(error: &AdminError) -> Self {
        match error {
            AdminError::Name(_) | AdminError::Collision { .. } => Self::InvalidTopicException,
            AdminError::Exists(_) => Self::TopicAlreadyExists,
            AdminError::Unknown(_) => Self::UnknownTopicOrPartition,
            AdminError::PartitionCount { .. } | AdminError::NotMore { .. } => {
                Self::InvalidPartitions
            }
            AdminError::ReplicationFactor { .. } | AdminError::Placement(_) => {
                Self::InvalidReplicationFactor
            }
            AdminError::Assignment(_) => Self::InvalidReplicaAssignment,
            AdminError::Both => Self::InvalidRequest,
            AdminError::Config(_) => Self::InvalidConfig,
            AdminError::DeletionDisabled => Self::TopicDeletionDisabled,
            AdminError::TimedOut(_) => Self::RequestTimedOut,
            AdminError::Tree(error) => Self::from(error),
        }
    }
}

impl From<&TreeError> for ErrorCode {
    fn from(error: &TreeError) -> Self {
        match error {
            // Somebody else changed the same node: the client may try again.
            TreeError::Store(StoreError::BadVersion { .. }) => Self::RequestTimedOut,
            TreeError::Store(
                StoreError::NoNode { .. }
                | StoreError::NodeExists { .. }
                | StoreError::NotEmpty { .. }
                | StoreError::NoChildrenForEphemerals { .. }
                | StoreError::BadPath { .. }
                | StoreError::SessionExpired
                | StoreError::ConnectionLoss
                | StoreError::Unwritable,
            )
            | TreeError::Node(_) => Self::UnknownServerError,
        }
    }
}

impl From<&ResourceError> for ErrorCode {
    fn from(error: &ResourceError) -> Self {
        match error {
            ResourceError::UnknownTopic(_) => Self::UnknownTopicOrPartition,
            ResourceError::TopicName(_) => Self::InvalidTopicException,
            ResourceError::OtherBroker(_) | ResourceError::Kind(_) => Self::InvalidRequest,
            ResourceError::Tree(error) => Self::from(error),
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
            | AlterError::Operation { .. } => Self::InvalidRequest,
            AlterError::Config(
                ConfigError::Unknown { .. }
                | ConfigError::Invalid { .. }
                | ConfigError::NotServed { .. }
                | ConfigError::Conflict { .. }
                | ConfigError::Syntax { .. },
            )
            | AlterError::NoList { .. } => Self::InvalidConfig,
            AlterError::Tree(error) => Self::from(error),
        }
    }
}
