//! The configuration of a broker, typed: what the server reads.
//!
//! [`BrokerConfig::resolve`] takes the layers, refuses what is unknown, out of range or not served,
//! and lists what is accepted without effect. Source: Kafka 3.9 `KafkaConfig`.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use crate::{
    dynamic::{Entry, Layers},
    error::ConfigError,
    key::{self, Key, Status},
    listener::{self, Listener},
    raw::Properties,
    release::Release,
    render,
    value::items,
};

pub use crate::value::{
    CleanupPolicy, CompressionType, Durability, MetricsPartitions, ReplicaSelector,
    SecurityProtocol, TimestampType,
};

/// The oldest release that a broker of several may speak: the first whose replicas copy batches as they are
/// stored here, and tell by epochs where their logs diverge.
pub const OLDEST_RELEASE: Release = Release::V0_11_0_IV2;

crate::settings::settings! {
    /// What the server reads. Times in milliseconds and sizes in bytes, unless the name says so.
    #[derive(Debug, Clone, PartialEq)]
    pub struct BrokerConfig {
        /// Samples kept to measure moves between log directories.
        alter_log_dirs_replication_quota_window_num: i32 =
            "alter.log.dirs.replication.quota.window.num",
        /// Length of one such sample.
        alter_log_dirs_replication_quota_window_size_seconds: i32 =
            "alter.log.dirs.replication.quota.window.size.seconds",
        /// Whether a metadata or produce request for an absent topic creates it.
        auto_create_topics_enable: bool = "auto.create.topics.enable",
        /// Whether the controller moves leadership back to preferred replicas.
        auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable",
        /// This broker's number in its cluster; -1 is one from ZooKeeper, alone it is 0.
        broker_id: i32 = "broker.id",
        /// Whether a broker without a number is given one.
        broker_id_generation_enable: bool = "broker.id.generation.enable",
        /// Rack or zone of this broker, shown to clients and used to spread replicas.
        broker_rack: Option<String> = "broker.rack",
        /// Level of gzip when the broker compresses; -1 is the library's own choice.
        compression_gzip_level: i32 = "compression.gzip.level",
        /// Level of LZ4 when the broker compresses.
        compression_lz4_level: i32 = "compression.lz4.level",
        /// How batches are compressed on disk; producer keeps what arrived.
        compression_type: CompressionType = "compression.type",
        /// Level of Zstandard when the broker compresses.
        compression_zstd_level: i32 = "compression.zstd.level",
        /// A connection without traffic for this long is closed.
        connections_max_idle_ms: i64 = "connections.max.idle.ms",
        /// Listener reserved for the controller's requests.
        control_plane_listener_name: Option<String> = "control.plane.listener.name",
        /// Whether leadership is handed over before the broker stops.
        controlled_shutdown_enable: bool = "controlled.shutdown.enable",
        /// Attempts to hand leadership over.
        controlled_shutdown_max_retries: i32 = "controlled.shutdown.max.retries",
        /// Wait between those attempts.
        controlled_shutdown_retry_backoff_ms: i64 = "controlled.shutdown.retry.backoff.ms",
        /// Timeout of the controller's requests to brokers.
        controller_socket_timeout_ms: i32 = "controller.socket.timeout.ms",
        /// Replicas of a topic whose creator names no number.
        default_replication_factor: i32 = "default.replication.factor",
        /// Whether topics may be deleted.
        delete_topic_enable: bool = "delete.topic.enable",
        /// Most bytes in one Fetch response, whatever the client asks for.
        fetch_max_bytes: i32 = "fetch.max.bytes",
        /// Bytes a second that throttled followers may fetch.
        follower_replication_throttled_rate: i64 = "follower.replication.throttled.rate",
        /// Wait for more members before a new group's first rebalance.
        group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms",
        /// Longest session a group member may ask for.
        group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms",
        /// Most members of one group.
        group_max_size: i32 = "group.max.size",
        /// Shortest session a group member may ask for.
        group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms",
        /// Listener that brokers use among themselves.
        inter_broker_listener_name: Option<String> = "inter.broker.listener.name",
        /// Which versions this broker uses towards others.
        inter_broker_protocol_version: Release = "inter.broker.protocol.version",
        /// Interval of the search for brokers that lead too much.
        leader_imbalance_check_interval_seconds: i64 = "leader.imbalance.check.interval.seconds",
        /// Share of non-preferred leaders that starts a rebalance.
        leader_imbalance_per_broker_percentage: i32 = "leader.imbalance.per.broker.percentage",
        /// Bytes a second that throttled leaders may send.
        leader_replication_throttled_rate: i64 = "leader.replication.throttled.rate",
        /// What each listener name speaks.
        listener_security_protocol_map: String = "listener.security.protocol.map",
        /// Wait of the cleaner when nothing needs it.
        log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms",
        /// Memory of all cleaner threads for the map of keys.
        log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size",
        /// How long a tombstone outlives the compaction that saw it.
        log_cleaner_delete_retention_ms: i64 = "log.cleaner.delete.retention.ms",
        /// Whether topics are compacted at all.
        log_cleaner_enable: bool = "log.cleaner.enable",
        /// How full the cleaner's map of keys may get.
        log_cleaner_io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor",
        /// Memory of all cleaner threads for reading and writing.
        log_cleaner_io_buffer_size: i32 = "log.cleaner.io.buffer.size",
        /// Bound on the cleaner's reads and writes together.
        log_cleaner_io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second",
        /// Longest time a record stays uncompacted.
        log_cleaner_max_compaction_lag_ms: i64 = "log.cleaner.max.compaction.lag.ms",
        /// Share of uncompacted bytes from which compaction starts.
        log_cleaner_min_cleanable_ratio: f64 = "log.cleaner.min.cleanable.ratio",
        /// Shortest time a record stays uncompacted.
        log_cleaner_min_compaction_lag_ms: i64 = "log.cleaner.min.compaction.lag.ms",
        /// Threads that compact.
        log_cleaner_threads: i32 = "log.cleaner.threads",
        /// What happens to old segments: delete, compact or both.
        log_cleanup_policy: CleanupPolicy = "log.cleanup.policy",
        /// Unsynced records after which a log is synced.
        log_flush_interval_messages: i64 = "log.flush.interval.messages",
        /// Time after which unsynced records are synced.
        log_flush_interval_ms: i64 = "log.flush.interval.ms",
        /// Interval of the recovery point checkpoint.
        log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms",
        /// Interval of the search for logs that need a sync.
        log_flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms",
        /// Interval of the log start offset checkpoint.
        log_flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms",
        /// Bytes of log between two entries of the offset index.
        log_index_interval_bytes: i32 = "log.index.interval.bytes",
        /// Largest offset index file.
        log_index_size_max_bytes: i32 = "log.index.size.max.bytes",
        /// Wait after start before retention and flushing run.
        log_initial_task_delay_ms: i64 = "log.initial.task.delay.ms",
        /// Whether old clients get batches rewritten in their format.
        log_message_downconversion_enable: bool = "log.message.downconversion.enable",
        /// How far a timestamp may lie ahead of the broker's clock.
        log_message_timestamp_after_max_ms: i64 = "log.message.timestamp.after.max.ms",
        /// How far a timestamp may lie behind the broker's clock.
        log_message_timestamp_before_max_ms: i64 = "log.message.timestamp.before.max.ms",
        /// Deprecated: both of the two keys above.
        log_message_timestamp_difference_max_ms: i64 = "log.message.timestamp.difference.max.ms",
        /// Whose clock stamps records: CreateTime or LogAppendTime.
        log_message_timestamp_type: TimestampType = "log.message.timestamp.type",
        /// Whether segment files are allocated whole when created.
        log_preallocate: bool = "log.preallocate",
        /// Bytes a partition keeps; -1 is no bound.
        log_retention_bytes: i64 = "log.retention.bytes",
        /// Interval of the search for segments to delete.
        log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms",
        /// Time a segment is kept; -1 is for ever.
        log_retention_ms: i64 = "log.retention.ms",
        /// Time taken off the rolling age at random at most.
        log_roll_jitter_ms: i64 = "log.roll.jitter.ms",
        /// Age at which a segment is rolled.
        log_roll_ms: i64 = "log.roll.ms",
        /// Largest segment file.
        log_segment_bytes: i32 = "log.segment.bytes",
        /// How long a deleted segment's file stays.
        log_segment_delete_delay_ms: i64 = "log.segment.delete.delay.ms",
        /// New connections a second.
        max_connection_creation_rate: i32 = "max.connection.creation.rate",
        /// Connections at once.
        max_connections: i32 = "max.connections",
        /// Connections at once from one address.
        max_connections_per_ip: i32 = "max.connections.per.ip",
        /// Bounds for single addresses, as address:count.
        max_connections_per_ip_overrides: String = "max.connections.per.ip.overrides",
        /// Incremental fetch sessions kept.
        max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots",
        /// Most partitions in one DescribeTopicPartitions response.
        max_request_partition_size_limit: i32 = "max.request.partition.size.limit",
        /// Largest batch accepted.
        message_max_bytes: i32 = "message.max.bytes",
        /// Replicas that must be in sync for acks=all.
        min_insync_replicas: i32 = "min.insync.replicas",
        /// Threads that own connections and handle their requests.
        num_network_threads: Option<i32> = "num.network.threads",
        /// Partitions of a topic whose creator names no number.
        num_partitions: i32 = "num.partitions",
        /// Threads a log directory uses to load and recover logs.
        num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir",
        /// Threads that move replicas between directories; null is one a directory.
        num_replica_alter_log_dirs_threads: Option<i32> = "num.replica.alter.log.dirs.threads",
        /// Connections to each source broker for replication.
        num_replica_fetchers: i32 = "num.replica.fetchers",
        /// Longest text a client may store beside a committed offset.
        offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes",
        /// Acks of the write that stores a committed offset; only -1 is safe.
        offsets_commit_required_acks: i16 = "offsets.commit.required.acks",
        /// Longest wait of an offset commit for its replicas.
        offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms",
        /// Bytes read at once when a coordinator loads its offsets.
        offsets_load_buffer_size: i32 = "offsets.load.buffer.size",
        /// Interval of the search for stale offsets.
        offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms",
        /// How long an empty group keeps its offsets.
        offsets_retention_minutes: i32 = "offsets.retention.minutes",
        /// Compression of the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
        offsets_topic_compression_codec: i32 = "offsets.topic.compression.codec",
        /// Partitions of the offsets topic; never change it later.
        offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions",
        /// Replicas of the offsets topic.
        offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor",
        /// Segment size of the offsets topic.
        offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes",
        /// Interval of the search for idle producer ids.
        producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms",
        /// Idle time after which a producer id's state is dropped.
        producer_id_expiration_ms: i32 = "producer.id.expiration.ms",
        /// Bytes of requests read and not yet answered; -1 is no bound.
        queued_max_request_bytes: i64 = "queued.max.request.bytes",
        /// Bytes a second of moves between log directories.
        replica_alter_log_dirs_io_max_bytes_per_second: i64 = "replica.alter.log.dirs.io.max.bytes.per.second",
        /// Wait of a fetcher after an error.
        replica_fetch_backoff_ms: i32 = "replica.fetch.backoff.ms",
        /// Bytes of one partition in a replica's fetch.
        replica_fetch_max_bytes: i32 = "replica.fetch.max.bytes",
        /// Bytes a replica's fetch waits for.
        replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes",
        /// Bytes of a whole replica's fetch.
        replica_fetch_response_max_bytes: i32 = "replica.fetch.response.max.bytes",
        /// Longest wait of a replica's fetch.
        replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms",
        /// Interval of the high watermark checkpoint.
        replica_high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms",
        /// Time behind the leader after which a replica leaves the ISR.
        replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms",
        /// Which replica a consumer is sent to; null is the leader.
        replica_selector_class: Option<ReplicaSelector> = "replica.selector.class",
        /// Socket receive buffer of a fetcher.
        replica_socket_receive_buffer_bytes: i32 = "replica.socket.receive.buffer.bytes",
        /// Socket timeout of a fetcher.
        replica_socket_timeout_ms: i32 = "replica.socket.timeout.ms",
        /// Samples kept for replication quotas.
        replication_quota_window_num: i32 = "replication.quota.window.num",
        /// Length of one such sample.
        replication_quota_window_size_seconds: i32 = "replication.quota.window.size.seconds",
        /// Timeout of this broker's requests to others.
        request_timeout_ms: i32 = "request.timeout.ms",
        /// Highest broker number that may be chosen by hand.
        reserved_broker_max_id: i32 = "reserved.broker.max.id",
        /// Longest timeout of connecting to another broker.
        socket_connection_setup_timeout_max_ms: i64 = "socket.connection.setup.timeout.max.ms",
        /// First timeout of connecting to another broker.
        socket_connection_setup_timeout_ms: i64 = "socket.connection.setup.timeout.ms",
        /// Connections the kernel keeps until they are accepted.
        socket_listen_backlog_size: i32 = "socket.listen.backlog.size",
        /// Socket receive buffer; -1 leaves it to the kernel.
        socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes",
        /// Largest request; a larger one closes the connection.
        socket_request_max_bytes: i32 = "socket.request.max.bytes",
        /// Socket send buffer; -1 leaves it to the kernel.
        socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes",
        /// Longest timeout a transaction may ask for.
        transaction_max_timeout_ms: i32 = "transaction.max.timeout.ms",
        /// min.insync.replicas of the transaction topic.
        transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr",
        /// Partitions of the transaction topic.
        transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions",
        /// Replicas of the transaction topic.
        transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor",
        /// Segment size of the transaction topic.
        transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes",
        /// Idle time after which a transactional id is dropped.
        transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms",
        /// Whether a replica out of sync may lead when no other can.
        unclean_leader_election_enable: bool = "unclean.leader.election.enable",
        /// Addresses of the ZooKeeper ensemble, with a path; null keeps the coordination tree here.
        zookeeper_connect: Option<String> = "zookeeper.connect",
        /// Longest wait for ZooKeeper at start; null is the session's timeout.
        zookeeper_connection_timeout_ms: Option<i32> = "zookeeper.connection.timeout.ms",
        /// Requests to ZooKeeper without an answer.
        zookeeper_max_in_flight_requests: i32 = "zookeeper.max.in.flight.requests",
        /// Silence after which ZooKeeper drops the broker.
        zookeeper_session_timeout_ms: i32 = "zookeeper.session.timeout.ms",
        /// A new connection that sends no whole request for this long is closed.
        connections_first_request_timeout_ms: i64 = "connections.first.request.timeout.ms",
        /// What the admin port calls this process.
        admin_instance: String = "admin.instance",
        /// Address of the admin port; empty switches it off.
        admin_listener: String = "admin.listener",
        /// Address of the metrics page; empty switches it off.
        metrics_listener: String = "metrics.listener",
        /// Which partitions get series of their own.
        metrics_partitions: MetricsPartitions = "metrics.partitions",
        /// What acks=all waits for.
        ottla_durability: Durability = "ottla.durability",
    }
    derived {
        /// Addresses to listen on: `listeners`.
        listeners: Vec<Listener>,
        /// Addresses that clients are told: `advertised.listeners`, else `listeners`.
        advertised_listeners: Vec<Listener>,
        /// The listener that other brokers use.
        inter_broker_listener: Listener,
        /// The listener reserved for the controller: `control.plane.listener.name`.
        control_plane_listener: Option<Listener>,
        /// Log directories: `log.dirs`, else `log.dir`.
        log_dirs: Vec<PathBuf>,
        /// The texts that all of the above was read from.
        layers: Layers,
    }
}

