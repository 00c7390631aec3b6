//! Groups, committed offsets, producer ids and transactions.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Scope, Status};

const ACK: Status = Status::NeverServed(
    "offsets are stored with acks=-1, as all else loses them: leave the key out",
);
const NCG: Status = Status::NoEffect("the newer consumer protocol is not served yet");
const NCG_Y: Status =
    Status::NotServedYet("only the classic protocol is served: leave it at classic");
const SHR: Status = Status::NoEffect("share groups are not served");
const SHR_Y: Status = Status::NotServedYet("share groups are not served: leave it at false");
const TXN: Status = Status::NoEffect("transactions are not served yet");

pub(super) const KEYS: &[Key] = &[
Key::new("group.consumer.assignors", Kind::List, "Server-side assignors of the newer consumer protocol.").default("org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor").status(NCG),
Key::new("group.consumer.heartbeat.interval.ms", Kind::Int, "Heartbeat interval of the newer consumer protocol.").default("5000").limit(Limit::AtLeast(1)).status(NCG),
Key::new("group.consumer.max.heartbeat.interval.ms", Kind::Int, "Upper bound of that interval.").default("15000").limit(Limit::AtLeast(1)).status(NCG),
Key::new("group.consumer.max.session.timeout.ms", Kind::Int, "Upper bound of the newer protocol's session.").default("60000").limit(Limit::AtLeast(1)).status(NCG),
Key::new("group.consumer.max.size", Kind::Int, "Most members of a group of the newer protocol.").default("2147483647").limit(Limit::AtLeast(1)).status(NCG),
Key::new("group.consumer.migration.policy", Kind::String, "How groups change between the two protocols.").default("disabled").limit(Limit::OneOf(&["disabled", "downgrade", "upgrade", "bidirectional"])).status(NCG),
Key::new("group.consumer.min.heartbeat.interval.ms", Kind::Int, "Lower bound of the newer protocol's heartbeat interval.").default("5000").limit(Limit::AtLeast(1)).status(NCG),
Key::new("group.consumer.min.session.timeout.ms", Kind::Int, "Lower bound of the newer protocol's session.").default("45000").limit(Limit::AtLeast(1)).status(NCG),
Key::new("group.consumer.session.timeout.ms", Kind::Int, "Session of the newer consumer protocol.").default("45000").limit(Limit::AtLeast(1)).status(NCG),
Key::new("group.coordinator.append.linger.ms", Kind::Int, "How long Kafka's newer coordinator gathers writes.").default("10").limit(Limit::AtLeast(0)).status(NCG),
Key::new("group.coordinator.new.enable", Kind::Boolean, "Chooses Kafka's newer coordinator.").default("false").status(NCG),
Key::new("group.coordinator.rebalance.protocols", Kind::List, "Group protocols that are offered.").default("classic").limit(Limit::OneOf(&["consumer", "classic", "share", "unknown"])).status(NCG_Y),
Key::new("group.coordinator.threads", Kind::Int, "Threads of Kafka's newer coordinator.").default("1").limit(Limit::AtLeast(1)).status(NCG),
Key::new("group.initial.rebalance.delay.ms", Kind::Int, "Wait for more members before a new group's first rebalance.").default("3000"),
Key::new("group.max.session.timeout.ms", Kind::Int, "Longest session a group member may ask for.").default("1800000"),
Key::new("group.max.size", Kind::Int, "Most members of one group.").default("2147483647").limit(Limit::AtLeast(1)),
Key::new("group.min.session.timeout.ms", Kind::Int, "Shortest session a group member may ask for.").default("6000"),
Key::new("group.share.delivery.count.limit", Kind::Int, "Deliveries of a record to a share group.").default("5").limit(Limit::Between(2, 10)).status(SHR),
Key::new("group.share.enable", Kind::Boolean, "Offers share groups.").default("false").status(SHR_Y),
Key::new("group.share.heartbeat.interval.ms", Kind::Int, "Heartbeat interval of share groups.").default("5000").limit(Limit::AtLeast(1)).status(SHR),
Key::new("group.share.max.groups", Kind::Short, "Most share groups.").default("10").limit(Limit::Between(1, 100)).status(SHR),
Key::new("group.share.max.heartbeat.interval.ms", Kind::Int, "Upper bound of that interval.").default("15000").limit(Limit::AtLeast(1)).status(SHR),
Key::new("group.share.max.record.lock.duration.ms", Kind::Int, "Upper bound of a record's lock.").default("60000").limit(Limit::Between(30_000, 3_600_000)).status(SHR),
Key::new("group.share.max.session.timeout.ms", Kind::Int, "Upper bound of a share group's session.").default("60000").limit(Limit::AtLeast(1)).status(SHR),
Key::new("group.share.max.size", Kind::Short, "Most members of a share group.").default("200").limit(Limit::Between(10, 1000)).status(SHR),
Key::new("group.share.min.heartbeat.interval.ms", Kind::Int, "Lower bound of the heartbeat interval.").default("5000").limit(Limit::AtLeast(1)).status(SHR),
Key::new("group.share.min.record.lock.duration.ms", Kind::Int, "Lower bound of a record's lock.").default("15000").limit(Limit::Between(1000, 30_000)).status(SHR),
Key::new("group.share.min.session.timeout.ms", Kind::Int, "Lower bound of a share group's session.").default("45000").limit(Limit::AtLeast(1)).status(SHR),
Key::new("group.share.partition.max.record.locks", Kind::Int, "Most locked records of a partition.").default("200").limit(Limit::Between(100, 10_000)).status(SHR),
Key::new("group.share.record.lock.duration.ms", Kind::Int, "How long a delivered record is locked.").default("30000").limit(Limit::Between(1000, 60_000)).status(SHR),
Key::new("group.share.session.timeout.ms", Kind::Int, "Session of share groups.").default("45000").limit(Limit::AtLeast(1)).status(SHR),
Key::new("offset.metadata.max.bytes", Kind::Int, "Longest text a client may store beside a committed offset.").default("4096"),
Key::new("offsets.commit.required.acks", Kind::Short, "Acks of the write that stores a committed offset; only -1 is safe.").default("-1").status(ACK),
Key::new("offsets.commit.timeout.ms", Kind::Int, "Longest wait of an offset commit for its replicas.").default("5000").limit(Limit::AtLeast(1)),
Key::new("offsets.load.buffer.size", Kind::Int, "Bytes read at once when a coordinator loads its offsets.").default("5242880").limit(Limit::AtLeast(1)),
Key::new("offsets.retention.check.interval.ms", Kind::Long, "Interval of the search for stale offsets.").default("600000").limit(Limit::AtLeast(1)),
Key::new("offsets.retention.minutes", Kind::Int, "How long an empty group keeps its offsets.").default("10080").limit(Limit::AtLeast(1)),
Key::new("offsets.topic.compression.codec", Kind::Int, "Compression of the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.").default("0").limit(Limit::Between(0, 4)),
Key::new("offsets.topic.num.partitions", Kind::Int, "Partitions of the offsets topic; never change it later.").default("50").limit(Limit::AtLeast(1)),
Key::new("offsets.topic.replication.factor", Kind::Short, "Replicas of the offsets topic.").default("1").cluster_default("3").kafka_default("3").limit(Limit::AtLeast(1)),
Key::new("offsets.topic.segment.bytes", Kind::Int, "Segment size of the offsets topic.").default("104857600").limit(Limit::AtLeast(1)),
Key::new("producer.id.expiration.check.interval.ms", Kind::Int, "Interval of the search for idle producer ids.").default("600000").limit(Limit::AtLeast(1)),
Key::new("producer.id.expiration.ms", Kind::Int, "Idle time after which a producer id's state is dropped.").default("86400000").limit(Limit::AtLeast(1)).scope(Scope::ClusterWide),
Key::new("transaction.abort.timed.out.transaction.cleanup.interval.ms", Kind::Int, "Interval of the search for timed-out transactions.").default("10000").limit(Limit::AtLeast(1)).status(TXN),
Key::new("transaction.max.timeout.ms", Kind::Int, "Longest timeout a transaction may ask for.").default("900000").limit(Limit::AtLeast(1)).status(TXN),
Key::new("transaction.partition.verification.enable", Kind::Boolean, "Whether a partition asks the coordinator before it takes transactional records.").default("true").scope(Scope::ClusterWide).status(TXN),
Key::new("transaction.remove.expired.transaction.cleanup.interval.ms", Kind::Int, "Interval of the search for expired transactional ids.").default("3600000").limit(Limit::AtLeast(1)).status(TXN),
Key::new("transaction.state.log.load.buffer.size", Kind::Int, "Bytes read at once when a coordinator loads.").default("5242880").limit(Limit::AtLeast(1)).status(TXN),
Key::new("transaction.state.log.min.isr", Kind::Int, "min.insync.replicas of the transaction topic.").default("1").cluster_default("2").kafka_default("2").limit(Limit::AtLeast(1)).status(TXN),
Key::new("transaction.state.log.num.partitions", Kind::Int, "Partitions of the transaction topic.").default("50").limit(Limit::AtLeast(1)).status(TXN),
Key::new("transaction.state.log.replication.factor", Kind::Short, "Replicas of the transaction topic.").default("1").cluster_default("3").kafka_default("3").limit(Limit::AtLeast(1)).status(TXN),
Key::new("transaction.state.log.segment.bytes", Kind::Int, "Segment size of the transaction topic.").default("104857600").limit(Limit::AtLeast(1)).status(TXN),
Key::new("transactional.id.expiration.ms", Kind::Int, "Idle time after which a transactional id is dropped.").default("604800000").limit(Limit::AtLeast(1)).status(TXN),
];
