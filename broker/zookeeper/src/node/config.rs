//! `/config/<kind>/<entity>`: dynamic configuration; `/config/changes/*`: who should read it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::NodeError;

/// An entity's configuration: every value is a string.
///
/// Kafka reads the values alone, and writes a node without an author: then nobody knows who it was.
/// Source: Kafka 3.9 `ConfigEntityZNode`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// 1.
    pub version: i32,
    /// Key to value.
    pub config: BTreeMap<String, String>,
    /// Who wrote it, in words; ours, not Kafka's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

impl Config {
    /// Wraps settings.
    pub fn new(config: BTreeMap<String, String>) -> Self {
        Self { version: 1, config, author: None }
    }

    /// Says who writes it, if that is known.
    #[must_use]
    pub fn by(self, author: Option<String>) -> Self {
        Self { author, ..self }
    }

    /// Reads the node.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "configuration", data)
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }
}

/// Whose configuration changed, as a path below `/config`: `topics/t`, `brokers/0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// The path below `/config`.
    pub entity_path: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Notification {
    V2 {
        version: i32,
        entity_path: String,
    },
    V1 {
        version: i32,
        entity_type: String,
        entity_name: String,
    },
    /// 0.8.1 wrote the topic's name alone.
    V0(String),
}

impl ConfigChange {
    /// Reads a notification of any version.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        let entity_path = match super::decode(path, "configuration change", data)? {
            Notification::V2 { entity_path, .. } => entity_path,
            Notification::V1 { entity_type, entity_name, .. } => {
                format!("{entity_type}/{entity_name}")
            }
            Notification::V0(topic) => format!("topics/{topic}"),
        };
        Ok(Self { entity_path })
    }

    /// Writes a notification of version 2.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(&Notification::V2 { version: 2, entity_path: self.entity_path.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notifications of 0.8.1, 0.9 and 3.9 name the same topic.
    #[test]
    fn every_notification_names_its_entity() {
        let cases = [
            r#""t1""#,
            r#"{"version":1,"entity_type":"topics","entity_name":"t1"}"#,
            r#"{"version":2,"entity_path":"topics/t1"}"#,
        ];
        for data in cases {
            let change = ConfigChange::decode("/config/changes/x", data.as_bytes()).unwrap();
            assert_eq!(change.entity_path, "topics/t1", "{data}");
        }
        let change = ConfigChange { entity_path: "topics/t1".to_owned() };
        assert_eq!(change.encode(), cases[2].as_bytes());
    }

    /// What a live 3.9.2 wrote round-trips to the letter.
    #[test]
    fn a_live_configuration_round_trips() {
        let live = r#"{"version":1,"config":{"retention.ms":"3600000"}}"#;
        let config = Config::decode("/config/topics/t2", live.as_bytes()).unwrap();
        assert_eq!(config.encode(), live.as_bytes());
        assert_eq!(config.author, None);
    }

    /// The form is the one that the README names.
    #[test]
    fn an_author_stands_beside_the_settings() {
        let text = r#"{"version":1,"config":{"retention.ms":"1"},"author":"ottla-operator-0"}"#;
        let config = Config::decode("/config/topics/t", text.as_bytes()).unwrap();
        assert_eq!(config.author.as_deref(), Some("ottla-operator-0"));
        assert_eq!(config.encode(), text.as_bytes());
    }
}
