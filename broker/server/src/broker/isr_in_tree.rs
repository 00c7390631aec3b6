//! ISRs as leaders write them themselves, where the release that brokers speak has no AlterPartition
//! (before 2.7-IV2): into the partition's own node, against its version, and then a notification for the
//! controller, which reads the node again.
//!
//! A write whose answer was lost is found by reading: the node says what was wanted. Nobody else writes a
//! node in its leader's epoch but with another epoch.
//!
//! Source: Kafka 3.9 `ZkAlterPartitionManager`, `ReplicationUtils.updateLeaderAndIsr`. Kafka collects
//! notifications for some seconds; here one request makes one.

use std::collections::BTreeSet;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, AlteredPartition, AlteredTopic, PartitionData,
};
use broker_zookeeper::node::isr_change;
use broker_zookeeper::node::partition_list::PartitionName;
use broker_zookeeper::node::partition_state::PartitionState;
use broker_zookeeper::path;
use broker_zookeeper::settle::{self, Outcome};
use broker_zookeeper::store::{CreateMode, Stat, Store, StoreError};
use tracing::warn;

/// Writes the ISRs that `request` asks for; answers as a controller would. What could not be written, nor
/// be found to be so, is left out.
pub(super) async fn alter_partitions(
    store: &dyn Store,
    request: &AlterPartitionRequest<'_>,
) -> AlterPartitionResponse<'static> {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut changed = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            match alter(store, request.broker_id, &topic.topic_name, wanted).await {
                Ok(answer) => partitions.push(answer),
                Err(error) => {
                    let partition = wanted.partition_index;
                    warn!(topic = %topic.topic_name, partition, %error, "the isr is not written");
                }
            }
        }
        let done = partitions.iter().filter(|one| one.error_code == ErrorCode::None.code());
        changed.extend(done.map(|one| PartitionName {
            topic: topic.topic_name.to_string(),
            partition: one.partition_index,
        }));
        topics.push(AlteredTopic {
            topic_name: topic.topic_name.to_string().into(),
            partitions,
            ..AlteredTopic::default()
        });
    }
    if !changed.is_empty() {
        let (path, data) = (path::isr_change(), isr_change::encode(&changed));
        let told = store.create(&path, &data, CreateMode::PersistentSequential).await;
        if let Err(error) = told {
            // It reads everything again from time to time, and tells clients later.
            warn!(%error, "the controller is not told of isrs that changed");
        }
    }
    AlterPartitionResponse { topics, ..AlterPartitionResponse::default() }
}

async fn alter(
    store: &dyn Store,
    leader: i32,
    topic: &str,
    wanted: &PartitionData,
) -> Result<AlteredPartition, StoreError> {
    let path = path::partition_state(topic, wanted.partition_index);
    let failed = |code: ErrorCode| AlteredPartition {
        partition_index: wanted.partition_index,
        error_code: code.code(),
        ..AlteredPartition::default()
    };
    let (data, stat) = match store.get(&path).await {
        Ok(found) => found,
        Err(StoreError::NoNode { .. }) => {
            return Ok(failed(ErrorCode::UnknownTopicOrPartition));
        }
        Err(error) => return Err(error),
    };
    let Ok(known) = PartitionState::decode(&path, &data) else {
        return Ok(failed(ErrorCode::InvalidUpdateVersion));
    };
    if (known.leader, known.leader_epoch) != (leader, wanted.leader_epoch) {
        return Ok(failed(ErrorCode::FencedLeaderEpoch));
    }
    let next = PartitionState {
        isr: wanted.new_isr.clone(),
        leader_recovery_state: wanted.leader_recovery_state,
        ..known
    };
    let is_written = set(&known.isr) == set(&next.isr);
    let version = if stat.version == wanted.partition_epoch {
        write(store, &path, &next, stat).await?
    } else {
        is_written.then_some(stat.version)
    };
    let Some(partition_epoch) = version else {
        return Ok(failed(ErrorCode::InvalidUpdateVersion));
    };
    Ok(AlteredPartition {
        partition_index: wanted.partition_index,
        leader_id: leader,
        leader_epoch: wanted.leader_epoch,
        isr: next.isr,
        leader_recovery_state: next.leader_recovery_state,
        partition_epoch,
        ..AlteredPartition::default()
    })
}

/// Replaces the node; returns its new version, or none if it has moved on.
async fn write(
    store: &dyn Store,
    path: &str,
    next: &PartitionState,
    stat: Stat,
) -> Result<Option<i32>, StoreError> {
    match settle::replace(store, path, &next.encode(), stat.version).await? {
        Outcome::Done(stat) => Ok(stat.map(|stat| stat.version)),
        Outcome::NotDone => Err(StoreError::ConnectionLoss),
        Outcome::Overtaken => Ok(None),
    }
}

fn set(isr: &[i32]) -> BTreeSet<i32> {
    isr.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use broker_protocol::message::alter_partition::TopicData;
    use broker_zookeeper::embedded::EmbeddedTree;

    use super::*;

    async fn ask(
        store: &dyn Store,
        leader_epoch: i32,
        epoch: i32,
        isr: &[i32],
    ) -> (ErrorCode, i32) {
        let wanted = PartitionData {
            leader_epoch,
            new_isr: isr.to_vec(),
            partition_epoch: epoch,
            ..PartitionData::default()
        };
        let topic =
            TopicData { topic_name: "t".into(), partitions: vec![wanted], ..TopicData::default() };
        let request =
            AlterPartitionRequest { broker_id: 1, topics: vec![topic], ..Default::default() };
        let response = alter_partitions(store, &request).await;
        let answer = &response.topics[0].partitions[0];
        (ErrorCode::from_code(answer.error_code).unwrap(), answer.partition_epoch)
    }

    /// A leader writes its ISR in its own epoch, against the version that it knows, once.
    #[tokio::test]
    async fn an_isr_is_written_against_its_version_and_told() {
        let tree = EmbeddedTree::in_memory();
        let store = tree.session().await;
        let node = path::partition_state("t", 0);
        for parent in path::parents(&node).map(str::to_owned).collect::<Vec<_>>() {
            let _ = store.create(&parent, b"", CreateMode::Persistent).await;
        }
        let _ = store.create(path::ISR_CHANGES, b"", CreateMode::Persistent).await;
        assert_eq!(ask(&store, 5, 0, &[1]).await.0, ErrorCode::UnknownTopicOrPartition);
        let state = PartitionState {
            controller_epoch: 9,
            leader: 1,
            version: 1,
            leader_epoch: 5,
            isr: vec![1, 2],
            leader_recovery_state: 0,
        };
        store.create(&node, &state.encode(), CreateMode::Persistent).await.unwrap();
        assert_eq!(ask(&store, 5, 0, &[1]).await, (ErrorCode::None, 1));
        assert_eq!(ask(&store, 5, 0, &[1]).await, (ErrorCode::None, 1), "as it is already");
        assert_eq!(ask(&store, 5, 0, &[1, 3]).await.0, ErrorCode::InvalidUpdateVersion);
        assert_eq!(ask(&store, 4, 1, &[1, 3]).await.0, ErrorCode::FencedLeaderEpoch);
        assert_eq!(ask(&store, 5, 1, &[1, 3]).await, (ErrorCode::None, 2));
        let (data, _) = store.get(&node).await.unwrap();
        let left = PartitionState::decode(&node, &data).unwrap();
        assert_eq!(left, PartitionState { isr: vec![1, 3], ..state }, "the rest is as it was");
        let told = store.children(path::ISR_CHANGES).await.unwrap();
        assert_eq!(told.len(), 3);
    }
}
