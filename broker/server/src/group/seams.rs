//! What the groups stand on: the broker's other parts, and the settings that are the groups'.

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::record::batch::Attributes;
use broker_protocol::record::compression::Compression;
use broker_zookeeper::store::Store;

use super::state::Limits;
use crate::clock::SharedClock;
use crate::dynamic_config::SharedConfig;
use crate::metadata::Cache;
use crate::replica::manager::Manager;
use crate::tasks::Tasks;

/// What the coordinator stands on.
#[derive(Debug)]
pub struct Seams {
    /// Where the offsets topic is kept, and what is led of it here.
    pub replicas: Arc<Manager>,
    /// How many partitions it has, and which topics are known.
    pub metadata: Arc<Cache>,
    /// Where it is written which topics there are.
    pub store: Arc<dyn Store>,
    /// The limits of groups.
    pub config: SharedConfig,
    /// The source of time.
    pub clock: SharedClock,
    /// The set that every task is spawned in.
    pub tasks: Tasks,
}

impl Seams {
    /// The limits as they are configured now.
    pub(crate) fn limits(&self) -> Limits {
        let config = self.config.load();
        let delay_ms = config.group_initial_rebalance_delay_ms.max(0) as u64;
        Limits {
            min_session_timeout_ms: config.group_min_session_timeout_ms,
            max_session_timeout_ms: config.group_max_session_timeout_ms,
            max_size: config.group_max_size.max(1) as usize,
            initial_rebalance_delay: Duration::from_millis(delay_ms),
            offset_metadata_max_bytes: config.offset_metadata_max_bytes.max(0) as usize,
            offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        }
    }

    /// How often expired offsets are looked for.
    pub(crate) fn check_interval(&self) -> Duration {
        let interval_ms = self.config.load().offsets_retention_check_interval_ms;
        Duration::from_millis(interval_ms.max(1) as u64)
    }

    /// How what is appended is compressed. The setting has the numbers that batches have.
    pub(crate) fn compression(&self) -> Compression {
        let codec = self.config.load().offsets_topic_compression_codec;
        Attributes(codec as i16).compression().unwrap_or_default()
    }

    /// How long an append may take to be acknowledged.
    pub(crate) fn commit_timeout(&self) -> Duration {
        Duration::from_millis(self.config.load().offsets_commit_timeout_ms.max(1) as u64)
    }
}
