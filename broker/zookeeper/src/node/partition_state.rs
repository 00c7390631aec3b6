//! `/brokers/topics/T/partitions/P/state`: who leads. Its version is the partition epoch.

use serde::{Deserialize, Serialize};

use super::NodeError;

/// The leader and the replicas in sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// The controller that decided.
    pub controller_epoch: i32,
    /// The leader, or -1.
    pub leader: i32,
    /// Version of this JSON.
    pub version: i32,
    /// How often leadership has changed.
    pub leader_epoch: i32,
    /// The replicas in sync.
    pub isr: Vec<i32>,
    /// 1 while the leader recovers from an unclean election.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub leader_recovery_state: i8,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &i8) -> bool {
    *number == 0
}

impl PartitionState {
    /// Reads the node.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "partition state", data)
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a live 3.9.2 wrote round-trips to the letter.
    #[test]
    fn a_live_state_round_trips() {
        let live = r#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":0,"isr":[0]}"#;
        let state = PartitionState::decode("/s", live.as_bytes()).unwrap();
        assert_eq!((state.leader, state.isr.as_slice()), (0, [0].as_slice()));
        assert_eq!(state.encode(), live.as_bytes());
    }
}
