//! `/admin/preferred_replica_election`: partitions whose preferred replica shall lead, as tools of
//! Kafka 2.8 and older ask for it. The controller deletes the node at once.

use super::NodeError;
use super::partition_list::{self, PartitionName};

/// Reads the node.
///
/// # Errors
/// When it is no JSON of a list of partitions.
pub fn decode(path: &str, data: &[u8]) -> Result<Vec<PartitionName>, NodeError> {
    partition_list::decode(path, "preferred election", data)
}

/// Writes the node.
pub fn encode(partitions: &[PartitionName]) -> Vec<u8> {
    partition_list::encode(partitions)
}
