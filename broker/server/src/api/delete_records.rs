//! DeleteRecords: moves the start of logs.

use std::borrow::Cow;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use broker_protocol::quantity::Offset;

use super::RequestContext;
use crate::context::Context;
use crate::metadata::is_internal;

/// Deletes what lies below each partition's offset.
///
/// Off the network thread: the new starts are made durable before the answer.
pub(crate) async fn delete_records(
    context: &Arc<Context>,
    request: DeleteRecordsRequest<'_>,
    _rc: &RequestContext<'_>,
) -> DeleteRecordsResponse<'static> {
    let asked: Vec<_> = request
        .topics
        .into_iter()
        .map(|topic| (topic.name.into_owned(), topic.partitions))
        .collect();
    let context = Arc::clone(context);
    let deleting = tokio::task::spawn_blocking(move || {
        let topics = asked.into_iter().map(|(name, partitions)| DeleteRecordsTopicResult {
            partitions: partitions.iter().map(|asked| result(&context, &name, asked)).collect(),
            name: Cow::Owned(name),
        });
        topics.collect()
    });
    let topics = deleting.await.unwrap_or_else(|error| {
        tracing::error!(%error, "deletion of records was cut short");
        Vec::new()
    });
    DeleteRecordsResponse { topics, ..Default::default() }
}

fn result(
    context: &Context,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let partition_index = asked.partition_index;
    match delete(context, topic, asked) {
        Ok(low_watermark) => DeleteRecordsPartitionResult {
            partition_index,
            low_watermark: low_watermark.0,
            error_code: ErrorCode::None.code(),
        },
        Err(code) => DeleteRecordsPartitionResult {
            partition_index,
            low_watermark: -1,
            error_code: code.code(),
        },
    }
}

fn delete(
    context: &Context,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, ErrorCode> {
    if is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = context
        .replicas
        .partition(topic, asked.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let offset = Offset(asked.offset);
    context.replicas.delete_records(&partition, offset).map_err(|error| ErrorCode::from(&error))
}
