//! `/ottla/cordoned`: brokers that get no new replicas. Ours, not Kafka's.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::NodeError;

/// Brokers that keep what they hold and get nothing more, because they are to be emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    version: i32,
    /// Their ids.
    pub brokers: BTreeSet<i32>,
}

impl Cordon {
    /// Names the brokers.
    pub fn new(brokers: BTreeSet<i32>) -> Self {
        Self { version: 1, brokers }
    }

    /// Reads the node.
    ///
    /// # Errors
    /// When it is no JSON of one.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "cordoned brokers", data)
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
    fn a_cordon_round_trips() {
        let text = r#"{"version":1,"brokers":[2,3]}"#;
        let cordon = Cordon::decode("/ottla/cordoned", text.as_bytes()).unwrap();
        assert_eq!(cordon, Cordon::new(BTreeSet::from([3, 2])));
        assert_eq!(cordon.encode(), text.as_bytes());
    }
}