impl BrokerConfig {
    /// Resolves a static configuration alone.
    ///
    /// # Errors
    /// Every fault found, each with its place; never empty.
    pub fn from_properties(properties: &Properties) -> Result<Self, Vec<ConfigError>> {
        let faults: Vec<ConfigError> = properties
            .iter()
            .filter_map(|(name, value)| {
                let checked = key::broker(name).and_then(|key| key.accept(value));
                checked.err().map(|error| error.at(properties.place(name)))
            })
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let layers = Layers { static_broker: properties.to_map(), ..Layers::default() };
        Self::resolve(layers).map_err(|error| vec![error])
    }

    /// Resolves all layers.
    ///
    /// # Errors
    /// The first key that is unknown, out of range or not served, or that contradicts another.
    pub fn resolve(layers: Layers) -> Result<Self, ConfigError> {
        for layer in [&layers.static_broker, &layers.dynamic_default, &layers.dynamic_broker] {
            for (name, value) in layer {
                key::broker(name)?.accept(value)?;
            }
        }
        let mut config = Self::read(&|name| layers.text(name))?;
        config.layers = layers;
        config.derive();
        config.check()?;
        Ok(config)
    }

    /// Lists keys that somebody set and that change nothing here, each with the reason.
    pub fn without_effect(&self) -> Vec<(String, &'static str)> {
        let layers = &self.layers;
        [&layers.static_broker, &layers.dynamic_default, &layers.dynamic_broker]
            .into_iter()
            .flat_map(|layer| layer.iter())
            .filter_map(|(name, value)| {
                let key = key::broker(name).ok()?;
                match key.status {
                    Status::NoEffect(reason) => {
                        (key.default != Some(value.trim())).then_some((name.clone(), reason))
                    }
                    Status::Honoured => {
                        let prefixed = key.name != name;
                        prefixed
                            .then(|| (name.clone(), "values of one listener are not served yet"))
                    }
                    Status::NotServedYet(_) | Status::NeverServed(_) => None,
                }
            })
            .collect()
    }

