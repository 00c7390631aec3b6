//! `/brokers/ids/N`: a live broker. Its creation transaction is the broker epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::NodeError;

/// A broker's registration, version 5; older ones are read too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// Finalizable features; a 3.9 controller accepts none.
    #[serde(default)]
    pub features: BTreeMap<String, BTreeMap<String, i16>>,
    /// Listener name to security protocol.
    #[serde(default)]
    pub listener_security_protocol_map: BTreeMap<String, String>,
    /// `LISTENER://host:port`, one a listener.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Where the broker runs, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// -1: there is no JMX.
    #[serde(default = "none")]
    pub jmx_port: i32,
    /// The port of the first PLAINTEXT endpoint, for clients of 0.8; -1 for none.
    #[serde(default = "none")]
    pub port: i32,
    /// The host of the first PLAINTEXT endpoint, for clients of 0.8.
    pub host: Option<String>,
    /// Version of this JSON.
    pub version: i32,
    /// When the broker started: wall milliseconds, as a string.
    #[serde(default)]
    pub timestamp: Option<String>,
}

const fn none() -> i32 {
    -1
}

impl Broker {
    /// Reads a registration.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "broker registration", data)
    }

    /// Writes a registration.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a live 3.9.2 wrote is read, and written again to the letter.
    #[test]
    fn a_live_registration_round_trips() {
        let live = r#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://127.0.0.1:29092"],"jmx_port":-1,"port":29092,"host":"127.0.0.1","version":5,"timestamp":"1795226355722"}"#;
        let broker = Broker::decode("/brokers/ids/0", live.as_bytes()).unwrap();
        assert_eq!(broker.endpoints, ["PLAINTEXT://127.0.0.1:29092"]);
        assert_eq!(String::from_utf8(broker.encode()).unwrap(), live);
    }
}
