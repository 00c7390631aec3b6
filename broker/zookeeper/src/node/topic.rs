//! `/brokers/topics/T`: which brokers hold which partition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::NodeError;

/// A topic's assignment, version 3; versions 1 and 2 of older tools are read too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topic {
    /// Partition to replicas, the preferred leader first.
    pub partitions: BTreeMap<i32, Vec<i32>>,
    /// The topic's id in base64; absent where an old tool wrote the node.
    pub topic_id: Option<String>,
    /// Replicas that a reassignment adds, by partition.
    pub adding_replicas: BTreeMap<i32, Vec<i32>>,
    /// Replicas that a reassignment removes, by partition.
    pub removing_replicas: BTreeMap<i32, Vec<i32>>,
}

/// JSON's keys are strings.
type Assignment = BTreeMap<String, Vec<i32>>;

#[derive(Serialize, Deserialize)]
struct Json {
    partitions: Assignment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    #[serde(default)]
    adding_replicas: Assignment,
    #[serde(default)]
    removing_replicas: Assignment,
    version: i32,
}

impl Topic {
    /// Reads the node.
    ///
    /// # Errors
    /// When it is no JSON of a topic, a partition is no number, or its replicas cannot be: none, one named
    /// twice, or one added or removed that is none of them.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        let json: Json = super::decode(path, "topic", data)?;
        let numbered = |assignment: Assignment| {
            assignment
                .into_iter()
                .map(|(partition, replicas)| Ok((partition.parse()?, replicas)))
                .collect::<Result<_, std::num::ParseIntError>>()
                .map_err(|error| NodeError::new(path, "topic", error))
        };
        let topic = Self {
            partitions: numbered(json.partitions)?,
            topic_id: json.topic_id,
            adding_replicas: numbered(json.adding_replicas)?,
            removing_replicas: numbered(json.removing_replicas)?,
        };
        match topic.contradiction() {
            Some((partition, words)) => {
                Err(NodeError::new(path, "topic", format!("partition {partition} {words}")))
            }
            None => Ok(topic),
        }
    }

    /// The first partition whose replicas cannot be, and why.
    fn contradiction(&self) -> Option<(i32, &'static str)> {
        let cannot_be = self.partitions.iter().find_map(|(number, replicas)| {
            if replicas.is_empty() {
                Some((*number, "has no replica"))
            } else if !super::are_distinct(replicas) {
                Some((*number, "has a replica twice on one broker"))
            } else {
                None
            }
        });
        let mut moving = self.adding_replicas.iter().chain(&self.removing_replicas);
        let is_stray = |(number, ids): &(&i32, &Vec<i32>)| {
            let replicas = self.partitions.get(number).map_or(&[][..], Vec::as_slice);
            !super::are_distinct(ids) || ids.iter().any(|id| !replicas.contains(id))
        };
        cannot_be.or_else(|| {
            let (number, _) = moving.find(is_stray)?;
            Some((*number, "adds or removes what is no replica of it"))
        })
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        let named = |assignment: &BTreeMap<i32, Vec<i32>>| {
            assignment.iter().map(|(p, replicas)| (p.to_string(), replicas.clone())).collect()
        };
        super::encode(&Json {
            partitions: named(&self.partitions),
            topic_id: self.topic_id.clone(),
            adding_replicas: named(&self.adding_replicas),
            removing_replicas: named(&self.removing_replicas),
            version: 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a live 3.9.2 wrote round-trips; what tools of 0.8 wrote is read.
    #[test]
    fn live_and_old_nodes_are_read() {
        let live = r#"{"partitions":{"0":[0],"1":[0]},"topic_id":"ZHSDG_wCRHCEm3NkYObn-Q","adding_replicas":{},"removing_replicas":{},"version":3}"#;
        let topic = Topic::decode("/t", live.as_bytes()).unwrap();
        assert_eq!(topic.partitions, BTreeMap::from([(0, vec![0]), (1, vec![0])]));
        assert_eq!(String::from_utf8(topic.encode()).unwrap(), live);
        let old = Topic::decode("/t", br#"{"version":1,"partitions":{"0":[1,2]}}"#).unwrap();
        assert_eq!((old.partitions[&0].as_slice(), old.topic_id), ([1, 2].as_slice(), None));
        let moving = r#"{"version":2,"partitions":{"0":[3,1]},"adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]}}"#;
        let moving = Topic::decode("/t", moving.as_bytes()).unwrap();
        assert_eq!(moving.adding_replicas, BTreeMap::from([(0, vec![3])]));
        assert_eq!(moving.removing_replicas, BTreeMap::from([(0, vec![1])]));
    }

    #[test]
    fn replicas_that_cannot_be_are_refused() {
        let rows = [
            (r#"{"version":1,"partitions":{"0":[1],"1":[]}}"#, "partition 1 has no replica"),
            (r#"{"version":1,"partitions":{"0":[1,2,1]}}"#, "partition 0 has a replica twice"),
            (
                r#"{"version":2,"partitions":{"0":[1]},"adding_replicas":{"0":[2]}}"#,
                "adds or removes",
            ),
            (
                r#"{"version":2,"partitions":{"0":[1]},"removing_replicas":{"1":[1]}}"#,
                "partition 1 adds",
            ),
        ];
        for (data, words) in rows {
            let said = Topic::decode("/t", data.as_bytes()).unwrap_err().source.to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
