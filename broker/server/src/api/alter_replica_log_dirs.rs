//! AlterReplicaLogDirs: replicas of this broker that are to lie in another of its log directories.
//!
//! The answer says that a move has begun; DescribeLogDirs shows how far it is.
//! Source: Kafka 3.9 `ReplicaManager.alterReplicaLogDirs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use broker_protocol::topic_partition::TopicPartition;

use super::RequestContext;
use crate::context::Context;
use crate::replica::manager::AlterDirError;

/// Begins every move; where a partition is named twice, the last place counts.
pub(crate) async fn alter_replica_log_dirs(
    context: &Arc<Context>,
    request: AlterReplicaLogDirsRequest<'_>,
    _: &RequestContext<'_>,
) -> AlterReplicaLogDirsResponse<'static> {
    let mut wanted: BTreeMap<TopicPartition, PathBuf> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            for partition in &topic.partitions {
                let name = TopicPartition { topic: Arc::clone(&name), partition: *partition };
                wanted.insert(name, PathBuf::from(&*dir.path));
            }
        }
    }
    let replicas = Arc::clone(&context.replicas);
    let metadata = context.metadata.load();
    let beginning = tokio::task::spawn_blocking(move || {
        let begin = |(name, path): (TopicPartition, PathBuf)| {
            let exists = metadata.topic(&name.topic).is_some_and(|topic| {
                usize::try_from(name.partition).is_ok_and(|at| at < topic.partitions.len())
            });
            let begun = replicas.alter_dir(&name, &path);
            (name, begun.map_or_else(|error| code(&error, exists), |()| ErrorCode::None))
        };
        wanted.into_iter().map(begin).collect::<Vec<_>>()
    });
    let begun = beginning.await.unwrap_or_else(|error| {
        tracing::error!(%error, "moves between log directories were cut short");
        Vec::new()
    });
    let results = begun.chunk_by(|(a, _), (b, _)| a.topic == b.topic).map(|of_topic| {
        let partitions = of_topic.iter().map(|(name, code)| AlterReplicaLogDirPartitionResult {
            partition_index: name.partition,
            error_code: code.code(),
        });
        AlterReplicaLogDirTopicResult {
            topic_name: Cow::Owned(of_topic[0].0.topic.to_string()),
            partitions: partitions.collect(),
        }
    });
    AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() }
}

fn code(error: &AlterDirError, exists: bool) -> ErrorCode {
    match error {
        AlterDirError::NoSuchDir => ErrorCode::LogDirNotFound,
        AlterDirError::Offline | AlterDirError::Create(_) => ErrorCode::KafkaStorageError,
        AlterDirError::NoReplica if exists => ErrorCode::ReplicaNotAvailable,
        AlterDirError::NoReplica => ErrorCode::UnknownTopicOrPartition,
    }
}
