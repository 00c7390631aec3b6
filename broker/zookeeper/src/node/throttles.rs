//! `/ottla/throttles`: settings that slow moves down and were set for their sake. Ours, not Kafka's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::NodeError;

/// Of one entity: keys, and the values that each was given; more than one where a rate was changed.
pub type Set = BTreeMap<String, BTreeSet<String>>;

/// What is to be taken away once nothing moves: what a person has set is not in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttles {
    version: i32,
    /// By the path below `/config`, such as `topics/t`.
    pub settings: BTreeMap<String, Set>,
}

impl Throttles {
    /// Names the settings.
    pub fn new(settings: BTreeMap<String, Set>) -> Self {
        Self { version: 1, settings }
    }

    /// Reads the node.
    ///
    /// # Errors
    /// When it is no JSON of one.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "throttles", data)
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
    fn throttles_round_trip() {
        let text =
            r#"{"version":1,"settings":{"brokers/1":{"leader.replication.throttled.rate":["5"]}}}"#;
        let throttles = Throttles::decode("/ottla/throttles", text.as_bytes()).unwrap();
        let rate = [("leader.replication.throttled.rate".to_owned(), ["5".to_owned()].into())];
        let settings = [("brokers/1".to_owned(), rate.into())];
        assert_eq!(throttles, Throttles::new(settings.into()));
        assert_eq!(throttles.encode(), text.as_bytes());
    }
}
