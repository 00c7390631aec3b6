//! Logs on disk and their cleaner; most have a topic key of the same meaning.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Scope, Status};

const FMT: Status =
    Status::NoEffect("batches are always stored in format v2, as in Kafka since 3.0");
const IOB: Status = Status::NoEffect("the cleaner's buffers are as large as its largest batch");
const LZ4: Status = Status::NotServedYet(
    "the LZ4 encoder has one level: leave the key out, or let producers compress",
);
const REM_Y: Status = Status::NotServedYet("tiered storage is not served: leave the key out");

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "auto.create.topics.enable",
        Kind::Boolean,
        "Whether a metadata or produce request for an absent topic creates it.",
    )
    .default("true"),
    Key::new(
        "compression.gzip.level",
        Kind::Int,
        "Level of gzip when the broker compresses; -1 is the library's own choice.",
    )
    .default("-1")
    .limit(Limit::BetweenOrMinusOne(1, 9))
    .scope(Scope::ClusterWide),
    Key::new("compression.lz4.level", Kind::Int, "Level of LZ4 when the broker compresses.")
        .default("9")
        .limit(Limit::Between(1, 17))
        .scope(Scope::ClusterWide)
        .status(LZ4),
    Key::new(
        "compression.type",
        Kind::String,
        "How batches are compressed on disk; producer keeps what arrived.",
    )
    .default("producer")
    .limit(Limit::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
    .scope(Scope::ClusterWide),
    Key::new("compression.zstd.level", Kind::Int, "Level of Zstandard when the broker compresses.")
        .default("3")
        .limit(Limit::Between(-131_072, 22))
        .scope(Scope::ClusterWide),
    Key::new("delete.topic.enable", Kind::Boolean, "Whether topics may be deleted.")
        .default("true"),
    Key::new("log.cleaner.backoff.ms", Kind::Long, "Wait of the cleaner when nothing needs it.")
        .default("15000")
        .limit(Limit::AtLeast(0))
        .scope(Scope::ClusterWide),
    Key::new(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long,
        "Memory of all cleaner threads for the map of keys.",
    )
    .default("134217728")
    .scope(Scope::ClusterWide),
    Key::new(
        "log.cleaner.delete.retention.ms",
        Kind::Long,
        "How long a tombstone outlives the compaction that saw it.",
    )
    .default("86400000")
    .limit(Limit::AtLeast(0))
    .scope(Scope::ClusterWide),
    Key::new("log.cleaner.enable", Kind::Boolean, "Whether topics are compacted at all.")
        .default("true"),
    Key::new(
        "log.cleaner.io.buffer.load.factor",
        Kind::Double,
        "How full the cleaner's map of keys may get.",
    )
    .default("0.9")
    .scope(Scope::ClusterWide),
    Key::new(
        "log.cleaner.io.buffer.size",
        Kind::Int,
        "Memory of all cleaner threads for reading and writing.",
    )
    .default("524288")
    .limit(Limit::AtLeast(0))
    .scope(Scope::ClusterWide)
    .status(IOB),
    Key::new(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double,
        "Bound on the cleaner's reads and writes together.",
    )
    .default("1.7976931348623157E308")
    .scope(Scope::ClusterWide),
    Key::new(
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long,
        "Longest time a record stays uncompacted.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(1))
    .scope(Scope::ClusterWide),
    Key::new(
        "log.cleaner.min.cleanable.ratio",
        Kind::Double,
        "Share of uncompacted bytes from which compaction starts.",
    )
    .default("0.5")
    .limit(Limit::Fraction(0.0, 1.0))
    .scope(Scope::ClusterWide),
    Key::new(
        "log.cleaner.min.compaction.lag.ms",
        Kind::Long,
        "Shortest time a record stays uncompacted.",
    )
    .default("0")
    .limit(Limit::AtLeast(0))
    .scope(Scope::ClusterWide),
    Key::new("log.cleaner.threads", Kind::Int, "Threads that compact.")
        .default("1")
        .limit(Limit::AtLeast(0))
        .scope(Scope::ClusterWide),
    Key::new(
        "log.cleanup.policy",
        Kind::List,
        "What happens to old segments: delete, compact or both.",
    )
    .default("delete")
    .limit(Limit::OneOf(&["compact", "delete"]))
    .scope(Scope::ClusterWide),
    Key::new("log.dir", Kind::String, "Log directory where log.dirs is not set.")
        .default("./ottla-data")
        .kafka_default("/tmp/kafka-logs"),
    Key::new("log.dirs", Kind::String, "Log directories, separated by commas."),
    Key::new(
        "log.flush.interval.messages",
        Kind::Long,
        "Unsynced records after which a log is synced.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(1))
    .scope(Scope::ClusterWide),
    Key::new("log.flush.interval.ms", Kind::Long, "Time after which unsynced records are synced.")
        .scope(Scope::ClusterWide),
    Key::new(
        "log.flush.offset.checkpoint.interval.ms",
        Kind::Int,
        "Interval of the recovery point checkpoint.",
    )
    .default("60000")
    .limit(Limit::AtLeast(0)),
    Key::new(
        "log.flush.scheduler.interval.ms",
        Kind::Long,
        "Interval of the search for logs that need a sync.",
    )
    .default("9223372036854775807"),
    Key::new(
        "log.flush.start.offset.checkpoint.interval.ms",
        Kind::Int,
        "Interval of the log start offset checkpoint.",
    )
    .default("60000")
    .limit(Limit::AtLeast(0)),
    Key::new(
        "log.index.interval.bytes",
        Kind::Int,
        "Bytes of log between two entries of the offset index.",
    )
    .default("4096")
    .limit(Limit::AtLeast(0))
    .scope(Scope::ClusterWide),
    Key::new("log.index.size.max.bytes", Kind::Int, "Largest offset index file.")
        .default("10485760")
        .limit(Limit::AtLeast(4))
        .scope(Scope::ClusterWide),
    Key::new(
        "log.initial.task.delay.ms",
        Kind::Long,
        "Wait after start before retention and flushing run.",
    )
    .default("30000")
    .limit(Limit::AtLeast(0)),
    Key::new(
        "log.local.retention.bytes",
        Kind::Long,
        "Bytes kept locally by a tiered topic; -2 follows log.retention.bytes.",
    )
    .default("-2")
    .limit(Limit::AtLeast(-2))
    .scope(Scope::ClusterWide)
    .status(REM_Y),
    Key::new(
        "log.local.retention.ms",
        Kind::Long,
        "Time kept locally by a tiered topic; -2 follows log.retention.ms.",
    )
    .default("-2")
    .limit(Limit::AtLeast(-2))
    .scope(Scope::ClusterWide)
    .status(REM_Y),
    Key::new(
        "log.message.downconversion.enable",
        Kind::Boolean,
        "Whether old clients get batches rewritten in their format.",
    )
    .default("true")
    .scope(Scope::ClusterWide),
    Key::new(
        "log.message.format.version",
        Kind::String,
        "Format of stored batches in releases before 3.0.",
    )
    .default("3.0-IV1")
    .limit(Limit::Release)
    .status(FMT),
    Key::new(
        "log.message.timestamp.after.max.ms",
        Kind::Long,
        "How far a timestamp may lie ahead of the broker's clock.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::ClusterWide),
    Key::new(
        "log.message.timestamp.before.max.ms",
        Kind::Long,
        "How far a timestamp may lie behind the broker's clock.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::ClusterWide),
    Key::new(
        "log.message.timestamp.difference.max.ms",
        Kind::Long,
        "Deprecated: both of the two keys above.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::ClusterWide),
    Key::new(
        "log.message.timestamp.type",
        Kind::String,
        "Whose clock stamps records: CreateTime or LogAppendTime.",
    )
    .default("CreateTime")
    .limit(Limit::OneOf(&["CreateTime", "LogAppendTime"]))
    .scope(Scope::ClusterWide),
    Key::new(
        "log.preallocate",
        Kind::Boolean,
        "Whether segment files are allocated whole when created.",
    )
    .default("false")
    .scope(Scope::ClusterWide),
    Key::new("log.retention.bytes", Kind::Long, "Bytes a partition keeps; -1 is no bound.")
        .default("-1")
        .scope(Scope::ClusterWide),
    Key::new(
        "log.retention.check.interval.ms",
        Kind::Long,
        "Interval of the search for segments to delete.",
    )
    .default("300000")
    .limit(Limit::AtLeast(1)),
    Key::new(
        "log.retention.hours",
        Kind::Int,
        "Hours a segment is kept, where neither minutes nor ms is set.",
    )
    .default("168"),
    Key::new("log.retention.minutes", Kind::Int, "Minutes a segment is kept, where ms is not set."),
    Key::new("log.retention.ms", Kind::Long, "Time a segment is kept; -1 is for ever.")
        .scope(Scope::ClusterWide),
    Key::new(
        "log.roll.hours",
        Kind::Int,
        "Age in hours at which a segment is rolled, where ms is not set.",
    )
    .default("168")
    .limit(Limit::AtLeast(1)),
    Key::new(
        "log.roll.jitter.hours",
        Kind::Int,
        "Hours taken off that age at random at most, where ms is not set.",
    )
    .default("0")
    .limit(Limit::AtLeast(0)),
    Key::new("log.roll.jitter.ms", Kind::Long, "Time taken off the rolling age at random at most.")
        .scope(Scope::ClusterWide),
    Key::new("log.roll.ms", Kind::Long, "Age at which a segment is rolled.")
        .scope(Scope::ClusterWide),
    Key::new("log.segment.bytes", Kind::Int, "Largest segment file.")
        .default("1073741824")
        .limit(Limit::AtLeast(14))
        .scope(Scope::ClusterWide),
    Key::new("log.segment.delete.delay.ms", Kind::Long, "How long a deleted segment's file stays.")
        .default("60000")
        .limit(Limit::AtLeast(0))
        .scope(Scope::ClusterWide),
    Key::new("message.max.bytes", Kind::Int, "Largest batch accepted.")
        .default("1048588")
        .limit(Limit::AtLeast(0))
        .scope(Scope::ClusterWide),
    Key::new("num.partitions", Kind::Int, "Partitions of a topic whose creator names no number.")
        .default("1")
        .limit(Limit::AtLeast(1)),
    Key::new(
        "num.recovery.threads.per.data.dir",
        Kind::Int,
        "Threads a log directory uses to load and recover logs.",
    )
    .default("1")
    .limit(Limit::AtLeast(1))
    .scope(Scope::ClusterWide),
];
