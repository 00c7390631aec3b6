//! Logs brought in line with a leader that does not say in a fetch where they diverge: it is asked where the
//! last epoch here ends there, the log is cut, and only then fetched (Fetch up to version 11).
//!
//! A log that knows no epoch, and one whose leader knows none, is cut at the high watermark. An answer
//! without an epoch (version 0) is taken for the epoch that was asked for.
//!
//! Source: Kafka 3.9 `AbstractFetcherThread` (`maybeTruncate`, `getOffsetTruncationState`); KIP-101, KIP-279.

use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::offset_for_leader_epoch::{
    EpochEndOffset as Answered, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use tracing::debug;

use super::plan::{Key, Position};
use super::round::Copies;
use crate::peer::{Peer, PeerError};
use crate::replica::partition::EpochEndOffset;
use crate::replica::partition::follower::Cut;

/// What a leader's answer makes of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Cut(Cut),
    /// There is a later leadership, of which the controller will tell.
    Over,
    /// It cannot answer now.
    Later,
}

fn said(answer: &Answered) -> Said {
    const NONE: i16 = ErrorCode::None.code();
    const FENCED: i16 = ErrorCode::FencedLeaderEpoch.code();
    match answer.error_code {
        NONE if answer.end_offset < 0 => Said::Cut(Cut::HighWatermark),
        NONE if answer.leader_epoch < 0 => Said::Cut(Cut::At(Offset(answer.end_offset))),
        NONE => Said::Cut(Cut::EpochEnd(EpochEndOffset {
            leader_epoch: LeaderEpoch(answer.leader_epoch),
            end_offset: Offset(answer.end_offset),
        })),
        FENCED => Said::Over,
        _ => Said::Later,
    }
}

type Asked = (Key, TopicPartition, Position);

impl Copies {
    /// Asks about the logs that have to be brought in line, and notes where they are to be cut.
    pub(super) async fn ask_epochs(&mut self, peer: &mut Peer) -> Result<(), PeerError> {
        let mut asked: Vec<Asked> = Vec::new();
        for key in self.plan.take_asking() {
            let Some((name, position)) = self.plan.get(key) else { continue };
            let name = name.clone();
            if position.last_fetched_epoch.0 < 0 {
                self.note_cut(key, Cut::HighWatermark);
                continue;
            }
            asked.push((key, name, position));
            // Whatever happens it is not left behind.
            self.back_off(key);
        }
        if asked.is_empty() {
            return Ok(());
        }
        asked.sort_unstable_by(|(_, a, _), (_, b, _)| a.cmp(b));
        let request = request(self.broker_id(), &asked);
        let version = self.versions().offset_for_leader_epoch;
        let response: OffsetForLeaderEpochResponse<'_> = peer.call(&request, version).await?;
        for topic in &response.topics {
            for answer in &topic.partitions {
                let partition = answer.partition;
                let name = TopicPartition { topic: Arc::from(&*topic.topic), partition };
                let found = asked.binary_search_by(|(_, asked, _)| asked.cmp(&name));
                let Ok((key, ..)) = found.map(|at| &asked[at]) else { continue };
                match said(answer) {
                    Said::Cut(cut) => self.note_cut(*key, cut),
                    Said::Over => self.plan.end(*key),
                    Said::Later => {
                        debug!(partition = %name, code = %ErrorCode::name_of(answer.error_code), "no epoch's end yet");
                    }
                }
            }
        }
        Ok(())
    }
}

fn request(me: i32, asked: &[Asked]) -> OffsetForLeaderEpochRequest<'_> {
    let of_topic = asked.chunk_by(|(_, a, _), (_, b, _)| a.topic == b.topic);
    let topics = of_topic.map(|of_topic| OffsetForLeaderTopic {
        topic: (&*of_topic[0].1.topic).into(),
        partitions: of_topic
            .iter()
            .map(|(_, name, position)| OffsetForLeaderPartition {
                partition: name.partition,
                current_leader_epoch: position.leader_epoch.0,
                leader_epoch: position.last_fetched_epoch.0,
            })
            .collect(),
    });
    OffsetForLeaderEpochRequest { replica_id: me, topics: topics.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cuts_where_the_leader_says_and_at_the_high_watermark_where_it_cannot() {
        let end = |leader_epoch, end_offset| {
            let leader_epoch = LeaderEpoch(leader_epoch);
            Cut::EpochEnd(EpochEndOffset { leader_epoch, end_offset: Offset(end_offset) })
        };
        let cases = [
            ("an epoch's end", 0, 3, 10, Said::Cut(end(3, 10))),
            ("the leader knows none", 0, -1, -1, Said::Cut(Cut::HighWatermark)),
            ("of a leader that does not say the epoch", 0, -1, 7, Said::Cut(Cut::At(Offset(7)))),
            ("a later leader", 74, -1, -1, Said::Over),
            ("not yet", 76, -1, -1, Said::Later),
            ("not the leader", 6, -1, -1, Said::Later),
        ];
        for (name, error_code, leader_epoch, end_offset, expected) in cases {
            let answer = Answered { error_code, partition: 0, leader_epoch, end_offset };
            assert_eq!(said(&answer), expected, "{name}");
        }
    }
}
