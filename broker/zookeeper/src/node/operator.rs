//! `/ottla/operator`: the newest operator that has changed something. Ours, not Kafka's.

use serde::{Deserialize, Serialize};

use super::NodeError;

/// Who may change things by the admin port: this one, and whoever has a higher term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    version: i32,
    /// The term of its lease.
    pub term: u64,
    /// Its identity, for people.
    pub holder: String,
}

impl Operator {
    /// Names the operator of a term.
    pub fn new(term: u64, holder: String) -> Self {
        Self { version: 1, term, holder }
    }

    /// Reads the node.
    ///
    /// # Errors
    /// When it is no JSON of one.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "operator", data)
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
    fn an_operator_round_trips() {
        let text = r#"{"version":1,"term":7,"holder":"ottla-operator-0"}"#;
        let operator = Operator::decode("/ottla/operator", text.as_bytes()).unwrap();
        assert_eq!(operator, Operator::new(7, "ottla-operator-0".to_owned()));
        assert_eq!(operator.encode(), text.as_bytes());
    }
}
