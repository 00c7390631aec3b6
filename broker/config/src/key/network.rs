//! Sockets, listeners and the broker's identity.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Scope, Status};

const ELS: Status = Status::NeverServed("listeners open together: leave the key out");
const IO: Status =
    Status::NoEffect("requests are handled by the network threads: set num.network.threads");
const QMR: Status =
    Status::NoEffect("requests wait in no queue: queued.max.request.bytes bounds them");
const REQ: Status =
    Status::NoEffect("every attempt has as long as socket.connection.setup.timeout.ms says");

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "advertised.listeners",
        Kind::String,
        "Addresses that clients and other brokers are told to use; empty means those of listeners.",
    )
    .limit(Limit::Listeners),
    Key::new(
        "broker.id",
        Kind::Int,
        "This broker's number in its cluster; -1 is one from ZooKeeper, alone it is 0.",
    )
    .default("0")
    .cluster_default("-1")
    .kafka_default("-1, a number from ZooKeeper")
    .limit(Limit::AtLeast(-1)),
    Key::new(
        "broker.rack",
        Kind::String,
        "Rack or zone of this broker, shown to clients and used to spread replicas.",
    ),
    Key::new(
        "connections.max.idle.ms",
        Kind::Long,
        "A connection without traffic for this long is closed.",
    )
    .default("600000"),
    Key::new(
        "early.start.listeners",
        Kind::String,
        "Listeners that open before metadata is loaded.",
    )
    .status(ELS),
    Key::new(
        "fetch.max.bytes",
        Kind::Int,
        "Most bytes in one Fetch response, whatever the client asks for.",
    )
    .default("57671680")
    .limit(Limit::AtLeast(1024)),
    Key::new(
        "inter.broker.listener.name",
        Kind::String,
        "Listener that brokers use among themselves.",
    ),
    Key::new("listener.security.protocol.map", Kind::String, "What each listener name speaks.")
        .default("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"),
    Key::new(
        "listeners",
        Kind::String,
        "Addresses to accept connections on; an empty host is every interface.",
    )
    .default("PLAINTEXT://127.0.0.1:9092")
    .kafka_default("PLAINTEXT://:9092")
    .limit(Limit::Listeners),
    Key::new("max.connection.creation.rate", Kind::Int, "New connections a second.")
        .default("2147483647")
        .limit(Limit::AtLeast(0))
        .scope(Scope::ClusterWide),
    Key::new("max.connections", Kind::Int, "Connections at once.")
        .default("10000")
        .kafka_default("2147483647")
        .limit(Limit::AtLeast(0))
        .scope(Scope::ClusterWide),
    Key::new("max.connections.per.ip", Kind::Int, "Connections at once from one address.")
        .default("2147483647")
        .limit(Limit::AtLeast(0))
        .scope(Scope::ClusterWide),
    Key::new(
        "max.connections.per.ip.overrides",
        Kind::String,
        "Bounds for single addresses, as address:count.",
    )
    .default("")
    .limit(Limit::AddressCounts)
    .scope(Scope::ClusterWide),
    Key::new(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int,
        "Incremental fetch sessions kept.",
    )
    .default("1000")
    .limit(Limit::AtLeast(0)),
    Key::new(
        "max.request.partition.size.limit",
        Kind::Int,
        "Most partitions in one DescribeTopicPartitions response.",
    )
    .default("2000")
    .limit(Limit::AtLeast(1)),
    Key::new("num.io.threads", Kind::Int, "Threads that handle requests in Kafka.")
        .default("8")
        .limit(Limit::AtLeast(1))
        .scope(Scope::ClusterWide)
        .status(IO),
    Key::new(
        "num.network.threads",
        Kind::Int,
        "Threads that own connections and handle their requests.",
    )
    .kafka_default("3")
    .limit(Limit::AtLeast(1)),
    Key::new(
        "queued.max.request.bytes",
        Kind::Long,
        "Bytes of large requests, and of answers converted for old clients; -1 is no bound.",
    )
    .default("268435456")
    .kafka_default("-1"),
    Key::new("queued.max.requests", Kind::Int, "Requests that wait for a handler thread in Kafka.")
        .default("500")
        .limit(Limit::AtLeast(1))
        .status(QMR),
    Key::new(
        "socket.connection.setup.timeout.max.ms",
        Kind::Long,
        "Longest timeout of connecting to another broker.",
    )
    .default("30000")
    .status(REQ),
    Key::new(
        "socket.connection.setup.timeout.ms",
        Kind::Long,
        "Timeout of connecting to another broker.",
    )
    .default("10000"),
    Key::new(
        "socket.listen.backlog.size",
        Kind::Int,
        "Connections the kernel keeps until they are accepted.",
    )
    .default("4096")
    .kafka_default("50")
    .limit(Limit::AtLeast(1)),
    Key::new(
        "socket.receive.buffer.bytes",
        Kind::Int,
        "Socket receive buffer; -1 leaves it to the kernel.",
    )
    .default("-1")
    .kafka_default("102400"),
    Key::new(
        "socket.request.max.bytes",
        Kind::Int,
        "Largest request; a larger one closes the connection.",
    )
    .default("104857600")
    .limit(Limit::AtLeast(1)),
    Key::new(
        "socket.send.buffer.bytes",
        Kind::Int,
        "Socket send buffer; -1 leaves it to the kernel.",
    )
    .default("-1")
    .kafka_default("102400"),
    Key::new(
        "follower.replication.throttled.rate",
        Kind::Long,
        "Bytes a second that throttled followers may fetch.",
    )
    .default("9223372036854775807")
    .limit(Limit::AtLeast(0))
    .scope(Scope::PerBroker),
];
