//! OffsetFetch: the offsets that groups have committed.
//!
//! Version 0 reads the coordination tree, where OffsetCommit of version 0 writes. While a group is
//! being read the answer is an error, never "no offset".

use std::borrow::Cow;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::path;
use broker_zookeeper::store::StoreError;

use super::RequestContext;
use super::group_code::unexpected;
use crate::context::Context;
use crate::group::state::request::{FetchedOffset, Reply, Request};
use crate::metadata::Metadata;

/// From this version on an answer has a code of its own, beside those of the partitions.
const TOP_LEVEL_CODE_FROM: i16 = 2;
/// From this version on a request names several groups.
const MANY_GROUPS_FROM: i16 = 8;
/// From this version on topics are named by id.
const TOPIC_IDS_FROM: i16 = 10;

/// Answers at once.
pub(crate) async fn offset_fetch(
    context: &Context,
    request: OffsetFetchRequest<'_>,
    rc: &RequestContext<'_>,
) -> OffsetFetchResponse<'static> {
    if rc.api_version >= MANY_GROUPS_FROM {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in &request.groups {
            groups.push(one_group(context, group, request.require_stable, rc.api_version).await);
        }
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let asked: Option<Vec<_>> = request.topics.as_ref().map(|topics| {
        let flat = topics.iter().flat_map(|topic| {
            let name: Arc<str> = Arc::from(&*topic.name);
            topic.partition_indexes.iter().map(move |partition| TopicPartition {
                topic: Arc::clone(&name),
                partition: *partition,
            })
        });
        flat.collect()
    });
    let fetched = if rc.api_version == 0 {
        Ok(in_tree(context, &request.group_id, asked.clone().unwrap_or_default()).await)
    } else {
        fetch(context, &request.group_id, asked.clone(), request.require_stable).await
    };
    let (fetched, error) = match fetched {
        Ok(fetched) => (fetched, ErrorCode::None),
        // Without a place for one code, each partition has it.
        Err(error) if rc.api_version < TOP_LEVEL_CODE_FROM => {
            let failed = |partition| FetchedOffset { partition, committed: None, error };
            (asked.into_iter().flatten().map(failed).collect(), error)
        }
        Err(error) => (Vec::new(), error),
    };
    let topics = by_topic(fetched).into_iter().map(|(name, offsets)| OffsetFetchResponseTopic {
        name: Cow::Owned(name.to_string()),
        partitions: offsets.iter().map(old_partition).collect(),
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: error.code(), ..Default::default() }
}

async fn one_group(
    context: &Context,
    group: &OffsetFetchRequestGroup<'_>,
    require_stable: bool,
    version: i16,
) -> OffsetFetchResponseGroup<'static> {
    let metadata = context.metadata.load();
    let mut unknown = Vec::new();
    let asked = group.topics.as_ref().map(|topics| {
        let mut asked = Vec::new();
        for topic in topics {
            let name: Arc<str> = if version < TOPIC_IDS_FROM {
                Arc::from(&*topic.name)
            } else if let Some(found) = metadata.topic_by_id(topic.topic_id) {
                Arc::clone(&found.name)
            } else {
                unknown.push(unknown_topic(topic.topic_id, &topic.partition_indexes));
                continue;
            };
            asked.extend(topic.partition_indexes.iter().map(|partition| TopicPartition {
                topic: Arc::clone(&name),
                partition: *partition,
            }));
        }
        asked
    });
    let group_id = Cow::Owned(group.group_id.to_string());
    match fetch(context, &group.group_id, asked, require_stable).await {
        Ok(fetched) => {
            let mut topics = topics(fetched, version, &metadata);
            topics.append(&mut unknown);
            OffsetFetchResponseGroup { group_id, topics, error_code: 0 }
        }
        Err(error) => {
            OffsetFetchResponseGroup { group_id, topics: Vec::new(), error_code: error.code() }
        }
    }
}

