//! Partitions by name, as several nodes list them.

use serde::{Deserialize, Serialize};

use super::NodeError;

/// One partition of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionName {
    /// The topic.
    pub topic: String,
    /// The partition of it.
    pub partition: i32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct List<P> {
    version: i32,
    partitions: Vec<P>,
}

impl<P> List<P> {
    pub(super) fn new(partitions: Vec<P>) -> Self {
        Self { version: 1, partitions }
    }

    pub(super) fn into_partitions(self) -> Vec<P> {
        self.partitions
    }
}

/// Reads a node that is a list of partitions and nothing else.
pub(super) fn decode(
    path: &str,
    what: &'static str,
    data: &[u8],
) -> Result<Vec<PartitionName>, NodeError> {
    Ok(super::decode::<List<PartitionName>>(path, what, data)?.into_partitions())
}

/// Writes a node that is a list of partitions and nothing else.
pub(super) fn encode(partitions: &[PartitionName]) -> Vec<u8> {
    super::encode(&List::new(partitions.iter().collect::<Vec<_>>()))
}
