//! Proposals of an ISR as one request to the controller, and its answer taken apart. Pure.
//!
//! What the controller did not answer, or could not yet, is asked again as it is; everything else is
//! settled by one of three words to the partition.
//!
//! Source: Kafka 3.9 `DefaultAlterPartitionManager`, `Partition.handleAlterPartitionError`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, AlteredPartition, AlteredTopic, BrokerState,
    PartitionData, TopicData,
};
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use crate::replica::partition_state::{Committed, IsrAnswer, IsrProposal};

/// A leader that has all that its partition still has.
const RECOVERED: i8 = 0;

/// One partition's proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The partition.
    pub(super) partition: TopicPartition,
    /// Its topic's id, zero where there is none.
    pub(super) topic_id: Uuid,
    /// What it asks for.
    pub(super) proposal: IsrProposal,
}

/// Leaves each partition in the round once, with its newest proposal. One that was not answered may be of
/// a leadership that is over: asked beside the next, its refusal would be taken for an answer to both.
pub(super) fn once(asked: &mut Vec<Asked>) {
    let newest: HashMap<TopicPartition, usize> =
        asked.iter().enumerate().map(|(at, asked)| (asked.partition.clone(), at)).collect();
    let mut at = 0..;
    asked.retain(|asked| newest.get(&asked.partition).copied() == at.next());
}

/// Makes one request of all proposals. It names topics by name and by id: the version decides which is
/// sent.
pub(super) fn request(
    broker: BrokerId,
    broker_epoch: i64,
    asked: &[Asked],
) -> AlterPartitionRequest<'static> {
    let mut topics: Vec<TopicData<'static>> = Vec::new();
    let mut places: HashMap<(&Arc<str>, Uuid), usize> = HashMap::new();
    for asked in asked {
        let place = *places.entry((&asked.partition.topic, asked.topic_id)).or_insert_with(|| {
            topics.push(TopicData {
                topic_name: Cow::Owned(asked.partition.topic.to_string()),
                topic_id: asked.topic_id,
                partitions: Vec::new(),
            });
            topics.len() - 1
        });
        topics[place].partitions.push(partition_data(asked));
    }
    AlterPartitionRequest { broker_id: broker.0, broker_epoch, topics }
}

fn partition_data(asked: &Asked) -> PartitionData {
    let members = asked.proposal.isr.iter();
    PartitionData {
        partition_index: asked.partition.partition,
        leader_epoch: asked.proposal.leader_epoch.0,
        new_isr: members.clone().map(|(broker, _)| broker.0).collect(),
        new_isr_with_epochs: members
            .map(|(broker, epoch)| BrokerState { broker_id: broker.0, broker_epoch: *epoch })
            .collect(),
        // Whoever was elected out of the ISR has recovered once it leads: there is nothing to repair
        // (Kafka 3.9 `Partition.makeLeader`).
        leader_recovery_state: RECOVERED,
        partition_epoch: asked.proposal.partition_epoch,
    }
}

/// Takes an answer apart: one entry for each proposal, `None` for those to be asked again.
pub(super) fn answers(
    asked: &[Asked],
    response: &AlterPartitionResponse<'_>,
) -> Vec<Option<IsrAnswer>> {
    if response.error_code != ErrorCode::None.code() {
        // About this broker or that controller, not about any partition.
        return asked.iter().map(|_| None).collect();
    }
    asked.iter().map(|asked| find(asked, response).and_then(answer)).collect()
}

fn find<'r>(
    asked: &Asked,
    response: &'r AlterPartitionResponse<'_>,
) -> Option<&'r AlteredPartition> {
    let is_meant = |topic: &&AlteredTopic<'_>| {
        // Up to version 1 the answer has no ids, from 2 on no names.
        if topic.topic_id.is_zero() {
            topic.topic_name == *asked.partition.topic
        } else {
            topic.topic_id == asked.topic_id
        }
    };
    let topic = response.topics.iter().find(is_meant)?;
    topic.partitions.iter().find(|found| found.partition_index == asked.partition.partition)
}

