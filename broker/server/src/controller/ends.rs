//! Asks replicas where their logs end, for an election among those that cannot prove themselves.
//!
//! ListOffsets with the debugging replica id reads up to the log end, on followers too, and names the
//! epoch of the last batch. Source: Kafka 3.9 `ReplicaManager.fetchOffsetForTimestamp`.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use tracing::debug;

use super::channel::Common;
use super::state::event::{End, ReplicaEnd};
use crate::peer::{Options, Peer, PeerError};

/// How long a broker has to answer.
const LIMIT: Duration = Duration::from_secs(1);

/// Reads up to the log end on leaders and followers (`ListOffsetsRequest.DEBUGGING_REPLICA_ID`).
const DEBUGGING_REPLICA: i32 = -2;

/// The end of the log (`ListOffsetsRequest.LATEST_TIMESTAMP`).
const LATEST: i64 = -1;

/// Names the leader epoch, and every broker since 2.2 knows it.
const VERSION: i16 = 5;

/// The largest answer, in bytes.
const ANSWER_SIZE_MAX: usize = 16 * 1024 * 1024;

/// The replicas to ask for on one broker, and where it is, if it is registered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) broker: BrokerId,
    pub(super) epoch: i64,
    pub(super) endpoint: Option<(String, u16)>,
    pub(super) partitions: Vec<TopicPartition>,
}

/// Asks all brokers at once; each replica has an answer, if only that there is none.
pub(super) async fn ask(common: Common, asked: Vec<Asked>) -> Vec<ReplicaEnd> {
    let mut tasks = tokio::task::JoinSet::new();
    for asked in asked {
        let common = common.clone();
        tasks.spawn(async move {
            let found = tokio::time::timeout(LIMIT, ask_one(&common, &asked)).await;
            let ends = found.unwrap_or(Err(PeerError::TimedOut)).unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                debug!(broker = asked.broker.0, error, "the ends of logs are not known");
                BTreeMap::new()
            });
            let (broker, epoch) = (asked.broker, asked.epoch);
            let end = |partition: TopicPartition| ReplicaEnd {
                broker,
                epoch,
                end: ends.get(&partition).copied(),
                partition,
            };
            asked.partitions.into_iter().map(end).collect::<Vec<_>>()
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

async fn ask_one(
    common: &Common,
    asked: &Asked,
) -> Result<BTreeMap<TopicPartition, End>, PeerError> {
    let Some((host, port)) = &asked.endpoint else { return Err(PeerError::Refused) };
    let options = Options {
        client_id: common.controller.0.to_string().into(),
        connect_timeout: LIMIT,
        call_timeout: LIMIT,
        answer_size_max: ANSWER_SIZE_MAX,
    };
    let mut peer = Peer::connect(host, *port, options).await?;
    let topics = asked.partitions.iter().map(|name| ListOffsetsTopic {
        name: name.topic.to_string().into(),
        partitions: vec![ListOffsetsPartition {
            partition_index: name.partition,
            current_leader_epoch: -1,
            timestamp: LATEST,
            ..Default::default()
        }],
    });
    let request = ListOffsetsRequest {
        replica_id: DEBUGGING_REPLICA,
        topics: topics.collect(),
        ..Default::default()
    };
    let response: ListOffsetsResponse<'_> = peer.call(&request, VERSION).await?;
    let mut ends = BTreeMap::new();
    for topic in &response.topics {
        for one in topic.partitions.iter().filter(|one| one.error_code == 0) {
            let name = TopicPartition {
                topic: topic.name.as_ref().into(),
                partition: one.partition_index,
            };
            let end = End {
                leader_epoch: LeaderEpoch(one.leader_epoch),
                log_end_offset: Offset(one.offset),
            };
            ends.insert(name, end);
        }
    }
    Ok(ends)
}
