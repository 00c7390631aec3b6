//! What other brokers ask of the controller, from the wire's words to the controller's and back.
//!
//! The same way for a request that came over the network and for one of this broker itself.
//! A broker that is not the controller says so; the one who asked looks for it again.
//! Source: Kafka 3.9 `KafkaController.alterPartitions`, `KafkaApis`.

use std::borrow::Cow;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::allocate_producer_ids::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse,
};
use broker_protocol::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, AlteredPartition, AlteredTopic, PartitionData,
    TopicData,
};
use broker_protocol::message::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse, RemainingPartition,
};
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_zookeeper::node::producer_id_block::BLOCK_SIZE;

use super::handle::ControllerHandle;
use super::state::request::{Altered, IsrProposal, Reply, Request, TopicRef};

/// From this version on AlterPartition knows INELIGIBLE_REPLICA.
const KNOWS_INELIGIBLE: i16 = 2;

/// From this version on members come with their broker epochs.
const KNOWS_EPOCHS: i16 = 3;

/// Has the controller change ISRs.
pub(crate) async fn alter_partition(
    controller: &ControllerHandle,
    request: &AlterPartitionRequest<'_>,
    version: i16,
) -> AlterPartitionResponse<'static> {
    let proposals = request.topics.iter().flat_map(|topic| {
        let name = topic_ref(topic);
        topic.partitions.iter().map(move |one| proposal(name.clone(), one, version))
    });
    let asked = Request::AlterPartition {
        broker: BrokerId(request.broker_id),
        broker_epoch: request.broker_epoch,
        knows_ineligible: version >= KNOWS_INELIGIBLE,
        partitions: proposals.collect(),
    };
    let altered = match controller.ask(asked).await {
        Some(Reply::AlterPartition(altered)) => altered,
        Some(_) | None => Err(ErrorCode::NotController),
    };
    match altered {
        Ok(altered) => {
            let mut altered = altered.into_iter();
            let topics = request.topics.iter().map(|topic| AlteredTopic {
                topic_name: Cow::Owned(topic.topic_name.to_string()),
                topic_id: topic.topic_id,
                partitions: (&mut altered)
                    .take(topic.partitions.len())
                    .map(|(proposal, outcome)| answered(proposal.partition, outcome))
                    .collect(),
            });
            AlterPartitionResponse { topics: topics.collect(), ..Default::default() }
        }
        Err(code) => AlterPartitionResponse { error_code: code.code(), ..Default::default() },
    }
}

fn topic_ref(topic: &TopicData<'_>) -> TopicRef {
    if topic.topic_id.is_zero() {
        TopicRef::Name((&*topic.topic_name).into())
    } else {
        TopicRef::Id(topic.topic_id)
    }
}

fn proposal(topic: TopicRef, one: &PartitionData, version: i16) -> IsrProposal {
    let isr = if version >= KNOWS_EPOCHS {
        let members = one.new_isr_with_epochs.iter();
        members.map(|member| (BrokerId(member.broker_id), member.broker_epoch)).collect()
    } else {
        one.new_isr.iter().map(|id| (BrokerId(*id), -1)).collect()
    };
    IsrProposal {
        topic,
        partition: one.partition_index,
        leader_epoch: LeaderEpoch(one.leader_epoch),
        partition_epoch: one.partition_epoch,
        isr,
        recovering: one.leader_recovery_state != 0,
    }
}

fn answered(partition_index: i32, outcome: Result<Altered, ErrorCode>) -> AlteredPartition {
    match outcome {
        Ok(altered) => AlteredPartition {
            partition_index,
            error_code: ErrorCode::None.code(),
            leader_id: altered.leader.0,
            leader_epoch: altered.leader_epoch.0,
            isr: altered.isr.iter().map(|id| id.0).collect(),
            leader_recovery_state: i8::from(altered.recovering),
            partition_epoch: altered.partition_epoch,
        },
        Err(code) => {
            AlteredPartition { partition_index, error_code: code.code(), ..Default::default() }
        }
    }
}

/// Has the controller take the leadership of a broker that wants to stop.
pub(crate) async fn controlled_shutdown(
    controller: &ControllerHandle,
    request: &ControlledShutdownRequest,
) -> ControlledShutdownResponse<'static> {
    let asked = Request::ControlledShutdown {
        broker: BrokerId(request.broker_id),
        broker_epoch: request.broker_epoch,
    };
    let left = match controller.ask(asked).await {
        Some(Reply::ControlledShutdown(left)) => left,
        Some(_) | None => Err(ErrorCode::NotController),
    };
    match left {
        Ok(left) => {
            let remaining = left.into_iter().map(|one| RemainingPartition {
                topic_name: Cow::Owned(one.topic.to_string()),
                partition_index: one.partition,
            });
            ControlledShutdownResponse {
                error_code: ErrorCode::None.code(),
                remaining_partitions: remaining.collect(),
            }
        }
        Err(code) => ControlledShutdownResponse { error_code: code.code(), ..Default::default() },
    }
}

/// Has the controller hand out producer ids.
pub(crate) async fn allocate_producer_ids(
    controller: &ControllerHandle,
    request: &AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    let asked = Request::AllocateProducerIds {
        broker: BrokerId(request.broker_id),
        broker_epoch: request.broker_epoch,
    };
    let start = match controller.ask(asked).await {
        Some(Reply::AllocateProducerIds(start)) => start,
        Some(_) | None => Err(ErrorCode::NotController),
    };
    match start {
        Ok(producer_id_start) => AllocateProducerIdsResponse {
            producer_id_start,
            producer_id_len: BLOCK_SIZE as i32,
            ..Default::default()
        },
        Err(code) => AllocateProducerIdsResponse { error_code: code.code(), ..Default::default() },
    }
}
