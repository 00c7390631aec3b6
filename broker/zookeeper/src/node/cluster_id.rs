//! `/cluster/id`: which cluster this is.

use serde::{Deserialize, Serialize};

use super::NodeError;

/// The cluster's id; its version is a string, as Kafka writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterId {
    /// `"1"`.
    pub version: String,
    /// 22 characters of URL-safe base64.
    pub id: String,
}

impl ClusterId {
    /// Names a cluster.
    pub fn new(id: &str) -> Self {
        Self { version: "1".to_owned(), id: id.to_owned() }
    }

    /// Reads the node.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "cluster id", data)
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }
}
