//! `/feature`: the features that the cluster has settled on.
//!
//! A broker whose registration does not cover each of them is left out by a Kafka 3.9 controller.
//! Kafka's own reader refuses a level below 1; this one takes it, as a cluster may hold
//! `kraft.version` 0. Source: Kafka 3.9 `FeatureZNode`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::NodeError;

/// The finalized features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Whether the features count: they do from `inter.broker.protocol.version` 2.7 on.
    pub is_enabled: bool,
    /// Version of the JSON: 2 is written from `inter.broker.protocol.version` 3.3 on, else 1.
    pub version: i32,
    /// Name to finalized level.
    pub features: BTreeMap<String, i16>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    features: BTreeMap<String, Levels>,
    version: i32,
    status: i32,
}

#[derive(Serialize, Deserialize)]
struct Levels {
    max_version_level: i16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_version_level: Option<i16>,
}

impl Feature {
    /// No features, as a new cluster has them.
    pub fn none(version: i32) -> Self {
        Self { is_enabled: true, version, features: BTreeMap::new() }
    }

    /// Reads the node.
    ///
    /// # Errors
    /// When it is no JSON of features, or of a version or status that nobody knows.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        const WHAT: &str = "features";
        let json: Json = super::decode(path, WHAT, data)?;
        if !(1..=2).contains(&json.version) || !(0..=1).contains(&json.status) {
            let words = format!("version {}, status {}", json.version, json.status);
            return Err(NodeError::new(path, WHAT, words));
        }
        let features = json.features.into_iter();
        Ok(Self {
            is_enabled: json.status == 1,
            version: json.version,
            features: features.map(|(name, levels)| (name, levels.max_version_level)).collect(),
        })
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        let levels = |level: i16| Levels {
            max_version_level: level,
            min_version_level: (self.version == 1).then_some(level),
        };
        let features = self.features.iter();
        super::encode(&Json {
            features: features.map(|(name, level)| (name.clone(), levels(*level))).collect(),
            version: self.version,
            status: i32::from(self.is_enabled),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a live 3.9.2 wrote round-trips to the letter, and so do features of either version.
    #[test]
    fn live_features_round_trip() {
        let live = r#"{"features":{},"version":2,"status":1}"#;
        assert_eq!(Feature::decode("/f", live.as_bytes()).unwrap(), Feature::none(2));
        let cases = [
            live,
            r#"{"features":{"metadata.version":{"max_version_level":21}},"version":2,"status":1}"#,
            r#"{"features":{"f":{"max_version_level":3,"min_version_level":3}},"version":1,"status":0}"#,
        ];
        for case in cases {
            let feature = Feature::decode("/f", case.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(feature.encode()).unwrap(), case);
        }
        let unknown = r#"{"features":{},"version":3,"status":1}"#;
        assert!(Feature::decode("/f", unknown.as_bytes()).is_err());
    }
}
