//! ListOffsets: both ends of a log, and offsets by time.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use broker_protocol::quantity::{BrokerId, LeaderEpoch, TimestampMs};

use super::RequestContext;
use super::brokers::is_replica;
use crate::context::Context;
use crate::replica::partition::admin::{Target, TimestampOffset};
use crate::replica::partition::read::Isolation;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The replica id of a consumer; all others see the whole log.
const CONSUMER: i32 = -1;

/// The replica id of one who asks any replica, and not the leader only.
const DEBUGGER: i32 = -2;

/// Finds every partition's offset.
///
/// Off the network thread, since an index or a batch may have to come from the disk.
pub(crate) async fn list_offsets(
    context: &Arc<Context>,
    request: ListOffsetsRequest<'_>,
    rc: &RequestContext<'_>,
) -> ListOffsetsResponse<'static> {
    let asking = Asking {
        context: Arc::clone(context),
        version: rc.api_version,
        isolation: match (request.replica_id, request.isolation_level) {
            (CONSUMER, 1) => Some(Isolation::ReadCommitted),
            (CONSUMER, _) => Some(Isolation::ReadUncommitted),
            (DEBUGGER, _) => None,
            _ => Some(Isolation::LogEnd),
        },
        is_refused: request.replica_id >= 0
            && !is_replica(context, rc, BrokerId(request.replica_id)),
    };
    let asked: Vec<_> = request
        .topics
        .into_iter()
        .map(|topic| (topic.name.into_owned(), topic.partitions))
        .collect();
    // A record is found by its time in a batch that is opened for it.
    let opens = |partition: &ListOffsetsPartition| {
        partition.timestamp >= 0 || partition.timestamp == MAX_TIMESTAMP
    };
    let opens = asked.iter().flat_map(|(_, partitions)| partitions).any(opens);
    let making = if opens { Arc::clone(&asking.context.in_flight).making().await } else { None };
    let looking_up = tokio::task::spawn_blocking(move || {
        let _making = making;
        asked.into_iter().map(|(name, partitions)| asking.topic(name, &partitions)).collect()
    });
    let topics = looking_up.await.unwrap_or_else(|error| {
        tracing::error!(%error, "look-up of offsets was cut short");
        Vec::new()
    });
    ListOffsetsResponse { topics, ..Default::default() }
}

struct Asking {
    context: Arc<Context>,
    version: i16,
    isolation: Option<Isolation>,
    /// Whether somebody says it is a broker who is not.
    is_refused: bool,
}

impl Asking {
    fn topic(
        &self,
        name: String,
        partitions: &[ListOffsetsPartition],
    ) -> ListOffsetsTopicResponse<'static> {
        let mut seen = HashSet::new();
        // A partition named twice has no answer that would be right for both.
        let twice: HashSet<i32> = partitions
            .iter()
            .map(|partition| partition.partition_index)
            .filter(|index| !seen.insert(*index))
            .collect();
        let answers = partitions.iter().map(|partition| {
            if twice.contains(&partition.partition_index) {
                return failed(partition.partition_index, ErrorCode::InvalidRequest);
            }
            self.partition(&name, partition)
        });
        ListOffsetsTopicResponse { partitions: answers.collect(), name: Cow::Owned(name) }
    }

    fn partition(&self, topic: &str, asked: &ListOffsetsPartition) -> ListOffsetsPartitionResponse {
        let index = asked.partition_index;
        match self.find(topic, asked) {
            Ok(answer) => answer,
            Err(code) => failed(index, code),
        }
    }

    fn find(
        &self,
        topic: &str,
        asked: &ListOffsetsPartition,
    ) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
        if self.is_refused {
            return Err(ErrorCode::ClusterAuthorizationFailed);
        }
        let wanted = wanted(asked.timestamp, self.version)?;
        let partition = self
            .context
            .replicas
            .partition(topic, asked.partition_index)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partition_index = asked.partition_index;
        let target = match wanted {
            Wanted::Target(target) => target,
            Wanted::Nothing => {
                return Ok(ListOffsetsPartitionResponse { partition_index, ..Default::default() });
            }
        };
        if self.version == 0 {
            let max = asked.max_num_offsets.max(0) as usize;
            let offsets =
                partition.offsets_before(target, max).map_err(|error| ErrorCode::from(&error))?;
            return Ok(ListOffsetsPartitionResponse {
                partition_index,
                old_style_offsets: offsets.into_iter().map(|offset| offset.0).collect(),
                ..Default::default()
            });
        }
        let found = partition
            .find(target, self.isolation, LeaderEpoch(asked.current_leader_epoch))
            .map_err(|error| ErrorCode::from(&error))?;
        Ok(match found {
            Some(TimestampOffset { timestamp, offset, leader_epoch }) => {
                ListOffsetsPartitionResponse {
                    partition_index,
                    timestamp: timestamp.0,
                    offset: offset.0,
                    leader_epoch: leader_epoch.0,
                    ..Default::default()
                }
            }
            None => ListOffsetsPartitionResponse { partition_index, ..Default::default() },
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Target(Target),
    /// A place that exists only with tiered storage.
    Nothing,
}

/// Reads a timestamp that may stand for a place.
///
/// Source: Kafka 4.2 `ListOffsetsRequest`; a version does not know the places of later ones.
fn wanted(timestamp: i64, version: i16) -> Result<Wanted, ErrorCode> {
    let (since, wanted) = match timestamp {
        LATEST => (0, Wanted::Target(Target::Latest)),
        EARLIEST => (0, Wanted::Target(Target::Earliest)),
        MAX_TIMESTAMP => (7, Wanted::Target(Target::MaxTimestamp)),
        // All of the log is local.
        EARLIEST_LOCAL => (8, Wanted::Target(Target::Earliest)),
        LATEST_TIERED => (9, Wanted::Nothing),
        EARLIEST_PENDING_UPLOAD => (11, Wanted::Nothing),
        time if time >= 0 => (0, Wanted::Target(Target::At(TimestampMs(time)))),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    if version >= since { Ok(wanted) } else { Err(ErrorCode::UnsupportedVersion) }
}

fn failed(partition_index: i32, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, error_code: code.code(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_knows_only_the_places_of_its_time() {
        let unknown = Err(ErrorCode::UnsupportedVersion);
        let cases = [
            (LATEST, 0, Ok(Wanted::Target(Target::Latest))),
            (MAX_TIMESTAMP, 6, unknown),
            (MAX_TIMESTAMP, 7, Ok(Wanted::Target(Target::MaxTimestamp))),
            (EARLIEST_LOCAL, 8, Ok(Wanted::Target(Target::Earliest))),
            (LATEST_TIERED, 9, Ok(Wanted::Nothing)),
            (0, 1, Ok(Wanted::Target(Target::At(TimestampMs(0))))),
        ];
        for (timestamp, version, expected) in cases {
            assert_eq!(wanted(timestamp, version), expected, "{timestamp} in {version}");
        }
        assert_eq!(wanted(EARLIEST_PENDING_UPLOAD, 10), Err(ErrorCode::UnsupportedVersion));
        assert_eq!(wanted(-7, 11), Err(ErrorCode::UnsupportedVersion));
    }
}
