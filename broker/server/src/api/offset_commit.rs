//! OffsetCommit: remembers offsets of a group.
//!
//! Version 0 is of consumers that keep their offsets in the coordination tree: so does this.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use broker_protocol::topic_partition::TopicPartition;
use broker_zookeeper::path;

use super::RequestContext;
use super::group_code::{identity, unexpected};
use crate::context::Context;
use crate::controller::membership::ensure;
use crate::group::state::request::{Commit, CommittedOffset, Reply, Request};

/// From this version on topics are named by id.
const TOPIC_IDS_FROM: i16 = 10;

/// What becomes of each partition, by its place in the request.
type Codes = BTreeMap<(usize, usize), ErrorCode>;

/// Answers once the offsets are written down.
pub(crate) async fn offset_commit(
    context: &Context,
    request: OffsetCommitRequest<'_>,
    rc: &RequestContext<'_>,
) -> OffsetCommitResponse<'static> {
    let mut codes = Codes::new();
    let mut offsets = Vec::new();
    let mut places = Vec::new();
    let now = context.clock.wall().0;
    for (place, partition) in known(context, &request, rc.api_version, &mut codes) {
        let asked = &request.topics[place.0].partitions[place.1];
        offsets.push((partition, committed(&request, asked, now)));
        places.push(place);
    }
    if rc.api_version == 0 {
        for (place, (partition, committed)) in places.into_iter().zip(offsets) {
            codes.insert(place, keep(context, &request.group_id, &partition, &committed).await);
        }
    } else if !offsets.is_empty() {
        let instance = request.group_instance_id.as_deref();
        let identity =
            identity(request.generation_id_or_member_epoch, &request.member_id, instance);
        let commit = Request::Commit(Commit { identity, offsets });
        let reply = context.groups.ask(&request.group_id, commit).await;
        let error = unexpected(&reply);
        let outcome = if let Reply::Codes(outcome) = reply { outcome } else { Err(error) };
        for (at, place) in places.into_iter().enumerate() {
            let code = outcome.as_ref().map(|codes| codes.get(at).copied().unwrap_or_default());
            codes.insert(place, code.unwrap_or_else(|error| *error));
        }
    }
    respond(&request, &codes)
}

/// The partitions that exist, by their place; the code of each other one goes to `codes`.
fn known(
    context: &Context,
    request: &OffsetCommitRequest<'_>,
    version: i16,
    codes: &mut Codes,
) -> Vec<((usize, usize), TopicPartition)> {
    let metadata = context.metadata.load();
    let mut known = Vec::new();
    for (at, topic) in request.topics.iter().enumerate() {
        let by_id = version >= TOPIC_IDS_FROM;
        let found =
            if by_id { metadata.topic_by_id(topic.topic_id) } else { metadata.topic(&topic.name) };
        let count = found.map_or(0, |found| found.partitions.len() as i64);
        for (place, partition) in topic.partitions.iter().enumerate() {
            let partition = partition.partition_index;
            let code = match found {
                Some(found) if (0..count).contains(&i64::from(partition)) => {
                    let topic = Arc::clone(&found.name);
                    known.push(((at, place), TopicPartition { topic, partition }));
                    continue;
                }
                None if by_id => ErrorCode::UnknownTopicId,
                _ => ErrorCode::UnknownTopicOrPartition,
            };
            codes.insert((at, place), code);
        }
    }
    known
}

fn committed(
    request: &OffsetCommitRequest<'_>,
    partition: &OffsetCommitRequestPartition<'_>,
    now: i64,
) -> CommittedOffset {
    // Only version 1 lets the client say when; only versions 2 to 4 for how long.
    let given = partition.commit_timestamp;
    CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: Arc::from(partition.committed_metadata.as_deref().unwrap_or("")),
        commit_timestamp: if given == -1 { now } else { given },
        expire_timestamp: (request.retention_time_ms >= 0)
            .then(|| now.saturating_add(request.retention_time_ms)),
    }
}

/// Keeps an offset in the coordination tree, as decimal text.
async fn keep(
    context: &Context,
    group_id: &str,
    partition: &TopicPartition,
    committed: &CommittedOffset,
) -> ErrorCode {
    let limit = context.config.load().offset_metadata_max_bytes.max(0) as usize;
    if committed.metadata.len() > limit {
        return ErrorCode::OffsetMetadataTooLarge;
    }
    if group_id.is_empty() || group_id.contains('/') {
        return ErrorCode::InvalidGroupId;
    }
    let store = context.admin.store();
    let node = path::consumer_offset(group_id, &partition.topic, partition.partition);
    let text = committed.offset.to_string();
    for parent in path::parents(&node) {
        if let Err(error) = ensure(&**store, parent, b"").await {
            tracing::warn!(%error, node, "offset not kept");
            return ErrorCode::UnknownServerError;
        }
    }
    let kept = match ensure(&**store, &node, text.as_bytes()).await {
        Ok(()) => store.set(&node, text.as_bytes(), None).await.map(drop),
        Err(error) => {
            tracing::warn!(%error, node, "offset not kept");
            return ErrorCode::UnknownServerError;
        }
    };
    match kept {
        Ok(()) => ErrorCode::None,
        Err(error) => {
            tracing::warn!(%error, node, "offset not kept");
            ErrorCode::UnknownServerError
        }
    }
}

fn respond(request: &OffsetCommitRequest<'_>, codes: &Codes) -> OffsetCommitResponse<'static> {
    let topics = request.topics.iter().enumerate().map(|(at, topic)| {
        let partitions = topic.partitions.iter().enumerate().map(|(place, partition)| {
            let code = codes.get(&(at, place)).copied().unwrap_or_default();
            OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
            }
        });
        OffsetCommitResponseTopic {
            name: Cow::Owned(topic.name.to_string()),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}
