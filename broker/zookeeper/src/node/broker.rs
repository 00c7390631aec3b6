//! `/brokers/ids/N`: a live broker. Its creation transaction is the broker epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::NodeError;

/// What a broker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Version of the JSON: 5 from `inter.broker.protocol.version` 2.7 on, 4 from 0.10.0, else 2.
    pub version: i32,
    /// Where it listens, in its own order.
    pub endpoints: Vec<Endpoint>,
    /// Where it runs, if it says; not told before version 3.
    pub rack: Option<String>,
    /// The features it can serve; not told before version 5. A Kafka 3.9 controller leaves out a
    /// broker that does not cover each finalized one.
    pub features: BTreeMap<String, Supported>,
    /// When it registered, in wall milliseconds; 0 where it does not say.
    pub timestamp_ms: i64,
}

/// One address of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub security_protocol: String,
    /// A name or an address, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The levels of a feature that a broker can serve, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supported {
    /// The lowest.
    pub min_version: i16,
    /// The highest.
    pub max_version: i16,
}

/// The protocol that clients of 0.8 speak, which know only the host and the port at the top.
const PLAINTEXT: &str = "PLAINTEXT";

const WHAT: &str = "broker registration";

#[derive(Serialize, Deserialize)]
struct Json {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    features: Option<BTreeMap<String, Supported>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener_security_protocol_map: Option<BTreeMap<String, String>>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rack: Option<String>,
    /// -1: there is no JMX.
    #[serde(default = "none")]
    jmx_port: i32,
    /// Of the first plain endpoint; -1 for none.
    #[serde(default = "none")]
    port: i32,
    #[serde(default)]
    host: Option<String>,
    version: i32,
    #[serde(default)]
    timestamp: Option<String>,
}

const fn none() -> i32 {
    -1
}

impl Broker {
    /// Reads a registration of any version.
    ///
    /// # Errors
    /// When it is no JSON of a broker, or an endpoint is none.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        let json: Json = super::decode(path, WHAT, data)?;
        let protocols = json.listener_security_protocol_map.unwrap_or_default();
        let endpoints = if json.version == 1 {
            let host = json.host.unwrap_or_default();
            let name = PLAINTEXT.to_owned();
            let port = u16::try_from(json.port);
            let port = port.map_err(|error| NodeError::new(path, WHAT, error))?;
            vec![Endpoint { listener: name.clone(), security_protocol: name, host, port }]
        } else {
            let read = |text: &String| {
                Endpoint::parse(text, &protocols)
                    .ok_or_else(|| NodeError::new(path, WHAT, format!("{text:?} is no endpoint")))
            };
            json.endpoints.iter().map(read).collect::<Result<_, _>>()?
        };
        Ok(Self {
            version: json.version,
            endpoints,
            rack: json.rack,
            features: json.features.unwrap_or_default(),
            timestamp_ms: json.timestamp.and_then(|ms| ms.parse().ok()).unwrap_or_default(),
        })
    }

    /// Writes a registration in its version.
    pub fn encode(&self) -> Vec<u8> {
        let plain = self.endpoints.iter().find(|one| one.security_protocol == PLAINTEXT);
        let protocols = self.endpoints.iter();
        let protocols = protocols.map(|one| (one.listener.clone(), one.security_protocol.clone()));
        super::encode(&Json {
            features: (self.version >= 5).then(|| self.features.clone()),
            listener_security_protocol_map: (self.version >= 4).then(|| protocols.collect()),
            endpoints: self.endpoints.iter().map(Endpoint::text).collect(),
            rack: self.rack.clone().filter(|_| self.version >= 3),
            jmx_port: none(),
            port: plain.map_or(none(), |one| i32::from(one.port)),
            host: plain.map(|one| one.host.clone()),
            version: self.version,
            timestamp: Some(self.timestamp_ms.to_string()),
        })
    }
}

impl Endpoint {
    /// `NAME://host:port`; before version 4 a listener is named after its protocol.
    fn parse(text: &str, protocols: &BTreeMap<String, String>) -> Option<Self> {
        let (listener, address) = text.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Some(Self {
            listener: listener.to_owned(),
            security_protocol: protocols.get(listener).map_or(listener, String::as_str).to_owned(),
            host: bracketed.unwrap_or(host).to_owned(),
            port: port.parse().ok()?,
        })
    }

    fn text(&self) -> String {
        let Self { listener, host, port, .. } = self;
        if host.contains(':') {
            format!("{listener}://[{host}]:{port}")
        } else {
            format!("{listener}://{host}:{port}")
        }
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
        assert_eq!(broker.endpoints, [endpoint("PLAINTEXT", "PLAINTEXT", "127.0.0.1", 29092)]);
        assert_eq!(String::from_utf8(broker.encode()).unwrap(), live);
    }

    fn endpoint(listener: &str, security_protocol: &str, host: &str, port: u16) -> Endpoint {
        let (listener, security_protocol) = (listener.to_owned(), security_protocol.to_owned());
        Endpoint { listener, security_protocol, host: host.to_owned(), port }
    }

    /// Clients of 0.8 are told the first plain endpoint, wherever it stands and whatever its name.
    #[test]
    fn the_host_at_the_top_is_that_of_the_first_plain_endpoint() {
        let plain = endpoint("CLIENT", "PLAINTEXT", "::1", 9092);
        let secure = endpoint("INTERNAL", "SSL", "b", 9093);
        let cases = [
            (vec![secure.clone(), plain.clone()], r#""port":9092,"host":"::1""#),
            (vec![secure], r#""port":-1,"host":null"#),
        ];
        for (endpoints, top) in cases {
            let rack = Some("r".to_owned());
            let features = BTreeMap::from([(
                "metadata.version".to_owned(),
                Supported { min_version: 1, max_version: 21 },
            )]);
            let broker = Broker { version: 5, endpoints, rack, features, timestamp_ms: 7 };
            let text = String::from_utf8(broker.encode()).unwrap();
            assert!(text.contains(top), "{text}");
            assert_eq!(Broker::decode("/b", text.as_bytes()).unwrap(), broker);
        }
    }

    /// Older versions say less, and are read as what they mean.
    #[test]
    fn older_registrations_are_read_and_written() {
        let v1 = r#"{"jmx_port":-1,"timestamp":"9","host":"h","version":1,"port":9092}"#;
        let v2 = r#"{"jmx_port":-1,"timestamp":"9","endpoints":["PLAINTEXT://h:9092"],"host":"h","version":2,"port":9092}"#;
        for (text, version) in [(v1, 1), (v2, 2)] {
            let broker = Broker::decode("/b", text.as_bytes()).unwrap();
            assert_eq!(broker.endpoints, [endpoint("PLAINTEXT", "PLAINTEXT", "h", 9092)]);
            assert_eq!((broker.version, broker.timestamp_ms), (version, 9));
        }
        let broker = Broker::decode("/b", v2.as_bytes()).unwrap();
        let written = String::from_utf8(broker.encode()).unwrap();
        assert_eq!(Broker::decode("/b", written.as_bytes()).unwrap(), broker);
        for key in ["features", "listener_security_protocol_map", "rack"] {
            assert!(!written.contains(key), "{written}");
        }
        assert!(Broker::decode("/b", br#"{"version":5,"endpoints":["x"]}"#).is_err());
    }
}