    /// Lists every broker key with its value, source and synonyms, as `DescribeConfigs` shows them.
    pub fn entries(&self) -> Vec<Entry> {
        key::broker_keys().map(|key| self.layers.entry(key)).collect()
    }

    /// Writes the static layer as `.properties` text.
    pub fn render(&self) -> String {
        let pairs = self.layers.static_broker.iter();
        render::render(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Returns what a listener speaks.
    pub fn security_protocol(&self, listener: &Listener) -> Option<SecurityProtocol> {
        items(&self.listener_security_protocol_map).find_map(|pair| {
            let (name, protocol) = pair.split_once(':')?;
            (name.trim().eq_ignore_ascii_case(&listener.name))
                .then(|| crate::value::Value::parse(Some(protocol)))
                .flatten()
        })
    }

    /// Returns how many network threads to run on a machine of `cores` cores.
    pub fn network_threads(&self, cores: usize) -> usize {
        self.num_network_threads.map_or(cores.max(1), |threads| threads.max(1) as usize)
    }

    /// Returns how many connections one address may hold.
    pub fn max_connections_of(&self, address: IpAddr) -> i32 {
        items(&self.max_connections_per_ip_overrides)
            .find_map(|text| {
                let (host, count) = listener::address_count(text)?;
                (host == address).then_some(count)
            })
            .unwrap_or(self.max_connections_per_ip)
    }

    /// Returns where the metrics page is served: host and port, or nothing if it is off.
    pub fn metrics_address(&self) -> Option<(&str, u16)> {
        listener::host_and_port(&self.metrics_listener)
    }

    /// Returns where the admin port is served: host and port, or nothing if it is off.
    pub fn admin_address(&self) -> Option<(&str, u16)> {
        listener::host_and_port(&self.admin_listener)
    }

    /// Lists the settings of the file and the arguments, as written. Passwords are left out, and so is what
    /// is set for a plug-in or one listener, of which nobody knows what is secret.
    pub fn static_settings(&self) -> BTreeMap<String, String> {
        let is_shown = |name: &str| {
            key::broker(name).is_ok_and(|key| key.name == name && key.kind != key::Kind::Password)
        };
        let written = self.layers.static_broker.iter().filter(|(name, _)| is_shown(name));
        written.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Names all settings of the file and the arguments by 16 hexadecimal digits: FNV-1a over keys and values, each
    /// with its length. It tells two starts apart, and guards against nobody.
    pub fn static_digest(&self) -> String {
        let texts = self.layers.static_broker.iter().flat_map(|(key, value)| [key, value]);
        let bytes = texts
            .flat_map(|text| (text.len() as u64).to_be_bytes().into_iter().chain(text.bytes()));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    /// Returns the broker's id; -1 where ZooKeeper is to give one.
    ///
    /// The standalone broker is 0 unless it is told otherwise.
    pub fn id(&self) -> i32 {
        self.broker_id
    }

    fn derive_defaults(&mut self) {
        self.derive();
    }

    fn derive(&mut self) {
        let text = |name| self.layers.text(name).unwrap_or_default();
        let read = |name| items(&text(name)).filter_map(Listener::parse).collect::<Vec<_>>();
        let listeners = read("listeners");
        let advertised = read("advertised.listeners");
        let dirs = self.layers.text("log.dirs").unwrap_or_else(|| text("log.dir"));
        self.log_dirs = items(&dirs).map(PathBuf::from).collect();
        self.advertised_listeners =
            if advertised.is_empty() { listeners.clone() } else { advertised };
        let named = |wanted: &str| {
            listeners.iter().find(|listener| listener.name.eq_ignore_ascii_case(wanted)).cloned()
        };
        let wanted = self.inter_broker_listener_name.as_deref().unwrap_or("PLAINTEXT");
        self.inter_broker_listener = named(wanted).unwrap_or_default();
        self.control_plane_listener = self.control_plane_listener_name.as_deref().and_then(named);
        self.listeners = listeners;
    }

    fn check(&self) -> Result<(), ConfigError> {
        let conflict =
            |key, other, reason: String| Err(ConfigError::Conflict { key, other, reason });
        for (index, listener) in self.listeners.iter().enumerate() {
            let earlier = &self.listeners[..index];
            if earlier.iter().any(|other| other.name == listener.name) {
                return conflict(
                    "listeners",
                    "listeners",
                    format!("{} is there twice", listener.name),
                );
            }
            let taken = |other: &Listener| {
                other.port == listener.port && other.host == listener.host && listener.port != 0
            };
            if earlier.iter().any(taken) {
                return conflict("listeners", "listeners", format!("{listener} is taken twice"));
            }
            match self.security_protocol(listener) {
                Some(SecurityProtocol::Plaintext) => {}
                Some(protocol) => {
                    let reason = format!("{listener} speaks {protocol}, which is not served yet");
                    return conflict("listeners", "listener.security.protocol.map", reason);
                }
                None => {
                    let reason = format!("the map does not name {}", listener.name);
                    return conflict("listeners", "listener.security.protocol.map", reason);
                }
            }
        }
        for advertised in &self.advertised_listeners {
            if !self.listeners.iter().any(|listener| listener.name == advertised.name) {
                let reason = format!("{advertised} has no listener of that name");
                return conflict("advertised.listeners", "listeners", reason);
            }
            if advertised.host == "0.0.0.0" || advertised.host == "::" {
                let reason = format!("clients cannot reach {advertised}: name a host");
                return conflict("advertised.listeners", "listeners", reason);
            }
        }
        self.check_sizes()?;
        self.check_peers()
    }

    /// Checks what matters between brokers.
    fn check_peers(&self) -> Result<(), ConfigError> {
        let conflict = |key, other, reason: &str| {
            Err(ConfigError::Conflict { key, other, reason: reason.to_owned() })
        };
        if self.inter_broker_listener.name.is_empty() {
            let reason = "no listener has the name that other brokers use";
            return conflict("inter.broker.listener.name", "listeners", reason);
        }
        if self.control_plane_listener_name.is_some() {
            let Some(listener) = &self.control_plane_listener else {
                let reason = "no listener has the name that the controller uses";
                return conflict("control.plane.listener.name", "listeners", reason);
            };
            if listener.name == self.inter_broker_listener.name {
                let reason = "the controller's listener must be another than that of replication";
                return conflict(
                    "control.plane.listener.name",
                    "inter.broker.listener.name",
                    reason,
                );
            }
        }
        if self.zookeeper_connect.is_some() && self.inter_broker_protocol_version < OLDEST_RELEASE {
            let reason = "replicas of before 0.11 copy records in formats that are not stored here: \
                          0.11.0 is the oldest";
            return conflict("inter.broker.protocol.version", "zookeeper.connect", reason);
        }
        self.check_id()
    }

    /// Checks the broker's number: chosen by hand, or given by ZooKeeper above those.
    fn check_id(&self) -> Result<(), ConfigError> {
        let conflict =
            |other, reason: String| Err(ConfigError::Conflict { key: "broker.id", other, reason });
        if self.zookeeper_connect.is_none() {
            if self.broker_id < 0 {
                let reason = "only ZooKeeper gives numbers".to_owned();
                return conflict("zookeeper.connect", reason);
            }
        } else if !self.broker_id_generation_enable {
            if self.broker_id < 0 {
                let reason = "a number must be chosen where none is given".to_owned();
                return conflict("broker.id.generation.enable", reason);
            }
        } else if self.broker_id > self.reserved_broker_max_id {
            let most = self.reserved_broker_max_id;
            let reason = format!("numbers above {most} are given by ZooKeeper");
            return conflict("reserved.broker.max.id", reason);
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        let conflict =
            |key, other, reason: String| Err(ConfigError::Conflict { key, other, reason });
        if self.listeners.is_empty() {
            return conflict("listeners", "listeners", "there must be one".to_owned());
        }
        if self.log_dirs.is_empty() {
            return conflict("log.dirs", "log.dir", "there must be one".to_owned());
        }
        if self.group_min_session_timeout_ms > self.group_max_session_timeout_ms {
            let reason = "the shortest timeout exceeds the longest".to_owned();
            return conflict(
                "group.min.session.timeout.ms",
                "group.max.session.timeout.ms",
                reason,
            );
        }
        if self.queued_max_request_bytes > 0
            && self.queued_max_request_bytes < i64::from(self.socket_request_max_bytes)
        {
            let reason =
                format!("one request of {} bytes would never fit", self.socket_request_max_bytes);
            return conflict("queued.max.request.bytes", "socket.request.max.bytes", reason);
        }
        Ok(())
    }
}

/// Finds the row of a key, for documentation and scope.
pub fn key(name: &str) -> Option<&'static Key> {
    key::find(name)
}

#[cfg(test)]
mod tests;
