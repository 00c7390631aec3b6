//! `/ottla/standing/N`: replicas of broker N that cannot prove that they are complete. Ours, not
//! Kafka's; without the node the broker has none.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::NodeError;

/// The replicas that must not lead on their membership in the ISR alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    version: i32,
    /// Topic to partitions.
    pub unproven: BTreeMap<String, BTreeSet<i32>>,
}

impl Standing {
    /// Names the replicas that are unproven.
    pub fn new(unproven: BTreeMap<String, BTreeSet<i32>>) -> Self {
        Self { version: 1, unproven }
    }

    /// Reads the node.
    ///
    /// # Errors
    /// When it is no JSON of one.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "standing", data)
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form is the one that the README names.
    #[test]
    fn a_standing_round_trips() {
        let text = r#"{"version":1,"unproven":{"t":[0,1]}}"#;
        let standing = Standing::decode("/ottla/standing/1", text.as_bytes()).unwrap();
        let unproven = BTreeMap::from([("t".to_owned(), BTreeSet::from([0, 1]))]);
        assert_eq!(standing, Standing::new(unproven));
        assert_eq!(standing.encode(), text.as_bytes());
    }
}
