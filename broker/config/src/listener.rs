//! Addresses in settings: `listeners`, `advertised.listeners`, `metrics.listener` and the like.

use std::{fmt, net::IpAddr};

use crate::value::{Value, items};

/// One address of a broker: `NAME://host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Listener {
    /// The listener's name, in upper case as Kafka keeps it.
    pub name: String,
    /// The host; empty stands for every interface. An IPv6 address has no brackets here.
    pub host: String,
    /// The port; 0 lets the kernel choose.
    pub port: u16,
}

impl Listener {
    /// Parses `NAME://host:port`, `NAME://:port` or `NAME://[ipv6]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, address) = text.trim().split_once("://")?;
        let (host, port) = host_and_port(address)?;
        let named = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        named.then_some(())?;
        Some(Self { name: name.to_ascii_uppercase(), host: host.to_owned(), port })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, host, port } = self;
        if host.contains(':') {
            write!(f, "{name}://[{host}]:{port}")
        } else {
            write!(f, "{name}://{host}:{port}")
        }
    }
}

/// Splits `address:count`; an IPv6 address may stand in brackets.
pub(crate) fn address_count(text: &str) -> Option<(IpAddr, i32)> {
    let (host, count) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let count: i32 = count.trim().parse().ok()?;
    (count >= 0).then_some((host.parse().ok()?, count))
}

/// Splits `host:port`; an IPv6 address stands in brackets.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port.parse().ok()?))
}

impl Value for Vec<Listener> {
    fn parse(text: Option<&str>) -> Option<Self> {
        items(text?).map(Listener::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_write_back() {
        let cases = [
            ("PLAINTEXT://127.0.0.1:9092", Some("PLAINTEXT://127.0.0.1:9092")),
            ("plaintext://:9092", Some("PLAINTEXT://:9092")),
            ("IN-1://[::1]:0", Some("IN-1://[::1]:0")),
            ("PLAINTEXT://::1:9092", None),
            ("PLAINTEXT://host:70000", None),
            ("PLAINTEXT:host:1", None),
            ("://host:1", None),
        ];
        for (text, expected) in cases {
            let read = Listener::parse(text).map(|listener| listener.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
