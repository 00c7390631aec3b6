//! OffsetDelete: forgets offsets of topics that no member of the group reads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use broker_protocol::topic_partition::TopicPartition;

use super::RequestContext;
use super::group_code::unexpected;
use crate::context::Context;
use crate::group::state::request::{Reply, Request};
use crate::metadata::Metadata;

/// Answers once the deletions are written down.
pub(crate) async fn offset_delete(
    context: &Context,
    request: OffsetDeleteRequest<'_>,
    _: &RequestContext<'_>,
) -> OffsetDeleteResponse<'static> {
    let known = known(&request, &context.metadata.load());
    let codes = if request.group_id.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else {
        let deletion = Request::DeleteOffsets(known.clone());
        let reply = context.groups.ask(&request.group_id, deletion).await;
        let error = unexpected(&reply);
        if let Reply::Codes(codes) = reply { codes } else { Err(error) }
    };
    let codes: BTreeMap<_, _> = match codes {
        Ok(codes) => known.into_iter().zip(codes).collect(),
        Err(error) => {
            return OffsetDeleteResponse { error_code: error.code(), ..Default::default() };
        }
    };
    let topics = request.topics.iter().map(|topic| {
        let name: Arc<str> = Arc::from(&*topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let partition_index = partition.partition_index;
            let key = TopicPartition { topic: Arc::clone(&name), partition: partition_index };
            let unknown = ErrorCode::UnknownTopicOrPartition;
            let code = codes.get(&key).copied().unwrap_or(unknown);
            OffsetDeleteResponsePartition { partition_index, error_code: code.code() }
        });
        OffsetDeleteResponseTopic {
            name: Cow::Owned(topic.name.to_string()),
            partitions: partitions.collect(),
        }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}

/// The partitions of the request that exist.
fn known(request: &OffsetDeleteRequest<'_>, metadata: &Metadata) -> Vec<TopicPartition> {
    let mut known = Vec::new();
    for topic in &request.topics {
        let Some(found) = metadata.topic(&topic.name) else { continue };
        for partition in &topic.partitions {
            let partition = partition.partition_index;
            if (0..found.partitions.len() as i64).contains(&i64::from(partition)) {
                known.push(TopicPartition { topic: Arc::clone(&found.name), partition });
            }
        }
    }
    known
}
