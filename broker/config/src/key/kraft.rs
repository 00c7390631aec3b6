//! KRaft, which is refused or has no effect here.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Status};

const KR: Status = Status::NeverServed("there is no KRaft here: remove the key");
const KRN: Status = Status::NoEffect("only KRaft reads it");
const KR_NODE: Status = Status::NeverServed("there is no KRaft here: use broker.id");

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "alter.config.policy.kraft.compatibility.enable",
        Kind::Boolean,
        "How that policy is called under KRaft.",
    )
    .default("false")
    .status(KRN),
    Key::new(
        "broker.heartbeat.interval.ms",
        Kind::Int,
        "Interval of heartbeats to a KRaft controller.",
    )
    .default("2000")
    .status(KRN),
    Key::new("broker.session.timeout.ms", Kind::Int, "Lease of a broker with a KRaft controller.")
        .default("9000")
        .status(KRN),
    Key::new("controller.listener.names", Kind::String, "Listeners of a KRaft controller.")
        .status(KR),
    Key::new(
        "controller.quorum.append.linger.ms",
        Kind::Int,
        "Wait of a KRaft leader before it flushes.",
    )
    .default("25")
    .status(KRN),
    Key::new(
        "controller.quorum.bootstrap.servers",
        Kind::List,
        "Addresses to find the KRaft quorum.",
    )
    .default("")
    .status(KR),
    Key::new(
        "controller.quorum.election.backoff.max.ms",
        Kind::Int,
        "Longest wait between KRaft elections.",
    )
    .default("1000")
    .status(KRN),
    Key::new(
        "controller.quorum.election.timeout.ms",
        Kind::Int,
        "Silence before a KRaft election.",
    )
    .default("1000")
    .status(KRN),
    Key::new(
        "controller.quorum.fetch.timeout.ms",
        Kind::Int,
        "Time without a KRaft fetch before an election.",
    )
    .default("2000")
    .status(KRN),
    Key::new("controller.quorum.request.timeout.ms", Kind::Int, "Timeout of KRaft requests.")
        .default("2000")
        .status(KRN),
    Key::new(
        "controller.quorum.retry.backoff.ms",
        Kind::Int,
        "Wait before a KRaft request is tried again.",
    )
    .default("20")
    .status(KRN),
    Key::new("controller.quorum.voters", Kind::List, "Members of the KRaft quorum.")
        .default("")
        .status(KR),
    Key::new(
        "eligible.leader.replicas.enable",
        Kind::Boolean,
        "Tracks replicas that may lead safely, under KRaft.",
    )
    .default("false")
    .status(KRN),
    Key::new(
        "initial.broker.registration.timeout.ms",
        Kind::Int,
        "Time to register with a KRaft controller.",
    )
    .default("60000")
    .status(KRN),
    Key::new(
        "log.dir.failure.timeout.ms",
        Kind::Long,
        "Time for a KRaft broker to report a failed directory.",
    )
    .default("30000")
    .limit(Limit::AtLeast(1))
    .status(KRN),
    Key::new("metadata.log.dir", Kind::String, "Directory of KRaft's metadata log.").status(KR),
    Key::new(
        "metadata.log.max.record.bytes.between.snapshots",
        Kind::Long,
        "Bytes between two KRaft snapshots.",
    )
    .default("20971520")
    .limit(Limit::AtLeast(1))
    .status(KRN),
    Key::new(
        "metadata.log.max.snapshot.interval.ms",
        Kind::Long,
        "Time between two KRaft snapshots.",
    )
    .default("3600000")
    .limit(Limit::AtLeast(0))
    .status(KRN),
    Key::new("metadata.log.segment.bytes", Kind::Int, "Largest segment of KRaft's log.")
        .default("1073741824")
        .limit(Limit::AtLeast(12))
        .status(KRN),
    Key::new("metadata.log.segment.min.bytes", Kind::Int, "Smallest segment of KRaft's log.")
        .default("8388608")
        .limit(Limit::AtLeast(12))
        .status(KRN),
    Key::new("metadata.log.segment.ms", Kind::Long, "Age at which KRaft's log is rolled.")
        .default("604800000")
        .status(KRN),
    Key::new("metadata.max.idle.interval.ms", Kind::Int, "Interval of KRaft's no-op records.")
        .default("500")
        .limit(Limit::AtLeast(0))
        .status(KRN),
    Key::new(
        "metadata.max.retention.bytes",
        Kind::Long,
        "Bytes of KRaft's log and snapshots kept.",
    )
    .default("104857600")
    .status(KRN),
    Key::new("metadata.max.retention.ms", Kind::Long, "Time KRaft's log and snapshots are kept.")
        .default("604800000")
        .status(KRN),
    Key::new("node.id", Kind::Int, "The KRaft spelling of broker.id.")
        .default("-1")
        .status(KR_NODE),
    Key::new("process.roles", Kind::List, "Roles of a KRaft node.")
        .default("")
        .limit(Limit::OneOf(&["broker", "controller"]))
        .status(KR),
    Key::new(
        "sasl.mechanism.controller.protocol",
        Kind::String,
        "SASL mechanism towards KRaft controllers.",
    )
    .default("GSSAPI")
    .status(KRN),
    Key::new("server.max.startup.time.ms", Kind::Long, "Time a KRaft server may take to start.")
        .default("9223372036854775807")
        .limit(Limit::AtLeast(0))
        .status(KRN),
    Key::new("telemetry.max.bytes", Kind::Int, "Largest telemetry message of a client.")
        .default("1048576")
        .limit(Limit::AtLeast(1))
        .status(KRN),
    Key::new(
        "unclean.leader.election.interval.ms",
        Kind::Long,
        "Interval of unclean elections under KRaft.",
    )
    .default("300000")
    .limit(Limit::AtLeast(1))
    .status(KRN),
    Key::new("zookeeper.metadata.migration.enable", Kind::Boolean, "Starts a migration to KRaft.")
        .default("false")
        .status(KR),
    Key::new(
        "zookeeper.metadata.migration.min.batch.size",
        Kind::Int,
        "Batch size of that migration.",
    )
    .default("200")
    .limit(Limit::AtLeast(1))
    .status(KRN),
];