fn topics(
    fetched: Vec<FetchedOffset>,
    version: i16,
    metadata: &Metadata,
) -> Vec<OffsetFetchResponseTopics<'static>> {
    let by_topic = by_topic(fetched).into_iter();
    let topics = by_topic.filter_map(|(name, offsets)| {
        let topic_id = metadata.topic(&name).map_or(Uuid::ZERO, |topic| topic.id);
        // A topic that is gone cannot be named to a client that knows ids only.
        (version < TOPIC_IDS_FROM || !topic_id.is_zero()).then(|| OffsetFetchResponseTopics {
            name: Cow::Owned(name.to_string()),
            topic_id,
            partitions: offsets.iter().map(new_partition).collect(),
        })
    });
    topics.collect()
}

fn unknown_topic(topic_id: Uuid, partitions: &[i32]) -> OffsetFetchResponseTopics<'static> {
    let partitions = partitions.iter().map(|partition| OffsetFetchResponsePartitions {
        partition_index: *partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Cow::Borrowed("")),
        error_code: ErrorCode::UnknownTopicId.code(),
    });
    OffsetFetchResponseTopics {
        name: Cow::Borrowed(""),
        topic_id,
        partitions: partitions.collect(),
    }
}

async fn fetch(
    context: &Context,
    group_id: &str,
    partitions: Option<Vec<TopicPartition>>,
    require_stable: bool,
) -> Result<Vec<FetchedOffset>, ErrorCode> {
    let request = Request::FetchOffsets { partitions, require_stable };
    let reply = context.groups.ask(group_id, request).await;
    let error = unexpected(&reply);
    if let Reply::Offsets(fetched) = reply { Ok(fetched) } else { Err(error) }
}

/// Reads the offsets that consumers of version 0 keep in the coordination tree.
async fn in_tree(
    context: &Context,
    group_id: &str,
    partitions: Vec<TopicPartition>,
) -> Vec<FetchedOffset> {
    let store = context.admin.store();
    let mut fetched = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let node = path::consumer_offset(group_id, &partition.topic, partition.partition);
        let offset = match store.get(&node).await {
            Ok((text, _)) => {
                let text = String::from_utf8_lossy(&text);
                text.trim().parse().map_err(|_| ErrorCode::UnknownServerError)
            }
            // What Kafka says where nothing was ever committed.
            Err(StoreError::NoNode { .. } | StoreError::BadPath { .. }) => {
                Err(ErrorCode::UnknownTopicOrPartition)
            }
            Err(_) => Err(ErrorCode::UnknownServerError),
        };
        let committed = offset.ok().map(|offset| crate::group::state::request::CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: Arc::from(""),
            commit_timestamp: -1,
            expire_timestamp: None,
        });
        let error = offset.err().unwrap_or_default();
        fetched.push(FetchedOffset { partition, committed, error });
    }
    fetched
}

/// Gathers neighbours of one topic.
fn by_topic(fetched: Vec<FetchedOffset>) -> Vec<(Arc<str>, Vec<FetchedOffset>)> {
    let mut topics: Vec<(Arc<str>, Vec<FetchedOffset>)> = Vec::new();
    for offset in fetched {
        match topics.last_mut() {
            Some((name, offsets)) if **name == *offset.partition.topic => offsets.push(offset),
            _ => topics.push((Arc::clone(&offset.partition.topic), vec![offset])),
        }
    }
    topics
}

fn old_partition(fetched: &FetchedOffset) -> OffsetFetchResponsePartition<'static> {
    let new = new_partition(fetched);
    OffsetFetchResponsePartition {
        partition_index: new.partition_index,
        committed_offset: new.committed_offset,
        committed_leader_epoch: new.committed_leader_epoch,
        metadata: new.metadata,
        error_code: new.error_code,
    }
}

fn new_partition(fetched: &FetchedOffset) -> OffsetFetchResponsePartitions<'static> {
    let committed = fetched.committed.as_ref();
    OffsetFetchResponsePartitions {
        partition_index: fetched.partition.partition,
        committed_offset: committed.map_or(-1, |committed| committed.offset),
        committed_leader_epoch: committed.map_or(-1, |committed| committed.leader_epoch),
        metadata: Some(Cow::Owned(committed.map_or("", |c| &*c.metadata).to_owned())),
        error_code: fetched.error.code(),
    }
}
