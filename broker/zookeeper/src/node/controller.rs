//! `/controller`: the broker that decides.

use serde::{Deserialize, Serialize};

use super::NodeError;

/// The active controller, version 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Version of this JSON.
    pub version: i32,
    /// The broker's id.
    pub brokerid: i32,
    /// When it won: wall milliseconds, as a string.
    pub timestamp: String,
    /// -1: the cluster is in ZooKeeper mode.
    #[serde(rename = "kraftControllerEpoch", default = "none")]
    pub kraft_controller_epoch: i32,
}

const fn none() -> i32 {
    -1
}

impl Controller {
    /// Names the winner of an election at wall time `now_ms`.
    pub fn new(brokerid: i32, now_ms: i64) -> Self {
        Self { version: 2, brokerid, timestamp: now_ms.to_string(), kraft_controller_epoch: none() }
    }

    /// Reads the node.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "controller", data)
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }
}
