//! Logs that are being copied into this directory from another of the same broker: made beside the log of
//! that name, and put in its place once they have all of it.
//!
//! Source: Kafka 3.9 `LogManager.getOrCreateLog` (`isFuture`), `replaceCurrentWithFutureLog`.

use std::path::PathBuf;
use std::sync::Arc;

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;

use super::delete::random_id;
use super::{CreateError, LogDir, NewLog};
use crate::format::{dir_name, future_dir_name};
use crate::log::Log;
use crate::recovery::{self, LoadOptions};

impl LogDir {
    /// Creates an empty log in `<topic>-<partition>.<id>-future`, durably.
    ///
    /// # Errors
    /// As [`LogDir::create_logs`].
    pub fn create_future(&self, new: NewLog, now: TimestampMs) -> Result<Log, CreateError> {
        let path = self.path().join(future_dir_name(&new.partition, &random_id()));
        self.create_durably(vec![(path, new)], now)?
            .pop()
            .ok_or_else(|| unreachable!("one was asked for"))
    }

    /// Gives a future log, which was closed, the name of a log that is in use, durably, and opens it as
    /// that: until the other is renamed away there are two of that name, of which the larger counts.
    ///
    /// # Errors
    /// The log cannot be renamed or opened. It is then as it was, or an ordinary log to the next start.
    pub fn adopt_future(&self, future: &Log, now: TimestampMs) -> Result<Log, CreateError> {
        let partition = future.partition().clone();
        let dir = self.path().join(dir_name(&partition));
        let io = |source| CreateError::Io { dir: dir.clone(), source };
        let adopt = || {
            self.fs().rename(future.dir(), &dir).map_err(io)?;
            self.sync().map_err(io)?;
            let options = LoadOptions {
                partition: partition.clone(),
                config: Arc::clone(future.config()),
                is_clean: true,
                recovery_point: future.log_end_offset(),
                log_start_offset: Some(future.log_start_offset()),
                now,
                producer_id_expiration_ms: i64::MAX,
            };
            Ok(recovery::load(self.fs(), dir.clone(), options)?.0)
        };
        let adopted = adopt();
        if let Err(error) = &adopted {
            self.note_create_error(error);
        }
        adopted
    }

    /// Opens a future log that a past process left, all of it looked at; `None` if that is of no use.
    pub(super) fn load_future(
        &self,
        path: PathBuf,
        partition: TopicPartition,
        config: Arc<TopicConfig>,
        now: TimestampMs,
    ) -> Option<Log> {
        let options = LoadOptions {
            partition,
            config,
            is_clean: false,
            recovery_point: Offset(0),
            log_start_offset: None,
            now,
            producer_id_expiration_ms: i64::MAX,
        };
        let dir = path.display().to_string();
        let loaded = recovery::load(self.fs(), path, options);
        loaded
            .inspect_err(|error| tracing::warn!(dir, %error, "a log that was moved is left alone"))
            .ok()
            .map(|(log, _)| log)
    }
}