fn answer(found: &AlteredPartition) -> Option<IsrAnswer> {
    match ErrorCode::from_code(found.error_code) {
        Some(ErrorCode::None) => Some(IsrAnswer::Committed(Committed {
            leader_epoch: LeaderEpoch(found.leader_epoch),
            partition_epoch: found.partition_epoch,
            isr: found.isr.iter().copied().map(BrokerId).collect(),
            recovering: found.leader_recovery_state == 1,
        })),
        // The version was right, so nothing of it was ever written.
        Some(
            ErrorCode::OperationNotAttempted
            | ErrorCode::IneligibleReplica
            | ErrorCode::InvalidRequest,
        ) => Some(IsrAnswer::Refused),
        Some(
            ErrorCode::FencedLeaderEpoch
            | ErrorCode::NewLeaderElected
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId,
        ) => Some(IsrAnswer::Awaited),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_asked_about_once_with_what_it_proposed_last() {
        let mut round = vec![asked("a", 0), asked("b", 0), asked("a", 0)];
        round[0].proposal.partition_epoch = 3;
        round[2].proposal.partition_epoch = 4;
        once(&mut round);
        let left: Vec<(&str, i32)> = round
            .iter()
            .map(|asked| (&*asked.partition.topic, asked.proposal.partition_epoch))
            .collect();
        assert_eq!(left, [("b", round[0].proposal.partition_epoch), ("a", 4)]);
    }

    fn asked(topic: &str, partition: i32) -> Asked {
        Asked {
            partition: TopicPartition { topic: topic.into(), partition },
            topic_id: Uuid::from_bytes([topic.len() as u8; 16]),
            proposal: IsrProposal {
                leader_epoch: LeaderEpoch(5),
                partition_epoch: 7,
                isr: vec![(BrokerId(1), 10), (BrokerId(2), 20)],
            },
        }
    }

    fn response(asked: &[Asked], code: ErrorCode) -> AlterPartitionResponse<'static> {
        let topics = asked.iter().map(|asked| AlteredTopic {
            topic_id: asked.topic_id,
            partitions: vec![AlteredPartition {
                partition_index: asked.partition.partition,
                error_code: code.code(),
                leader_id: 1,
                leader_epoch: 5,
                isr: vec![1, 2],
                leader_recovery_state: 0,
                partition_epoch: 8,
            }],
            ..AlteredTopic::default()
        });
        AlterPartitionResponse { topics: topics.collect(), ..AlterPartitionResponse::default() }
    }

    #[test]
    fn a_topic_is_named_once_with_members_in_the_form_of_every_version() {
        let asked = [asked("a", 0), asked("bb", 3), asked("a", 1)];
        let request = request(BrokerId(1), 10, &asked);
        let shape: Vec<_> = request
            .topics
            .iter()
            .map(|topic| (&*topic.topic_name, topic.partitions.len()))
            .collect();
        assert_eq!(shape, [("a", 2), ("bb", 1)]);
        let partition = &request.topics[1].partitions[0];
        assert_eq!((partition.partition_index, partition.partition_epoch), (3, 7));
        assert_eq!(partition.new_isr, [1, 2]);
        let epochs: Vec<_> =
            partition.new_isr_with_epochs.iter().map(|it| it.broker_epoch).collect();
        assert_eq!(epochs, [10, 20]);
    }

    /// Method: table of (code, answer).
    #[test]
    fn each_error_settles_a_proposal_or_has_it_asked_again() {
        let done = Committed {
            leader_epoch: LeaderEpoch(5),
            partition_epoch: 8,
            isr: vec![BrokerId(1), BrokerId(2)],
            recovering: false,
        };
        let cases = [
            (ErrorCode::None, Some(IsrAnswer::Committed(done))),
            (ErrorCode::IneligibleReplica, Some(IsrAnswer::Refused)),
            (ErrorCode::OperationNotAttempted, Some(IsrAnswer::Refused)),
            (ErrorCode::InvalidRequest, Some(IsrAnswer::Refused)),
            (ErrorCode::FencedLeaderEpoch, Some(IsrAnswer::Awaited)),
            (ErrorCode::InvalidUpdateVersion, Some(IsrAnswer::Awaited)),
            (ErrorCode::UnknownTopicId, Some(IsrAnswer::Awaited)),
            (ErrorCode::NotController, None),
            (ErrorCode::UnknownServerError, None),
        ];
        let asked = [asked("a", 0)];
        for (code, expected) in cases {
            assert_eq!(answers(&asked, &response(&asked, code)), [expected], "{code}");
        }
    }

    #[test]
    fn what_the_answer_leaves_out_or_refuses_as_a_whole_is_asked_again() {
        let asked = [asked("a", 0), asked("bb", 0)];
        let mut response = response(&asked[1..], ErrorCode::None);
        let found = answers(&asked, &response);
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
        response.error_code = ErrorCode::StaleBrokerEpoch.code();
        assert_eq!(answers(&asked, &response), [None, None]);
    }

    #[test]
    fn an_answer_without_ids_is_found_by_name() {
        let asked = [asked("a", 0)];
        let mut response = response(&asked, ErrorCode::None);
        response.topics[0].topic_id = Uuid::ZERO;
        response.topics[0].topic_name = "a".into();
        assert!(answers(&asked, &response)[0].is_some());
    }
}
