//! Tiered storage.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Scope, Status};

const REM: Status = Status::NoEffect("tiered storage is not served");
const REM_Y: Status = Status::NotServedYet("tiered storage is not served: leave the key out");

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "remote.fetch.max.wait.ms",
        Kind::Int,
        "Longest wait of a fetch from the remote tier.",
    )
    .default("500")
    .limit(Limit::AtLeast(1))
    .scope(Scope::ClusterWide)
    .status(REM),
    Key::new(
        "remote.log.index.file.cache.total.size.bytes",
        Kind::Long,
        "Cache of remote indexes.",
    )
    .default("1073741824")
    .limit(Limit::AtLeast(1))
    .scope(Scope::ClusterWide)
    .status(REM),
    Key::new(
        "remote.log.manager.copier.thread.pool.size",
        Kind::Int,
        "Threads that copy segments out.",
    )
    .default("-1")
    .status(REM),
    Key::new("remote.log.manager.copy.max.bytes.per.second", Kind::Long, "Bound on copying out.")
        .default("9223372036854775807")
        .limit(Limit::AtLeast(1))
        .scope(Scope::ClusterWide)
        .status(REM),
    Key::new("remote.log.manager.copy.quota.window.num", Kind::Int, "Samples of that bound.")
        .default("11")
        .limit(Limit::AtLeast(1))
        .status(REM),
    Key::new(
        "remote.log.manager.copy.quota.window.size.seconds",
        Kind::Int,
        "Length of one such sample.",
    )
    .default("1")
    .limit(Limit::AtLeast(1))
    .status(REM),
    Key::new(
        "remote.log.manager.expiration.thread.pool.size",
        Kind::Int,
        "Threads that expire remote segments.",
    )
    .default("-1")
    .status(REM),
    Key::new(
        "remote.log.manager.fetch.max.bytes.per.second",
        Kind::Long,
        "Bound on fetching back.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(1))
    .scope(Scope::ClusterWide)
    .status(REM),
    Key::new("remote.log.manager.fetch.quota.window.num", Kind::Int, "Samples of that bound.")
        .default("11")
        .limit(Limit::AtLeast(1))
        .status(REM),
    Key::new(
        "remote.log.manager.fetch.quota.window.size.seconds",
        Kind::Int,
        "Length of one such sample.",
    )
    .default("1")
    .limit(Limit::AtLeast(1))
    .status(REM),
    Key::new(
        "remote.log.manager.task.interval.ms",
        Kind::Long,
        "Interval of the tier's background work.",
    )
    .default("30000")
    .limit(Limit::AtLeast(1))
    .status(REM),
    Key::new(
        "remote.log.manager.task.retry.backoff.max.ms",
        Kind::Long,
        "Longest wait between its retries.",
    )
    .default("30000")
    .limit(Limit::AtLeast(1))
    .status(REM),
    Key::new(
        "remote.log.manager.task.retry.backoff.ms",
        Kind::Long,
        "First wait between its retries.",
    )
    .default("500")
    .limit(Limit::AtLeast(1))
    .status(REM),
    Key::new("remote.log.manager.task.retry.jitter", Kind::Double, "Randomness of that wait.")
        .default("0.2")
        .limit(Limit::Fraction(0.0, 0.5))
        .status(REM),
    Key::new(
        "remote.log.manager.thread.pool.size",
        Kind::Int,
        "Threads of the tier's background work.",
    )
    .default("10")
    .limit(Limit::AtLeast(1))
    .status(REM),
    Key::new(
        "remote.log.metadata.custom.metadata.max.bytes",
        Kind::Int,
        "Largest custom metadata of a remote segment.",
    )
    .default("128")
    .limit(Limit::AtLeast(0))
    .status(REM),
    Key::new(
        "remote.log.metadata.manager.class.name",
        Kind::String,
        "Java class that keeps remote metadata.",
    )
    .default(
        "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
    )
    .limit(Limit::NotEmpty)
    .status(REM),
    Key::new("remote.log.metadata.manager.class.path", Kind::String, "Where that class is found.")
        .status(REM),
    Key::new(
        "remote.log.metadata.manager.impl.prefix",
        Kind::String,
        "Prefix of that class's own keys.",
    )
    .default("rlmm.config.")
    .limit(Limit::NotEmpty)
    .status(REM),
    Key::new("remote.log.metadata.manager.listener.name", Kind::String, "Listener that it uses.")
        .limit(Limit::NotEmpty)
        .status(REM),
    Key::new("remote.log.reader.max.pending.tasks", Kind::Int, "Remote reads that may wait.")
        .default("100")
        .limit(Limit::AtLeast(1))
        .status(REM),
    Key::new("remote.log.reader.threads", Kind::Int, "Threads that read from the tier.")
        .default("10")
        .limit(Limit::AtLeast(1))
        .status(REM),
    Key::new(
        "remote.log.storage.manager.class.name",
        Kind::String,
        "Java class that stores remote segments.",
    )
    .limit(Limit::NotEmpty)
    .status(REM_Y),
    Key::new("remote.log.storage.manager.class.path", Kind::String, "Where that class is found.")
        .status(REM),
    Key::new(
        "remote.log.storage.manager.impl.prefix",
        Kind::String,
        "Prefix of that class's own keys.",
    )
    .default("rsm.config.")
    .limit(Limit::NotEmpty)
    .status(REM),
    Key::new("remote.log.storage.system.enable", Kind::Boolean, "Switches tiered storage on.")
        .default("false")
        .status(REM_Y),
];
