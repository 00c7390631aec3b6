//! Replicas that cannot prove that they are complete: the last replica standing.
//!
//! A broker says with its registration which of its logs may lack what was acknowledged. Such a
//! replica does not win by membership of an ISR; once nobody else can, replicas are asked where
//! their logs end, and who has most leads (`partition_election`). It is proven again when it joins an ISR, or leads.
//!
//! What a broker says of itself may be old: one that led again a moment ago, and has not said yet that all is
//! well, would go on acknowledging after its answer; and one that was away may have the log of a topic of the same
//! name that was deleted meanwhile. So replicas are asked in a leader epoch in which nobody leads, and an answer
//! counts once its broker knows of that, which is told with the topic's id. Members of the ISR are waited for;
//! who is none and does not hear of it for a while is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;

use super::effect::View;
use super::event::{End, ReplicaEnd, Said};
use super::{Planted, State};

/// How long an answer is waited for before the question is put again.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long until those are asked again who had not heard that nobody leads.
const SOON: Duration = Duration::from_millis(200);

/// How long a replica out of the ISR is waited for that does not learn of the epoch, though its broker lives: one
/// that has just started reads its logs first.
const LATE: Duration = Duration::from_secs(30);

/// Who was asked where its log ends, and what it said.
#[derive(Debug)]
pub(super) struct Question {
    asked_at: Duration,
    /// The partition's leader epoch, in which nobody leads: who is asked must know it.
    leader_epoch: LeaderEpoch,
    /// The ISR.
    members: Vec<BrokerId>,
    ends: BTreeMap<BrokerId, Heard>,
}

/// What one broker has said.
#[derive(Debug)]
struct Heard {
    /// Since when it is asked, in this life of its.
    since: Duration,
    /// `None` before there is an answer.
    said: Option<Said>,
}

impl Question {
    /// What those have said who have answered; `None` of one that does not know.
    pub(super) fn ends(&self) -> BTreeMap<BrokerId, Option<End>> {
        let said = self.ends.iter().filter_map(|(broker, heard)| match &heard.said {
            None | Some(Said::NotYet) => None,
            Some(Said::Silence) => Some((*broker, None)),
            Some(Said::End(end)) => Some((*broker, Some(*end))),
        });
        said.collect()
    }

    /// Whether a broker is waited for that says that it has not learnt of the epoch.
    pub(super) fn waits_for(&self, broker: BrokerId) -> bool {
        let is_early = |heard: &Heard| self.asked_at < heard.since + LATE;
        self.members.contains(&broker) || self.ends.get(&broker).is_none_or(is_early)
    }
}

impl State {
    /// Asks where these logs of a partition that nobody leads end, unless they are being asked.
    pub(super) fn ask_for_ends(&mut self, view: &View, brokers: &[BrokerId]) {
        let now = self.now;
        let is_early = self.planted(Planted::EarlyAnswers);
        let leader_epoch = if is_early { LeaderEpoch(-1) } else { view.leader_epoch };
        let new = || Question {
            asked_at: now,
            leader_epoch,
            members: view.isr.clone(),
            ends: BTreeMap::new(),
        };
        let question = self.facts.questions.entry(view.partition.clone()).or_insert_with(new);
        if question.leader_epoch != leader_epoch || question.members != view.isr {
            *question = new();
        }
        question.ends.retain(|broker, _| brokers.contains(broker));
        for broker in brokers {
            if !question.ends.contains_key(broker) {
                question.ends.insert(*broker, Heard { since: now, said: None });
                self.turn.ask(*broker, view.partition.clone(), leader_epoch);
            }
        }
    }

    /// Replicas said where their logs end.
    pub(super) fn ends_known(&mut self, ends: Vec<ReplicaEnd>) {
        for ReplicaEnd { broker, epoch, leader_epoch, partition, said } in ends {
            if !self.is_current(broker, epoch) {
                continue;
            }
            let Some(question) = self.facts.questions.get_mut(&partition) else { continue };
            let is_this = leader_epoch == question.leader_epoch;
            let is_left_out = said == Said::NotYet && !question.waits_for(broker);
            let said = if is_left_out { Said::Silence } else { said };
            let Some(heard) = question.ends.get_mut(&broker).filter(|_| is_this) else { continue };
            // A late silence takes nothing back.
            if !matches!(heard.said, Some(Said::End(_))) || matches!(said, Said::End(_)) {
                heard.said = Some(said);
            }
            let is_due = |heard: &Heard| matches!(heard.said, None | Some(Said::NotYet));
            if !question.ends.values().any(is_due) {
                self.turn.doubt(partition);
            }
        }
    }

    /// Puts questions again that were not answered.
    pub(super) fn ask_again(&mut self) {
        let now = self.now;
        for (partition, question) in &mut self.facts.questions {
            let is_early = question.ends.values().any(|heard| heard.said == Some(Said::NotYet));
            let is_waited_for = question.ends.values().any(|heard| heard.said.is_none());
            let patience = if is_early && !is_waited_for { SOON } else { PATIENCE };
            if now < question.asked_at + patience {
                continue;
            }
            question.asked_at = now;
            for (broker, heard) in &question.ends {
                if !matches!(heard.said, Some(Said::End(_))) {
                    self.turn.ask(*broker, partition.clone(), question.leader_epoch);
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

    /// A broker's list of unproven replicas was read again: what it names no more is proven.
    ///
    /// What it names anew is left out: a list is told late, and may name what was proven since (`prove`). Members of
    /// the ISR whose logs are missing are named with the registration (`broker/lost.rs`); by a log that is made anew
    /// or taken back later no broker leads before it has asked the others (`control/proof.rs`).
    pub(super) fn doubts_cleared(&mut self, broker: BrokerId, unproven: &BTreeSet<TopicPartition>) {
        let proves = self.planted(Planted::ListProves);
        let Some(known) = self.facts.unproven.get_mut(&broker) else { return };
        let is_cleared = |partition: &&TopicPartition| proves || !unproven.contains(*partition);
        let cleared: Vec<_> = known.iter().filter(is_cleared).cloned().collect();
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
        let is_new = former.is_none_or(|former| former.leader_epoch != view.leader_epoch);
        let elected = view.leader.filter(|_| is_new);
        for broker in joined.copied().chain(elected) {
            if let Some(unproven) = self.facts.unproven.get_mut(&broker) {
                unproven.remove(partition);
            }
        }
    }
}
