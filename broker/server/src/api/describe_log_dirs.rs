//! DescribeLogDirs: which partitions lie in which directory, and how large they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
use broker_storage::log_dir::LogDir;

use super::RequestContext;
use crate::context::Context;
use crate::replica::partition::Partition;

/// Lists what was asked for, or all, directory by directory.
#[allow(clippy::unused_async, reason = "dispatch awaits these handlers all alike")]
pub(crate) async fn describe_log_dirs(
    context: &Arc<Context>,
    request: DescribeLogDirsRequest<'_>,
    _rc: &RequestContext<'_>,
) -> DescribeLogDirsResponse<'static> {
    let partitions = wanted(context, &request);
    let results =
        context.replicas.log_dirs().iter().map(|dir| describe(dir, &partitions)).collect();
    DescribeLogDirsResponse { results, ..Default::default() }
}

fn wanted(context: &Context, request: &DescribeLogDirsRequest<'_>) -> Vec<Arc<Partition>> {
    let Some(topics) = &request.topics else { return context.replicas.partitions() };
    let mut wanted = Vec::new();
    for topic in topics {
        let found =
            topic.partitions.iter().filter_map(|p| context.replicas.partition(&topic.topic, *p));
        wanted.extend(found);
    }
    wanted
}

fn describe(dir: &Arc<LogDir>, partitions: &[Arc<Partition>]) -> DescribeLogDirsResult<'static> {
    let log_dir = Cow::Owned(dir.path().display().to_string());
    if dir.offline().is_offline() {
        let error_code = ErrorCode::KafkaStorageError.code();
        return DescribeLogDirsResult { error_code, log_dir, ..Default::default() };
    }
    let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in partitions.iter().filter(|partition| Arc::ptr_eq(&partition.dir(), dir)) {
        let described = DescribeLogDirsPartition {
            partition_index: partition.name().partition,
            partition_size: partition.offsets().size_in_bytes as i64,
            offset_lag: 0,
            is_future_key: false,
        };
        topics.entry(Arc::clone(&partition.name().topic)).or_default().push(described);
    }
    for partition in partitions {
        let moving = partition.moving().filter(|moving| Arc::ptr_eq(&moving.dir, dir));
        let Some(moving) = moving else { continue };
        let described = DescribeLogDirsPartition {
            partition_index: partition.name().partition,
            partition_size: moving.size_in_bytes as i64,
            offset_lag: moving.offset_lag,
            is_future_key: true,
        };
        topics.entry(Arc::clone(&partition.name().topic)).or_default().push(described);
    }
    let (total_bytes, usable_bytes) = space(dir);
    DescribeLogDirsResult {
        log_dir,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic {
                name: Cow::Owned(name.to_string()),
                partitions,
            })
            .collect(),
        total_bytes,
        usable_bytes,
        ..Default::default()
    }
}

/// Returns all bytes of the directory's file system, and those that are left; -1 if it does not say.
fn space(dir: &LogDir) -> (i64, i64) {
    let bytes =
        |blocks: u64, size: u64| i64::try_from(blocks.saturating_mul(size)).unwrap_or(i64::MAX);
    match rustix::fs::statvfs(dir.path()) {
        Ok(stat) => (bytes(stat.f_blocks, stat.f_frsize), bytes(stat.f_bavail, stat.f_frsize)),
        Err(_) => (-1, -1),
    }
}
