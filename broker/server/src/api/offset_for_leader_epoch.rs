//! OffsetForLeaderEpoch: where the leaders' epochs end, so that a client finds where its log parted.

use std::borrow::Cow;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use broker_protocol::quantity::{BrokerId, LeaderEpoch};

use super::RequestContext;
use super::brokers::is_replica;
use crate::context::Context;

/// Looks every epoch up.
#[allow(clippy::unused_async, reason = "dispatch awaits these handlers all alike")]
pub(crate) async fn offset_for_leader_epoch(
    context: &Arc<Context>,
    request: OffsetForLeaderEpochRequest<'_>,
    rc: &RequestContext<'_>,
) -> OffsetForLeaderEpochResponse<'static> {
    // Before version 3 the request does not say who asks.
    let says_broker = rc.api_version >= 3 && request.replica_id >= 0;
    let is_refused = says_broker && !is_replica(context, rc, BrokerId(request.replica_id));
    let topics = request
        .topics
        .iter()
        .map(|topic| OffsetForLeaderTopicResult {
            topic: Cow::Owned(topic.topic.to_string()),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| look_up(context, &topic.topic, partition, is_refused))
                .collect(),
        })
        .collect();
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

fn look_up(
    context: &Context,
    topic: &str,
    asked: &OffsetForLeaderPartition,
    is_refused: bool,
) -> EpochEndOffset {
    let failed = |code: ErrorCode| EpochEndOffset {
        error_code: code.code(),
        partition: asked.partition,
        ..Default::default()
    };
    if is_refused {
        return failed(ErrorCode::ClusterAuthorizationFailed);
    }
    let Some(partition) = context.replicas.partition(topic, asked.partition) else {
        return failed(ErrorCode::UnknownTopicOrPartition);
    };
    let current = LeaderEpoch(asked.current_leader_epoch);
    match partition.end_offset_for_epoch(LeaderEpoch(asked.leader_epoch), current) {
        Ok(end) => EpochEndOffset {
            error_code: ErrorCode::None.code(),
            partition: asked.partition,
            leader_epoch: end.leader_epoch.0,
            end_offset: end.end_offset.0,
        },
        Err(error) => failed(ErrorCode::from(&error)),
    }
}
