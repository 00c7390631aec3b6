//! Quotas, metrics and plug-ins.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Scope, Status};
use crate::value::ReplicaSelector;

const BGT: Status = Status::NoEffect("background work has one task each");
const CLS: Status = Status::NeverServed("Java classes cannot be loaded: remove the key");
const JMX: Status = Status::NoEffect("there is no JMX: scrape metrics.listener");
const PURG: Status = Status::NoEffect("a finished request leaves nothing to purge");
const QUO: Status = Status::NoEffect("quotas are not served yet");
const UNS: Status = Status::NeverServed("only final versions are offered: leave the key out");

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "alter.config.policy.class.name",
        Kind::Class,
        "Java class that may veto configuration changes.",
    )
    .status(CLS),
    Key::new(
        "alter.log.dirs.replication.quota.window.num",
        Kind::Int,
        "Samples kept to measure moves between log directories.",
    )
    .default("11")
    .limit(Limit::AtLeast(1)),
    Key::new(
        "alter.log.dirs.replication.quota.window.size.seconds",
        Kind::Int,
        "Length of one such sample.",
    )
    .default("1")
    .limit(Limit::AtLeast(1)),
    Key::new("auto.include.jmx.reporter", Kind::Boolean, "Whether metrics are published over JMX.")
        .default("true")
        .status(JMX),
    Key::new("background.threads", Kind::Int, "Threads for background work.")
        .default("10")
        .limit(Limit::AtLeast(1))
        .scope(Scope::ClusterWide)
        .status(BGT),
    Key::new("client.quota.callback.class", Kind::Class, "Java class that computes client quotas.")
        .status(CLS),
    Key::new(
        "controller.quota.window.num",
        Kind::Int,
        "Samples kept for the quota on topic changes.",
    )
    .default("11")
    .limit(Limit::AtLeast(1))
    .status(QUO),
    Key::new("controller.quota.window.size.seconds", Kind::Int, "Length of one such sample.")
        .default("1")
        .limit(Limit::AtLeast(1))
        .status(QUO),
    Key::new("create.topic.policy.class.name", Kind::Class, "Java class that may veto new topics.")
        .status(CLS),
    Key::new(
        "delete.records.purgatory.purge.interval.requests",
        Kind::Int,
        "Requests between two clean-ups of waiting DeleteRecords.",
    )
    .default("1")
    .status(PURG),
    Key::new(
        "fetch.purgatory.purge.interval.requests",
        Kind::Int,
        "Requests between two clean-ups of waiting fetches.",
    )
    .default("1000")
    .status(PURG),
    Key::new(
        "kafka.metrics.polling.interval.secs",
        Kind::Int,
        "Interval of Kafka's own metrics reporters.",
    )
    .default("10")
    .limit(Limit::AtLeast(1))
    .status(JMX),
    Key::new("kafka.metrics.reporters", Kind::List, "Java classes that report metrics.")
        .default("")
        .status(CLS),
    Key::new("metric.reporters", Kind::List, "Java classes that are told of each metric.")
        .default("")
        .scope(Scope::ClusterWide)
        .status(CLS),
    Key::new("metrics.num.samples", Kind::Int, "Samples kept for Kafka's rates.")
        .default("2")
        .limit(Limit::AtLeast(1))
        .status(JMX),
    Key::new("metrics.recording.level", Kind::String, "Detail of Kafka's metrics.")
        .default("INFO")
        .status(JMX),
    Key::new("metrics.sample.window.ms", Kind::Long, "Length of one such sample.")
        .default("30000")
        .limit(Limit::AtLeast(1))
        .status(JMX),
    Key::new(
        "producer.purgatory.purge.interval.requests",
        Kind::Int,
        "Requests between two clean-ups of waiting produces.",
    )
    .default("1000")
    .status(PURG),
    Key::new("quota.window.num", Kind::Int, "Samples kept for client quotas.")
        .default("11")
        .limit(Limit::AtLeast(1))
        .status(QUO),
    Key::new("quota.window.size.seconds", Kind::Int, "Length of one such sample.")
        .default("1")
        .limit(Limit::AtLeast(1))
        .status(QUO),
    Key::new(
        "replica.selector.class",
        Kind::String,
        "Which replica a consumer reads from: its leader, or one in its rack.",
    )
    .limit(Limit::OneOf(&[ReplicaSelector::Leader.as_str(), ReplicaSelector::RackAware.as_str()])),
    Key::new("replication.quota.window.num", Kind::Int, "Samples kept for replication quotas.")
        .default("11")
        .limit(Limit::AtLeast(1)),
    Key::new("replication.quota.window.size.seconds", Kind::Int, "Length of one such sample.")
        .default("1")
        .limit(Limit::AtLeast(1)),
    Key::new(
        "unstable.api.versions.enable",
        Kind::Boolean,
        "Offers API versions that are not final.",
    )
    .default("false")
    .status(UNS),
    Key::new(
        "unstable.feature.versions.enable",
        Kind::Boolean,
        "Offers feature levels that are not final.",
    )
    .default("false")
    .status(UNS),
];
