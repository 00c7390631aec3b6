//! `/ottla/standing/N`: replicas of broker N that cannot prove that they are complete. Ours, not
//! Kafka's; without the node the broker has none.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::NodeError;

/// The replicas that must not lead on their membership in the ISR alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    version: i32,
    /// The session of the registration that this is about; none in a node of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<i64>,
    /// Topic to partitions.
    pub unproven: BTreeMap<String, BTreeSet<i32>>,
}

impl Standing {
    /// Names the replicas that are unproven of the broker that `session` has registered.
    pub fn new(session: i64, unproven: BTreeMap<String, BTreeSet<i32>>) -> Self {
        Self { version: 1, session: Some(session), unproven }
    }

    /// Whether this is about the registration of `session`. Whoever took the id over may be a broker of Kafka,
    /// which leaves the node as it was.
    pub fn is_of(&self, session: i64) -> bool {
        self.session.is_none_or(|own| own == session)
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
        let text = r#"{"version":1,"session":-7,"unproven":{"t":[0,1]}}"#;
        let standing = Standing::decode("/ottla/standing/1", text.as_bytes()).unwrap();
        let unproven = BTreeMap::from([("t".to_owned(), BTreeSet::from([0, 1]))]);
        assert_eq!(standing, Standing::new(-7, unproven));
        assert_eq!(standing.encode(), text.as_bytes());
        assert!(standing.is_of(-7) && !standing.is_of(7));
    }

    /// Who wrote before sessions were named is believed.
    #[test]
    fn a_standing_of_no_session_is_of_any() {
        let text = r#"{"version":1,"unproven":{}}"#;
        let standing = Standing::decode("/ottla/standing/1", text.as_bytes()).unwrap();
        assert!(standing.is_of(7));
    }
}
