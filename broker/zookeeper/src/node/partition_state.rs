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
    ///
    /// # Errors
    /// When it is no JSON of a state, or contradicts itself, so that nobody may decide by it.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        let what = "partition state";
        let state: Self = super::decode(path, what, data)?;
        match state.contradiction() {
            Some(words) => Err(NodeError::new(path, what, words)),
            None => Ok(state),
        }
    }

    fn contradiction(&self) -> Option<&'static str> {
        let Self { leader, leader_epoch, isr, .. } = self;
        if isr.is_empty() {
            Some("the ISR names nobody")
        } else if !super::are_distinct(isr) {
            Some("the ISR names a broker twice")
        } else if *leader >= 0 && !isr.contains(leader) {
            Some("the leader is not in the ISR")
        } else if !(0..i32::MAX).contains(leader_epoch) {
            Some("the leader epoch is below 0, or has none after it")
        } else {
            None
        }
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

    #[test]
    fn a_state_that_contradicts_itself_is_refused() {
        let sound = PartitionState {
            controller_epoch: 1,
            leader: 1,
            version: 1,
            leader_epoch: 0,
            isr: vec![2, 1],
            leader_recovery_state: 0,
        };
        let refused = |state: PartitionState| {
            let refused = PartitionState::decode("/s", &state.encode()).err();
            refused.map(|error| error.source.to_string())
        };
        assert_eq!(refused(sound.clone()), None);
        assert_eq!(refused(PartitionState { leader: -1, ..sound.clone() }), None);
        let rows = [
            (PartitionState { isr: vec![], leader: -1, ..sound.clone() }, "names nobody"),
            (PartitionState { isr: vec![1, 2, 1], ..sound.clone() }, "twice"),
            (PartitionState { leader: 3, ..sound.clone() }, "not in the ISR"),
            (PartitionState { leader_epoch: -1, ..sound.clone() }, "below 0"),
            (PartitionState { leader_epoch: i32::MAX, ..sound }, "none after it"),
        ];
        for (state, words) in rows {
            let said = refused(state).unwrap();
            assert!(said.contains(words), "{said}");
        }
    }
}
