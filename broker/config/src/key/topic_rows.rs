//! The keys of a topic.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Scope, Status};

const FMT: Status =
    Status::NoEffect("batches are always stored in format v2, as in Kafka since 3.0");
const LZ4: Status = Status::NotServedYet(
    "the LZ4 encoder has one level: leave the key out, or let producers compress",
);
const REM_Y: Status = Status::NotServedYet("tiered storage is not served: leave the key out");

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "cleanup.policy",
        Kind::List,
        "What happens to old segments: delete, compact or both.",
    )
    .default("delete")
    .limit(Limit::OneOf(&["compact", "delete"]))
    .scope(Scope::Topic)
    .synonym("log.cleanup.policy"),
    Key::new(
        "compression.gzip.level",
        Kind::Int,
        "Level of gzip when the broker compresses; -1 is the library's own choice.",
    )
    .default("-1")
    .limit(Limit::BetweenOrMinusOne(1, 9))
    .scope(Scope::Topic)
    .synonym("compression.gzip.level"),
    Key::new("compression.lz4.level", Kind::Int, "Level of LZ4 when the broker compresses.")
        .default("9")
        .limit(Limit::Between(1, 17))
        .scope(Scope::Topic)
        .synonym("compression.lz4.level")
        .status(LZ4),
    Key::new(
        "compression.type",
        Kind::String,
        "How batches are compressed on disk; producer keeps what arrived.",
    )
    .default("producer")
    .limit(Limit::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
    .scope(Scope::Topic)
    .synonym("compression.type"),
    Key::new("compression.zstd.level", Kind::Int, "Level of Zstandard when the broker compresses.")
        .default("3")
        .limit(Limit::Between(-131_072, 22))
        .scope(Scope::Topic)
        .synonym("compression.zstd.level"),
    Key::new(
        "delete.retention.ms",
        Kind::Long,
        "How long a tombstone outlives the compaction that saw it.",
    )
    .default("86400000")
    .limit(Limit::AtLeast(0))
    .scope(Scope::Topic)
    .synonym("log.cleaner.delete.retention.ms"),
    Key::new("file.delete.delay.ms", Kind::Long, "How long a deleted segment's file stays.")
        .default("60000")
        .limit(Limit::AtLeast(0))
        .scope(Scope::Topic)
        .synonym("log.segment.delete.delay.ms"),
    Key::new("flush.messages", Kind::Long, "Unsynced records after which the log is synced.")
        .default("9223372036854775807")
        .limit(Limit::AtLeast(1))
        .scope(Scope::Topic)
        .synonym("log.flush.interval.messages"),
    Key::new("flush.ms", Kind::Long, "Time after which unsynced records are synced.")
        .default("9223372036854775807")
        .limit(Limit::AtLeast(0))
        .scope(Scope::Topic)
        .synonym("log.flush.interval.ms"),
    Key::new(
        "follower.replication.throttled.replicas",
        Kind::List,
        "Replicas whose follower side is throttled.",
    )
    .default("")
    .limit(Limit::ThrottledReplicas)
    .scope(Scope::Topic),
    Key::new(
        "index.interval.bytes",
        Kind::Int,
        "Bytes of log between two entries of the offset index.",
    )
    .default("4096")
    .limit(Limit::AtLeast(0))
    .scope(Scope::Topic)
    .synonym("log.index.interval.bytes"),
    Key::new(
        "leader.replication.throttled.replicas",
        Kind::List,
        "Replicas whose leader side is throttled.",
    )
    .default("")
    .limit(Limit::ThrottledReplicas)
    .scope(Scope::Topic),
    Key::new(
        "local.retention.bytes",
        Kind::Long,
        "Bytes kept locally when the topic is tiered; -2 follows retention.bytes.",
    )
    .default("-2")
    .limit(Limit::AtLeast(-2))
    .scope(Scope::Topic)
    .synonym("log.local.retention.bytes")
    .status(REM_Y),
    Key::new(
        "local.retention.ms",
        Kind::Long,
        "Time kept locally when the topic is tiered; -2 follows retention.ms.",
    )
    .default("-2")
    .limit(Limit::AtLeast(-2))
    .scope(Scope::Topic)
    .synonym("log.local.retention.ms")
    .status(REM_Y),
    Key::new("max.compaction.lag.ms", Kind::Long, "Longest time a record stays uncompacted.")
        .default("9223372036854775807")
        .limit(Limit::AtLeast(1))
        .scope(Scope::Topic)
        .synonym("log.cleaner.max.compaction.lag.ms"),
    Key::new("max.message.bytes", Kind::Int, "Largest batch accepted.")
        .default("1048588")
        .limit(Limit::AtLeast(0))
        .scope(Scope::Topic)
        .synonym("message.max.bytes"),
    Key::new(
        "message.downconversion.enable",
        Kind::Boolean,
        "Whether old clients get batches rewritten in their format.",
    )
    .default("true")
    .scope(Scope::Topic)
    .synonym("log.message.downconversion.enable"),
    Key::new(
        "message.format.version",
        Kind::String,
        "Format of stored batches in releases before 3.0.",
    )
    .default("3.0-IV1")
    .limit(Limit::Release)
    .scope(Scope::Topic)
    .synonym("log.message.format.version")
    .status(FMT),
    Key::new(
        "message.timestamp.after.max.ms",
        Kind::Long,
        "How far a timestamp may lie ahead of the broker's clock.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::Topic)
    .synonym("log.message.timestamp.after.max.ms"),
    Key::new(
        "message.timestamp.before.max.ms",
        Kind::Long,
        "How far a timestamp may lie behind the broker's clock.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::Topic)
    .synonym("log.message.timestamp.before.max.ms"),
    Key::new(
        "message.timestamp.difference.max.ms",
        Kind::Long,
        "Deprecated: both of the two keys above.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::Topic)
    .synonym("log.message.timestamp.difference.max.ms"),
    Key::new(
        "message.timestamp.type",
        Kind::String,
        "Whose clock stamps records: CreateTime or LogAppendTime.",
    )
    .default("CreateTime")
    .limit(Limit::OneOf(&["CreateTime", "LogAppendTime"]))
    .scope(Scope::Topic)
    .synonym("log.message.timestamp.type"),
    Key::new(
        "min.cleanable.dirty.ratio",
        Kind::Double,
        "Share of uncompacted bytes from which compaction starts.",
    )
    .default("0.5")
    .limit(Limit::Fraction(0.0, 1.0))
    .scope(Scope::Topic)
    .synonym("log.cleaner.min.cleanable.ratio"),
    Key::new("min.compaction.lag.ms", Kind::Long, "Shortest time a record stays uncompacted.")
        .default("0")
        .limit(Limit::AtLeast(0))
        .scope(Scope::Topic)
        .synonym("log.cleaner.min.compaction.lag.ms"),
    Key::new("min.insync.replicas", Kind::Int, "Replicas that must be in sync for acks=all.")
        .default("1")
        .limit(Limit::AtLeast(1))
        .scope(Scope::Topic)
        .synonym("min.insync.replicas"),
    Key::new(
        "preallocate",
        Kind::Boolean,
        "Whether segment files are allocated whole when created.",
    )
    .default("false")
    .scope(Scope::Topic)
    .synonym("log.preallocate"),
    Key::new("remote.log.copy.disable", Kind::Boolean, "Stops copying to the remote tier.")
        .default("false")
        .scope(Scope::Topic)
        .status(REM_Y),
    Key::new(
        "remote.log.delete.on.disable",
        Kind::Boolean,
        "Deletes remote data when the topic leaves the tier.",
    )
    .default("false")
    .scope(Scope::Topic)
    .status(REM_Y),
    Key::new("remote.storage.enable", Kind::Boolean, "Switches tiered storage on for the topic.")
        .default("false")
        .scope(Scope::Topic)
        .status(REM_Y),
    Key::new("retention.bytes", Kind::Long, "Bytes a partition keeps; -1 is no bound.")
        .default("-1")
        .scope(Scope::Topic)
        .synonym("log.retention.bytes"),
    Key::new("retention.ms", Kind::Long, "Time a segment is kept; -1 is for ever.")
        .default("604800000")
        .limit(Limit::AtLeast(-1))
        .scope(Scope::Topic)
        .synonym("log.retention.ms"),
    Key::new("segment.bytes", Kind::Int, "Largest segment file.")
        .default("1073741824")
        .limit(Limit::AtLeast(14))
        .scope(Scope::Topic)
        .synonym("log.segment.bytes"),
    Key::new("segment.index.bytes", Kind::Int, "Largest offset index file.")
        .default("10485760")
        .limit(Limit::AtLeast(4))
        .scope(Scope::Topic)
        .synonym("log.index.size.max.bytes"),
    Key::new("segment.jitter.ms", Kind::Long, "Time taken off segment.ms at random at most.")
        .default("0")
        .limit(Limit::AtLeast(0))
        .scope(Scope::Topic)
        .synonym("log.roll.jitter.ms"),
    Key::new("segment.ms", Kind::Long, "Age at which the active segment is rolled.")
        .default("604800000")
        .limit(Limit::AtLeast(1))
        .scope(Scope::Topic)
        .synonym("log.roll.ms"),
    Key::new(
        "unclean.leader.election.enable",
        Kind::Boolean,
        "Whether a replica out of sync may lead when no other can.",
    )
    .default("false")
    .scope(Scope::Topic)
    .synonym("unclean.leader.election.enable"),
];
