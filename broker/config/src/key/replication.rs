//! Replication, leadership and the controller.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Scope, Status};

const BUF: Status = Status::NoEffect("the kernel sizes the buffers of fetchers");
const DIR: Status = Status::NoEffect("one thread moves replicas between directories, in turn");

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "auto.leader.rebalance.enable",
        Kind::Boolean,
        "Whether the controller moves leadership back to preferred replicas.",
    )
    .default("true"),
    Key::new(
        "broker.id.generation.enable",
        Kind::Boolean,
        "Whether a broker without a number is given one.",
    )
    .default("true"),
    Key::new(
        "control.plane.listener.name",
        Kind::String,
        "Listener reserved for the controller's requests.",
    ),
    Key::new(
        "controlled.shutdown.enable",
        Kind::Boolean,
        "Whether leadership is handed over before the broker stops.",
    )
    .default("true"),
    Key::new(
        "controlled.shutdown.max.retries",
        Kind::Int,
        "Attempts to hand leadership over, in 12 seconds at most.",
    )
    .default("3"),
    Key::new("controlled.shutdown.retry.backoff.ms", Kind::Long, "Wait between those attempts.")
        .default("5000"),
    Key::new(
        "controller.socket.timeout.ms",
        Kind::Int,
        "Timeout of the controller's requests to brokers.",
    )
    .default("30000"),
    Key::new(
        "default.replication.factor",
        Kind::Int,
        "Replicas of a topic whose creator names no number.",
    )
    .default("1"),
    Key::new(
        "inter.broker.protocol.version",
        Kind::String,
        "Release whose protocol brokers use among themselves; with ZooKeeper 0.11.0 or later.",
    )
    .default("3.9-IV0")
    .limit(Limit::Release),
    Key::new(
        "leader.imbalance.check.interval.seconds",
        Kind::Long,
        "Interval of the search for brokers that lead too much.",
    )
    .default("300")
    .limit(Limit::AtLeast(1)),
    Key::new(
        "leader.imbalance.per.broker.percentage",
        Kind::Int,
        "Share of non-preferred leaders that starts a rebalance.",
    )
    .default("10"),
    Key::new("min.insync.replicas", Kind::Int, "Replicas that must be in sync for acks=all.")
        .default("1")
        .limit(Limit::AtLeast(1))
        .scope(Scope::ClusterWide),
    Key::new(
        "num.replica.alter.log.dirs.threads",
        Kind::Int,
        "Threads that move replicas between directories.",
    )
    .status(DIR),
    Key::new(
        "num.replica.fetchers",
        Kind::Int,
        "Connections to each source broker for replication.",
    )
    .default("1")
    .limit(Limit::AtLeast(1))
    .scope(Scope::ClusterWide),
    Key::new("replica.fetch.backoff.ms", Kind::Int, "Wait of a fetcher after an error.")
        .default("1000")
        .limit(Limit::AtLeast(0)),
    Key::new("replica.fetch.max.bytes", Kind::Int, "Bytes of one partition in a replica's fetch.")
        .default("1048576")
        .limit(Limit::AtLeast(0)),
    Key::new("replica.fetch.min.bytes", Kind::Int, "Bytes a replica's fetch waits for.")
        .default("1"),
    Key::new("replica.fetch.response.max.bytes", Kind::Int, "Bytes of a whole replica's fetch.")
        .default("10485760")
        .limit(Limit::AtLeast(0)),
    Key::new("replica.fetch.wait.max.ms", Kind::Int, "Longest wait of a replica's fetch.")
        .default("500"),
    Key::new(
        "replica.high.watermark.checkpoint.interval.ms",
        Kind::Long,
        "Interval of the high watermark checkpoint.",
    )
    .default("5000"),
    Key::new(
        "replica.lag.time.max.ms",
        Kind::Long,
        "Time behind the leader after which a replica leaves the ISR.",
    )
    .default("30000"),
    Key::new(
        "replica.socket.receive.buffer.bytes",
        Kind::Int,
        "Socket receive buffer of a fetcher.",
    )
    .default("65536")
    .status(BUF),
    Key::new("replica.socket.timeout.ms", Kind::Int, "Socket timeout of a fetcher.")
        .default("30000"),
    Key::new(
        "request.timeout.ms",
        Kind::Int,
        "How long the controller may take to answer a broker that shuts down.",
    )
    .default("30000"),
    Key::new(
        "reserved.broker.max.id",
        Kind::Int,
        "Highest broker number that may be chosen by hand.",
    )
    .default("1000")
    .limit(Limit::AtLeast(0)),
    Key::new(
        "unclean.leader.election.enable",
        Kind::Boolean,
        "Whether a replica out of sync may lead when no other can.",
    )
    .default("false")
    .scope(Scope::ClusterWide),
    Key::new(
        "leader.replication.throttled.rate",
        Kind::Long,
        "Bytes a second that throttled leaders may send.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::PerBroker),
    Key::new(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        Kind::Long,
        "Bytes a second of moves between log directories.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::PerBroker),
];
