//! Keys that Kafka does not have. Each is named here and nowhere else.

use super::{Key, Kind, Limit, Scope, Status};

const DURABILITY: &[&str] = &["synced", "replicated"];

pub(super) const BROKER: &[Key] = &[
    Key::new(
        "admin.instance",
        Kind::String,
        "What the admin port calls this process: in Kubernetes the UID of its pod.",
    )
    .default(""),
    Key::new(
        "admin.listener",
        Kind::String,
        "host:port for the operator, which has every right there; empty switches it off.",
    )
    // Nobody logs in there, so nobody is let in who did not ask for it.
    .default("")
    .limit(Limit::Address),
    Key::new(
        "connections.first.request.timeout.ms",
        Kind::Long,
        "A new connection that sends no whole request for this long is closed.",
    )
    // Ten seconds outlast a slow handshake and keep half-open connections few.
    .default("10000")
    .limit(Limit::AtLeast(1)),
    Key::new(
        "metrics.listener",
        Kind::String,
        "host:port of the Prometheus page; empty switches it off.",
    )
    // The port that scrape configurations of the JMX exporter already name.
    .default("127.0.0.1:9404")
    .limit(Limit::Address),
    Key::new(
        "metrics.partitions",
        Kind::String,
        "Which partitions get series of their own: all, topic (sums) or off.",
    )
    .default("all")
    .limit(Limit::OneOf(&["all", "topic", "off"])),
    Key::new(
        "ottla.durability",
        Kind::String,
        "What acks=all waits for: synced (stable storage) or replicated (the kernel, as in Kafka).",
    )
    .default("synced")
    .limit(Limit::OneOf(DURABILITY))
    .scope(Scope::ClusterWide),
];

pub(super) const TOPIC: &[Key] = &[Key::new(
    "ottla.durability",
    Kind::String,
    "What acks=all waits for: synced (stable storage) or replicated (the kernel, as in Kafka).",
)
.default("synced")
.limit(Limit::OneOf(DURABILITY))
.scope(Scope::Topic)
.synonym("ottla.durability")];

/// Stands for every key that carries a plug-in's prefix.
pub(super) const PLUGIN: &[Key] = &[
    Key::new(
        "remote.log.metadata.manager.impl.prefix",
        Kind::String,
        "A setting of the plug-in that keeps remote metadata.",
    )
    .status(Status::NoEffect("tiered storage is not served")),
    Key::new(
        "remote.log.storage.manager.impl.prefix",
        Kind::String,
        "A setting of the plug-in that stores remote segments.",
    )
    .status(Status::NoEffect("tiered storage is not served")),
];
