//! Errors of the domain as Kafka's codes: the one place where the two meet.
//!
//! Exhaustive, so that a new error has to choose. The client gets the code, the log gets the chain.

use broker_protocol::error_code::ErrorCode;
use broker_storage::log::AppendError as LogAppendError;
use broker_storage::log::ReadError as LogReadError;
use broker_storage::producer_state::ProducerError;

use crate::replica::partition::AppendError;
use crate::replica::partition::admin::AdminError;
use crate::replica::partition::read::ReadError;
use crate::replica::partition_state::StateError;
use crate::replica::validate::InvalidRecords;

impl From<&StateError> for ErrorCode {
    fn from(error: &StateError) -> Self {
        match error {
            // A deleted partition is on its way out of the metadata, too.
            StateError::NotLeader | StateError::Deleted => Self::NotLeaderOrFollower,
            StateError::Offline => Self::KafkaStorageError,
            StateError::FencedLeaderEpoch { .. } => Self::FencedLeaderEpoch,
            StateError::UnknownLeaderEpoch { .. } => Self::UnknownLeaderEpoch,
            StateError::NotEnoughReplicas { .. } => Self::NotEnoughReplicas,
        }
    }
}

impl From<&AppendError> for ErrorCode {
    fn from(error: &AppendError) -> Self {
        match error {
            AppendError::State(error) => Self::from(error),
            AppendError::Log(LogAppendError::Empty) => Self::InvalidRecord,
            AppendError::Log(LogAppendError::TooLarge { .. }) => Self::RecordListTooLarge,
            AppendError::Log(LogAppendError::Producer(error)) => producer(error),
            AppendError::Log(LogAppendError::Corrupt { .. }) => Self::CorruptMessage,
            AppendError::Log(
                LogAppendError::OutOfOrder { .. }
                | LogAppendError::WrongEpoch { .. }
                | LogAppendError::OffsetOverflow,
            ) => Self::UnknownServerError,
            AppendError::Log(LogAppendError::Log(_)) => Self::KafkaStorageError,
        }
    }
}

fn producer(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
        ProducerError::TransactionCoordinatorFenced { .. } => {
            ErrorCode::TransactionCoordinatorFenced
        }
    }
}

impl From<&ReadError> for ErrorCode {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::State(error) => Self::from(error),
            ReadError::UnknownPartition => Self::UnknownTopicOrPartition,
            ReadError::UnknownTopicId => Self::UnknownTopicId,
            ReadError::NotABroker => Self::ClusterAuthorizationFailed,
            ReadError::OffsetOutOfRange { .. }
            | ReadError::Log(LogReadError::OutOfRange { .. }) => Self::OffsetOutOfRange,
            ReadError::Log(LogReadError::Log(_)) => Self::KafkaStorageError,
        }
    }
}

impl From<&AdminError> for ErrorCode {
    fn from(error: &AdminError) -> Self {
        match error {
            AdminError::State(error) => Self::from(error),
            AdminError::OffsetOutOfRange { .. } => Self::OffsetOutOfRange,
            AdminError::Policy => Self::PolicyViolation,
            AdminError::Log(_) | AdminError::Checkpoint(_) | AdminError::Sync(_) => {
                Self::KafkaStorageError
            }
        }
    }
}

impl From<&InvalidRecords> for ErrorCode {
    fn from(error: &InvalidRecords) -> Self {
        match error {
            InvalidRecords::Corrupt { .. } | InvalidRecords::Undecodable => Self::CorruptMessage,
            InvalidRecords::UnsupportedCompression { .. } => Self::UnsupportedCompressionType,
            InvalidRecords::TooLarge { .. } => Self::MessageTooLarge,
            InvalidRecords::Timestamp { .. } => Self::InvalidTimestamp,
            InvalidRecords::Transactional => Self::InvalidTxnState,
            InvalidRecords::Invalid(_) | InvalidRecords::NoKey { .. } => Self::InvalidRecord,
        }
    }
}
