//! `/admin/reassign_partitions`: replicas that a tool of Kafka 2.8 or older wants elsewhere. The
//! controller takes out what is done, and deletes the node when nothing is left.

use serde::{Deserialize, Serialize};

use super::NodeError;
use super::partition_list::List;

/// Where a partition's replicas shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassigned {
    /// The topic.
    pub topic: String,
    /// The partition of it.
    pub partition: i32,
    /// The replicas at the end, the preferred leader first.
    pub replicas: Vec<i32>,
}

/// Reads the node.
///
/// # Errors
/// When it is no JSON of a reassignment.
pub fn decode(path: &str, data: &[u8]) -> Result<Vec<Reassigned>, NodeError> {
    Ok(super::decode::<List<Reassigned>>(path, "reassignment", data)?.into_partitions())
}

/// Writes the node.
pub fn encode(partitions: &[Reassigned]) -> Vec<u8> {
    super::encode(&List::new(partitions.iter().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a tool of 2.8 writes round-trips to the letter.
    #[test]
    fn a_reassignment_of_a_tool_round_trips() {
        let tool = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2]}]}"#;
        let read = decode("/admin/reassign_partitions", tool.as_bytes()).unwrap();
        let expected = Reassigned { topic: "t".to_owned(), partition: 0, replicas: vec![1, 2] };
        assert_eq!(read, [expected]);
        assert_eq!(encode(&read), tool.as_bytes());
    }
}
