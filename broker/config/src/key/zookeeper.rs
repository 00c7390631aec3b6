//! The connection to ZooKeeper.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Status};

const INF: Status =
    Status::NoEffect("requests to ZooKeeper wait for each other only where they must");
const JVM: Status = Status::NoEffect("there is one kind of connection to ZooKeeper");
const OPEN: Status =
    Status::NotServedYet("whoever reaches ZooKeeper may change its nodes: leave the key out");
const TLS: Status = Status::NotServedYet("ZooKeeper is reached without TLS: leave the key out");
const TLN: Status = Status::NoEffect("ZooKeeper is reached without TLS");

pub(super) const KEYS: &[Key] = &[
    Key::new("zookeeper.clientCnxnSocket", Kind::String, "Java class of the ZooKeeper connection.")
        .status(JVM),
    Key::new(
        "zookeeper.connect",
        Kind::String,
        "Addresses of the ZooKeeper ensemble, with a path; without it the broker is alone.",
    ),
    Key::new("zookeeper.connection.timeout.ms", Kind::Int, "Longest wait for ZooKeeper at start."),
    Key::new(
        "zookeeper.max.in.flight.requests",
        Kind::Int,
        "Requests to ZooKeeper without an answer.",
    )
    .default("10")
    .limit(Limit::AtLeast(1))
    .status(INF),
    Key::new(
        "zookeeper.session.timeout.ms",
        Kind::Int,
        "Silence after which ZooKeeper drops the broker.",
    )
    .default("18000"),
    Key::new("zookeeper.set.acl", Kind::Boolean, "Protects znodes with access lists.")
        .default("false")
        .status(OPEN),
    Key::new("zookeeper.ssl.cipher.suites", Kind::List, "Cipher suites towards ZooKeeper.")
        .status(TLN),
    Key::new("zookeeper.ssl.client.enable", Kind::Boolean, "TLS towards ZooKeeper.")
        .default("false")
        .status(TLS),
    Key::new("zookeeper.ssl.crl.enable", Kind::Boolean, "Revocation lists towards ZooKeeper.")
        .default("false")
        .status(TLN),
    Key::new("zookeeper.ssl.enabled.protocols", Kind::List, "TLS versions towards ZooKeeper.")
        .status(TLN),
    Key::new(
        "zookeeper.ssl.endpoint.identification.algorithm",
        Kind::String,
        "How ZooKeeper's name is checked.",
    )
    .default("HTTPS")
    .status(TLN),
    Key::new(
        "zookeeper.ssl.keystore.location",
        Kind::String,
        "File of the key store towards ZooKeeper.",
    )
    .status(TLN),
    Key::new("zookeeper.ssl.keystore.password", Kind::Password, "Its password.").status(TLN),
    Key::new("zookeeper.ssl.keystore.type", Kind::String, "Its format.").status(TLN),
    Key::new(
        "zookeeper.ssl.ocsp.enable",
        Kind::Boolean,
        "Online revocation checks towards ZooKeeper.",
    )
    .default("false")
    .status(TLN),
    Key::new("zookeeper.ssl.protocol", Kind::String, "TLS version towards ZooKeeper.")
        .default("TLSv1.2")
        .status(TLN),
    Key::new(
        "zookeeper.ssl.truststore.location",
        Kind::String,
        "File of the trust store towards ZooKeeper.",
    )
    .status(TLN),
    Key::new("zookeeper.ssl.truststore.password", Kind::Password, "Its password.").status(TLN),
    Key::new("zookeeper.ssl.truststore.type", Kind::String, "Its format.").status(TLN),
];
