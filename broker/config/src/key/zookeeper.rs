//! The connection to ZooKeeper.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Status};

const ZKN: Status = Status::NoEffect("there is no ZooKeeper session yet");
const ZK_Y: Status = Status::NotServedYet("ZooKeeper is not reached yet: leave the key out");

pub(super) const KEYS: &[Key] = &[
    Key::new("zookeeper.clientCnxnSocket", Kind::String, "Java class of the ZooKeeper connection.")
        .status(ZKN),
    Key::new(
        "zookeeper.connect",
        Kind::String,
        "Addresses of the ZooKeeper ensemble, with a path; without it the broker is alone.",
    ),
    Key::new("zookeeper.connection.timeout.ms", Kind::Int, "Longest wait for ZooKeeper at start.")
        .status(ZKN),
    Key::new(
        "zookeeper.max.in.flight.requests",
        Kind::Int,
        "Requests to ZooKeeper without an answer.",
    )
    .default("10")
    .limit(Limit::AtLeast(1))
    .status(ZKN),
    Key::new(
        "zookeeper.session.timeout.ms",
        Kind::Int,
        "Silence after which ZooKeeper drops the broker.",
    )
    .default("18000")
    .status(ZKN),
    Key::new("zookeeper.set.acl", Kind::Boolean, "Protects znodes with access lists.")
        .default("false")
        .status(ZK_Y),
    Key::new("zookeeper.ssl.cipher.suites", Kind::List, "Cipher suites towards ZooKeeper.")
        .status(ZKN),
    Key::new("zookeeper.ssl.client.enable", Kind::Boolean, "TLS towards ZooKeeper.")
        .default("false")
        .status(ZK_Y),
    Key::new("zookeeper.ssl.crl.enable", Kind::Boolean, "Revocation lists towards ZooKeeper.")
        .default("false")
        .status(ZKN),
    Key::new("zookeeper.ssl.enabled.protocols", Kind::List, "TLS versions towards ZooKeeper.")
        .status(ZKN),
    Key::new(
        "zookeeper.ssl.endpoint.identification.algorithm",
        Kind::String,
        "How ZooKeeper's name is checked.",
    )
    .default("HTTPS")
    .status(ZKN),
    Key::new(
        "zookeeper.ssl.keystore.location",
        Kind::String,
        "File of the key store towards ZooKeeper.",
    )
    .status(ZKN),
    Key::new("zookeeper.ssl.keystore.password", Kind::Password, "Its password.").status(ZKN),
    Key::new("zookeeper.ssl.keystore.type", Kind::String, "Its format.").status(ZKN),
    Key::new(
        "zookeeper.ssl.ocsp.enable",
        Kind::Boolean,
        "Online revocation checks towards ZooKeeper.",
    )
    .default("false")
    .status(ZKN),
    Key::new("zookeeper.ssl.protocol", Kind::String, "TLS version towards ZooKeeper.")
        .default("TLSv1.2")
        .status(ZKN),
    Key::new(
        "zookeeper.ssl.truststore.location",
        Kind::String,
        "File of the trust store towards ZooKeeper.",
    )
    .status(ZKN),
    Key::new("zookeeper.ssl.truststore.password", Kind::Password, "Its password.").status(ZKN),
    Key::new("zookeeper.ssl.truststore.type", Kind::String, "Its format.").status(ZKN),
];
