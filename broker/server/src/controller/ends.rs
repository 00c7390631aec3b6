//! Asks replicas where their logs end, where one is to lead that cannot prove that it is complete.
//!
//! ListOffsets with the debugging replica id reads up to the log end, on followers too, and names the
//! epoch of the last batch. Source: Kafka 3.9 `ReplicaManager.fetchOffsetForTimestamp`.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic,
};
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use tracing::debug;

use super::state::event::{End, ReplicaEnd, Said};
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
pub(crate) struct Asked {
    pub(crate) broker: BrokerId,
    pub(crate) epoch: i64,
    pub(crate) endpoint: Option<(String, u16)>,
    /// Each with the leader epoch that the replica must know, or -1.
    pub(crate) partitions: Vec<(TopicPartition, LeaderEpoch)>,
}

/// Asks all brokers at once, as broker `me`; each replica has an answer, if only that there is none.
pub(crate) async fn ask(me: BrokerId, asked: Vec<Asked>) -> Vec<ReplicaEnd> {
    let mut tasks = tokio::task::JoinSet::new();
    for asked in asked {
        tasks.spawn(async move {
            let found = tokio::time::timeout(LIMIT, ask_one(me, &asked)).await;
            let ends = found.unwrap_or(Err(PeerError::TimedOut)).unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                debug!(broker = asked.broker.0, error, "the ends of logs are not known");
                BTreeMap::new()
            });
            let (broker, epoch) = (asked.broker, asked.epoch);
            let end = |(partition, leader_epoch)| ReplicaEnd {
                broker,
                epoch,
                leader_epoch,
                said: ends.get(&partition).copied().unwrap_or(Said::Silence),
                partition,
            };
            asked.partitions.into_iter().map(end).collect::<Vec<_>>()
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

async fn ask_one(me: BrokerId, asked: &Asked) -> Result<BTreeMap<TopicPartition, Said>, PeerError> {
    let Some((host, port)) = &asked.endpoint else { return Err(PeerError::Refused) };
    let options = Options {
        client_id: me.0.to_string().into(),
        connect_timeout: LIMIT,
        call_timeout: LIMIT,
        answer_size_max: ANSWER_SIZE_MAX,
    };
    let mut peer = Peer::connect(host, *port, options).await?;
    let topics = asked.partitions.iter().map(|(name, epoch)| ListOffsetsTopic {
        name: name.topic.to_string().into(),
        partitions: vec![ListOffsetsPartition {
            partition_index: name.partition,
            current_leader_epoch: epoch.0,
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
    let epochs: BTreeMap<_, _> = asked.partitions.iter().cloned().collect();
    let mut ends = BTreeMap::new();
    for topic in &response.topics {
        for one in &topic.partitions {
            let name = TopicPartition {
                topic: topic.name.as_ref().into(),
                partition: one.partition_index,
            };
            let is_fenced = epochs.get(&name).is_some_and(|epoch| epoch.0 >= 0);
            ends.insert(name, said(one, is_fenced));
        }
    }
    Ok(ends)
}

/// Returns what a broker says of one replica. One that has no log of it has nothing, or has not been told yet
/// which log it should have.
fn said(said: &ListOffsetsPartitionResponse, is_fenced: bool) -> Said {
    let at = |leader_epoch, end| {
        Said::End(End { leader_epoch: LeaderEpoch(leader_epoch), log_end_offset: Offset(end) })
    };
    match ErrorCode::from_code(said.error_code) {
        Some(ErrorCode::None) => at(said.leader_epoch, said.offset),
        Some(ErrorCode::UnknownLeaderEpoch) => Said::NotYet,
        Some(ErrorCode::UnknownTopicOrPartition) if is_fenced => Said::NotYet,
        Some(ErrorCode::UnknownTopicOrPartition) => at(-1, 0),
        _ => Said::Silence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row is (the code, the answer where the epoch matters, and where it does not).
    #[test]
    fn who_does_not_know_the_epoch_is_asked_again() {
        let end = |epoch, offset| {
            let log_end_offset = Offset(offset);
            Said::End(End { leader_epoch: LeaderEpoch(epoch), log_end_offset })
        };
        let rows = [
            (ErrorCode::None, end(3, 7), end(3, 7)),
            (ErrorCode::UnknownLeaderEpoch, Said::NotYet, Said::NotYet),
            (ErrorCode::UnknownTopicOrPartition, Said::NotYet, end(-1, 0)),
            (ErrorCode::FencedLeaderEpoch, Said::Silence, Said::Silence),
            (ErrorCode::KafkaStorageError, Said::Silence, Said::Silence),
        ];
        for (code, fenced, free) in rows {
            let response = ListOffsetsPartitionResponse {
                error_code: code.code(),
                leader_epoch: 3,
                offset: 7,
                ..Default::default()
            };
            assert_eq!((said(&response, true), said(&response, false)), (fenced, free), "{code}");
        }
    }
}
