//! Replicas that cannot prove that they are complete: the last replica standing.
//!
//! A broker says with its registration which of its logs may lack what was acknowledged. Such a
//! replica does not win by membership of an ISR; once nobody else can, replicas are asked where
//! their logs end, and who has most leads (`partition_election`). It is proven again when it joins an ISR, or leads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::State;
use super::effect::View;
use super::event::{End, ReplicaEnd};

/// How long an answer is waited for before the question is put again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who was asked where its log ends, and what it said.
#[derive(Debug)]
pub(super) struct Question {
    asked_at: Duration,
    ends: BTreeMap<BrokerId, Said>,
}

/// What became of a question to one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// No answer yet.
    Nothing,
    /// It does not know, or does not answer.
    Silence,
    /// This.
    End(End),
}

impl Question {
    /// What those have said who have answered.
    pub(super) fn ends(&self) -> BTreeMap<BrokerId, Option<End>> {
        let said = self.ends.iter().filter_map(|(broker, said)| match said {
            Said::Nothing => None,
            Said::Silence => Some((*broker, None)),
            Said::End(end) => Some((*broker, Some(*end))),
        });
        said.collect()
    }
}

impl State {
    /// Asks where these logs end, unless they are being asked.
    pub(super) fn ask_for_ends(&mut self, partition: &TopicPartition, brokers: &[BrokerId]) {
        if brokers.is_empty() {
            self.facts.questions.remove(partition);
            return;
        }
        let asked_at = self.now;
        let question = self.facts.questions.entry(partition.clone());
        let question = question.or_insert_with(|| Question { asked_at, ends: BTreeMap::new() });
        question.ends.retain(|broker, _| brokers.contains(broker));
        for broker in brokers {
            if !question.ends.contains_key(broker) {
                question.ends.insert(*broker, Said::Nothing);
                self.turn.ask(*broker, partition.clone());
            }
        }
    }

    /// Replicas said where their logs end.
    pub(super) fn ends_known(&mut self, ends: Vec<ReplicaEnd>) {
        for ReplicaEnd { broker, epoch, partition, end } in ends {
            if !self.is_current(broker, epoch) {
                continue;
            }
            let Some(question) = self.facts.questions.get_mut(&partition) else { continue };
            let Some(known) = question.ends.get_mut(&broker) else { continue };
            match (end, *known) {
                (Some(end), _) => *known = Said::End(end),
                (None, Said::Nothing) => *known = Said::Silence,
                (None, Said::Silence | Said::End(_)) => {}
            }
            if !question.ends.values().any(|said| *said == Said::Nothing) {
                self.turn.doubt(partition);
            }
        }
    }

    /// Puts questions again that were not answered.
    pub(super) fn ask_again(&mut self) {
        let now = self.now;
        for (partition, question) in &mut self.facts.questions {
            if now < question.asked_at + PATIENCE {
                continue;
            }
            question.asked_at = now;
            for (broker, said) in &question.ends {
                if !matches!(said, Said::End(_)) {
                    self.turn.ask(*broker, partition.clone());
                }
            }
        }
    }

    /// What brokers said in a life that is over counts no more.
    pub(super) fn forget_answers(&mut self, ended: &BTreeSet<BrokerId>) {
        for question in self.facts.questions.values_mut() {
            question.ends.retain(|broker, _| !ended.contains(broker));
        }
    }

    /// A broker's list of unproven replicas was read again: within one life it only shrinks.
    pub(super) fn doubts_cleared(&mut self, broker: BrokerId, unproven: &BTreeSet<TopicPartition>) {
        let Some(known) = self.facts.unproven.get_mut(&broker) else { return };
        let cleared: Vec<_> = known.difference(unproven).cloned().collect();
        for partition in cleared {
            known.remove(&partition);
            self.turn.doubt(partition);
        }
    }

    /// Who has joined the ISR, or leads, has all that counts.
    pub(super) fn prove(&mut self, partition: &TopicPartition, former: Option<&View>) {
        let Some(view) = self.topics.get(&partition.topic) else { return };
        let Some(view) = view.partitions.get(&partition.partition) else { return };
        let Some(view) = &view.view else { return };
        let was_member = |id: &BrokerId| former.is_some_and(|former| former.isr.contains(id));
        let joined = view.isr.iter().filter(|id| !was_member(id));
        let elected = view.leader.filter(|_| former.is_none_or(|f| f.leader != view.leader));
        for broker in joined.copied().chain(elected) {
            if let Some(unproven) = self.facts.unproven.get_mut(&broker) {
                unproven.remove(partition);
            }
        }
    }
}
