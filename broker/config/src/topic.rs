//! The configuration of one topic, typed: what storage and replication read.
//!
//! A value is the topic's override, else the broker's value of the key's `log.*` synonym, else the
//! default. Source: Kafka 3.9 `LogConfig` and `ServerTopicConfigSynonyms`.

use std::collections::BTreeMap;

use crate::{
    broker::BrokerConfig,
    dynamic::{self, Entry, Layers},
    error::ConfigError,
    key::{self, Status},
};

pub use crate::value::{
    CleanupPolicy, CompressionType, Durability, ThrottledReplicas, TimestampType,
};

crate::settings::settings! {
    /// Every topic key of Kafka 3.9 and ours. Times in milliseconds, sizes in bytes.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TopicConfig {
        /// Whether old segments are deleted, compacted or both.
        cleanup_policy: CleanupPolicy = "cleanup.policy",
        /// Level of gzip, 1-9; -1 is the library's own choice.
        compression_gzip_level: i32 = "compression.gzip.level",
        /// Level of LZ4, 1-17.
        compression_lz4_level: i32 = "compression.lz4.level",
        /// How batches are compressed on disk.
        compression_type: CompressionType = "compression.type",
        /// Level of Zstandard, -131072 to 22.
        compression_zstd_level: i32 = "compression.zstd.level",
        /// How long a tombstone outlives the compaction that saw it.
        delete_retention_ms: i64 = "delete.retention.ms",
        /// How long a deleted segment's file stays.
        file_delete_delay_ms: i64 = "file.delete.delay.ms",
        /// Unsynced records after which the log is synced.
        flush_messages: i64 = "flush.messages",
        /// Time after which unsynced records are synced.
        flush_ms: i64 = "flush.ms",
        /// `partition:broker` pairs whose follower side is throttled; `*` is all.
        follower_replication_throttled_replicas: ThrottledReplicas =
            "follower.replication.throttled.replicas",
        /// Bytes of log between two entries of the offset index.
        index_interval_bytes: i32 = "index.interval.bytes",
        /// `partition:broker` pairs whose leader side is throttled; `*` is all.
        leader_replication_throttled_replicas: ThrottledReplicas =
            "leader.replication.throttled.replicas",
        /// Tiered storage: bytes kept locally; -2 follows `retention.bytes`.
        local_retention_bytes: i64 = "local.retention.bytes",
        /// Tiered storage: time kept locally; -2 follows `retention.ms`.
        local_retention_ms: i64 = "local.retention.ms",
        /// Longest time a record stays uncompacted.
        max_compaction_lag_ms: i64 = "max.compaction.lag.ms",
        /// Largest batch accepted.
        max_message_bytes: i32 = "max.message.bytes",
        /// Whether old clients get batches rewritten in their format.
        message_downconversion_enable: bool = "message.downconversion.enable",
        /// Deprecated by Kafka 3.0, read and ignored: batches are always v2.
        message_format_version: String = "message.format.version",
        /// How far a timestamp may lie ahead of the broker's clock.
        message_timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms",
        /// How far a timestamp may lie behind the broker's clock.
        message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms",
        /// Deprecated form of the two above.
        message_timestamp_difference_max_ms: i64 = "message.timestamp.difference.max.ms",
        /// Whose clock stamps records.
        message_timestamp_type: TimestampType = "message.timestamp.type",
        /// Share of uncompacted bytes, 0 to 1, from which compaction starts.
        min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio",
        /// Shortest time a record stays uncompacted.
        min_compaction_lag_ms: i64 = "min.compaction.lag.ms",
        /// Replicas that must be in sync for `acks=all`.
        min_insync_replicas: i32 = "min.insync.replicas",
        /// What `acks=all` waits for.
        durability: Durability = "ottla.durability",
        /// Whether segment files are allocated whole when created.
        preallocate: bool = "preallocate",
        /// Tiered storage: copying is stopped.
        remote_log_copy_disable: bool = "remote.log.copy.disable",
        /// Tiered storage: remote data goes when the topic leaves the tier.
        remote_log_delete_on_disable: bool = "remote.log.delete.on.disable",
        /// Tiered storage; not served.
        remote_storage_enable: bool = "remote.storage.enable",
        /// Bytes a partition keeps; -1 is no bound.
        retention_bytes: i64 = "retention.bytes",
        /// Time a segment is kept; -1 is for ever.
        retention_ms: i64 = "retention.ms",
        /// Largest segment file.
        segment_bytes: i32 = "segment.bytes",
        /// Largest offset index file.
        segment_index_bytes: i32 = "segment.index.bytes",
        /// Upper bound of what is taken off `segment.ms` at random.
        segment_jitter_ms: i64 = "segment.jitter.ms",
        /// Age at which the active segment is rolled.
        segment_ms: i64 = "segment.ms",
        /// Whether a replica out of sync may lead when no other can.
        unclean_leader_election_enable: bool = "unclean.leader.election.enable",
    }
    derived {}
}

impl TopicConfig {
    /// Resolves a topic's overrides over the broker's values.
    ///
    /// # Errors
    /// An override that is unknown, out of range or not served, or two that contradict.
    pub fn resolve(
        broker: &BrokerConfig,
        overrides: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in overrides {
            key::topic(name)?.accept(value)?;
        }
        let mut config = Self::read(&|name| text_of(&broker.layers, overrides, name))?;
        if config.message_timestamp_before_max_ms == i64::MAX {
            // The deprecated key counts only where the new one was left alone (KIP-937).
            config.message_timestamp_before_max_ms = config.message_timestamp_difference_max_ms;
        }
        if config.message_timestamp_after_max_ms == i64::MAX {
            config.message_timestamp_after_max_ms = config.message_timestamp_difference_max_ms;
        }
        config.check()?;
        Ok(config)
    }

    /// Lists overrides that change nothing here, each with the reason.
    pub fn without_effect(
        overrides: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&str, &'static str)> {
        overrides.iter().filter_map(|(name, value)| {
            let key = key::topic(name).ok()?;
            let Status::NoEffect(reason) = key.status else { return None };
            (key.default != Some(value.trim())).then_some((name.as_str(), reason))
        })
    }

    /// Lists every topic key with its value, source and synonyms, as `DescribeConfigs` shows them.
    pub fn entries(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Vec<Entry> {
        key::topic_keys().map(|key| dynamic::topic_entry(&broker.layers, overrides, key)).collect()
    }

    // Nothing is derived; `Default` calls this for every struct of settings.
    #[allow(clippy::unused_self, reason = "the macro calls it as a method")]
    fn derive_defaults(&mut self) {}

    fn check(&self) -> Result<(), ConfigError> {
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms {
            return Err(ConfigError::Conflict {
                key: "min.compaction.lag.ms",
                other: "max.compaction.lag.ms",
                reason: format!(
                    "the shortest lag {} exceeds the longest {}",
                    self.min_compaction_lag_ms, self.max_compaction_lag_ms
                ),
            });
        }
        Ok(())
    }
}

fn text_of(
    layers: &Layers,
    overrides: &BTreeMap<String, String>,
    name: &'static str,
) -> Option<String> {
    if let Some(value) = overrides.get(name) {
        return Some(value.clone());
    }
    key::find_topic(name).and_then(|key| dynamic::inherited(layers, key))
}
