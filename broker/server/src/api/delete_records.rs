//! DeleteRecords: moves the start of logs, and waits for the other replicas to follow.
//!
//! Source: Kafka 3.9 `ReplicaManager.deleteRecords` and `DelayedDeleteRecords`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use broker_protocol::quantity::Offset;

use super::RequestContext;
use crate::context::Context;
use crate::metadata::{Metadata, is_internal};
use crate::replica::partition::Partition;

/// Deletes what lies below each partition's offset; answers once it is gone from all replicas that live,
/// or once the request's time is over.
///
/// Off the network thread: the new starts are made durable before the answer.
pub(crate) async fn delete_records(
    context: &Arc<Context>,
    request: DeleteRecordsRequest<'_>,
    _rc: &RequestContext<'_>,
) -> DeleteRecordsResponse<'static> {
    let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let deadline = context.clock.now() + timeout;
    let asked: Vec<_> = request
        .topics
        .into_iter()
        .map(|topic| (topic.name.into_owned(), topic.partitions))
        .collect();
    let deleting_context = Arc::clone(context);
    let deleting = tokio::task::spawn_blocking(move || {
        let of_topic = |(name, asked): (String, Vec<DeleteRecordsPartition>)| {
            let deletions =
                asked.iter().map(|asked| Deletion::begin(&deleting_context, &name, asked));
            let deletions: Vec<_> = deletions.collect();
            (name, deletions)
        };
        asked.into_iter().map(of_topic).collect()
    });
    let mut topics: Vec<(String, Vec<Deletion>)> = deleting.await.unwrap_or_else(|error| {
        tracing::error!(%error, "deletion of records was cut short");
        Vec::new()
    });
    let deletions = topics.iter_mut().flat_map(|(_, deletions)| deletions);
    settle(context, deletions.collect(), deadline).await;
    let topics = topics.into_iter().map(|(name, deletions)| DeleteRecordsTopicResult {
        name: Cow::Owned(name),
        partitions: deletions.iter().map(Deletion::result).collect(),
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}

/// Waits until every deletion has settled, or until `deadline`.
async fn settle(context: &Context, mut deletions: Vec<&mut Deletion>, deadline: Instant) {
    let mut starts = context.replicas.attention().log_starts();
    loop {
        // Marked as seen before the partitions are looked at.
        starts.borrow_and_update();
        let metadata = context.metadata.load();
        deletions.retain_mut(|deletion| !deletion.look(&metadata));
        if deletions.is_empty() {
            return;
        }
        let moved = async {
            tokio::select! {
                _ = starts.changed() => {}
                // A broker that is no more is not waited for.
                _ = context.metadata.wait_until(|m| !std::ptr::eq(m, &raw const *metadata)) => {}
            }
        };
        if tokio::time::timeout_at(deadline.into(), moved).await.is_err() {
            return;
        }
    }
}

/// What becomes of the records of one partition.
struct Deletion {
    partition_index: i32,
    /// Whom it waits for, and the offset that all replicas are to begin at.
    waits_for: Option<(Arc<Partition>, Offset)>,
    low_watermark: Offset,
    error: ErrorCode,
}

impl Deletion {
    /// Deletes here. Waits for the disk.
    fn begin(context: &Context, topic: &str, asked: &DeleteRecordsPartition) -> Self {
        let partition_index = asked.partition_index;
        match delete(context, topic, asked) {
            Ok((partition, required)) => Self {
                partition_index,
                waits_for: Some((partition, required)),
                low_watermark: Offset(-1),
                error: ErrorCode::RequestTimedOut,
            },
            Err(error) => {
                Self { partition_index, waits_for: None, low_watermark: Offset(-1), error }
            }
        }
    }

    /// Looks how far the replicas are. Returns whether nothing is waited for any more.
    fn look(&mut self, metadata: &Metadata) -> bool {
        let Some((partition, required)) = &self.waits_for else { return true };
        match partition.low_watermark(&|broker| metadata.brokers.contains_key(&broker)) {
            Ok(low_watermark) => {
                self.low_watermark = low_watermark;
                if low_watermark < *required {
                    return false;
                }
                self.error = ErrorCode::None;
            }
            Err(error) => self.error = ErrorCode::from(&error),
        }
        self.waits_for = None;
        true
    }

    fn result(&self) -> DeleteRecordsPartitionResult {
        DeleteRecordsPartitionResult {
            partition_index: self.partition_index,
            low_watermark: self.low_watermark.0,
            error_code: self.error.code(),
        }
    }
}

/// Deletes here; returns the offset that every replica is to begin at.
fn delete(
    context: &Context,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<(Arc<Partition>, Offset), ErrorCode> {
    if is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = context
        .replicas
        .partition(topic, asked.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let offset = Offset(asked.offset);
    let deleted = context.replicas.delete_records(&partition, offset);
    let start = deleted.map_err(|error| ErrorCode::from(&error))?;
    let required = if offset.0 < 0 { start } else { offset.min(start) };
    Ok((partition, required))
}
