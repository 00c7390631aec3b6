//! Leaders go back to the first replicas: on request, by an old tool's node, or by themselves.
//!
//! Source: Kafka 3.9 `checkAndTriggerAutoLeaderRebalance`, `processReplicaLeaderElection`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::effect::Change;
use super::request::{ElectionKind, Reply, Token};
use super::turn::Reason;
use super::waiting::{ElectWaiting, Waiting};
use super::{Balance, State, named};
use crate::controller::partition_election::Presence;

/// How long after its election a controller balances first: brokers are still coming.
const FIRST_BALANCE: Duration = Duration::from_secs(5);

/// How long whoever wants an unclean election waits for what replicas say that they have.
const PATIENCE: Duration = Duration::from_secs(10);

/// When leaders are balanced next; `None` before the load.
#[derive(Debug, Default)]
pub(super) struct BalanceClock {
    next: Option<Duration>,
}

impl State {
    pub(super) fn balance_after_load(&mut self) {
        self.balance.next = Some(self.now + FIRST_BALANCE);
    }

    /// Balances leaders when it is time to.
    pub(super) fn balance_if_due(&mut self) {
        let (Some(next), Some(Balance { percent, interval })) =
            (self.balance.next, self.settings.balance)
        else {
            return;
        };
        if self.now < next {
            return;
        }
        self.balance.next = Some(self.now + interval);
        // Broker to the number of partitions that it should lead, and those it does not.
        let mut brokers: BTreeMap<BrokerId, (usize, Vec<TopicPartition>)> = BTreeMap::new();
        for (name, topic) in self.topics.iter().filter(|(name, _)| !self.deletions.contains(*name))
        {
            for (number, partition) in &topic.partitions {
                let Some(first) = partition.assignment.replicas.first() else { continue };
                let (count, elsewhere) = brokers.entry(*first).or_default();
                *count += 1;
                if partition.view.as_ref().is_some_and(|view| view.leader != Some(*first)) {
                    elsewhere.push(named(name, *number));
                }
            }
        }
        for (broker, (count, elsewhere)) in brokers {
            if elsewhere.len() * 100 <= count * percent as usize {
                continue;
            }
            for partition in elsewhere {
                let is_moving =
                    self.partition(&partition).is_some_and(|held| held.assignment.is_moving());
                let can_lead = self.presence(broker, &partition) == Presence::Up { proven: true };
                if can_lead && !is_moving {
                    self.facts.prefer.insert(partition.clone());
                    self.turn.doubt(partition);
                }
            }
        }
    }

    /// An old tool asks for the first replicas.
    pub(super) fn preferred_asked(&mut self, partitions: BTreeSet<TopicPartition>) {
        for partition in partitions {
            if self.partition(&partition).is_some() {
                self.facts.prefer.insert(partition.clone());
                self.turn.doubt(partition);
            }
        }
        self.turn.change(Change::DeletePreferred, Reason::Plain);
    }

    /// Leaders are to be elected.
    pub(super) fn elect_leaders(
        &mut self,
        token: Token,
        kind: ElectionKind,
        partitions: Option<Vec<TopicPartition>>,
    ) {
        let wants_all = partitions.is_none();
        let asked = partitions.unwrap_or_else(|| self.partitions_where(|_| true));
        let until = self.now + PATIENCE;
        let mut waiting =
            ElectWaiting { token, kind, until, done: BTreeMap::new(), left: BTreeSet::new() };
        for partition in asked {
            let refusal = match self.partition(&partition) {
                None => Some(ErrorCode::UnknownTopicOrPartition),
                Some(_) if self.deletions.contains(&partition.topic) => {
                    Some(ErrorCode::InvalidTopicException)
                }
                Some(_) if !self.needs_election(kind, &partition) => {
                    Some(ErrorCode::ElectionNotNeeded)
                }
                Some(_) => None,
            };
            if let Some(refusal) = refusal {
                if !wants_all {
                    waiting.done.insert(partition, refusal);
                }
                continue;
            }
            match kind {
                ElectionKind::Preferred => self.facts.prefer.insert(partition.clone()),
                ElectionKind::Unclean => self.facts.unclean.insert(partition.clone()),
            };
            self.turn.doubt(partition.clone());
            waiting.left.insert(partition);
        }
        self.waiting.push(Waiting::Elect(waiting));
    }

    fn needs_election(&self, kind: ElectionKind, partition: &TopicPartition) -> bool {
        let Some(held) = self.partition(partition) else { return false };
        let leader = held.view.as_ref().and_then(|view| view.leader);
        match kind {
            ElectionKind::Preferred => leader != held.assignment.replicas.first().copied(),
            ElectionKind::Unclean => {
                leader.is_none_or(|leader| self.presence(leader, partition) == Presence::Gone)
            }
        }
    }

    /// Answers a request whose elections are done; returns one that waits for what replicas say that they have.
    pub(super) fn answer_election(&mut self, mut waiting: ElectWaiting) -> Option<ElectWaiting> {
        let is_over = self.now >= waiting.until;
        for partition in std::mem::take(&mut waiting.left) {
            let error = match (self.needs_election(waiting.kind, &partition), waiting.kind) {
                (false, _) => ErrorCode::None,
                (true, ElectionKind::Preferred) => ErrorCode::PreferredLeaderNotAvailable,
                (true, ElectionKind::Unclean) => {
                    if self.facts.questions.contains_key(&partition) && !is_over {
                        waiting.left.insert(partition);
                        continue;
                    }
                    // Who is told that it cannot be does not expect that it is done later.
                    self.facts.unclean.remove(&partition);
                    ErrorCode::EligibleLeadersNotAvailable
                }
            };
            waiting.done.insert(partition, error);
        }
        if !waiting.left.is_empty() {
            return Some(waiting);
        }
        self.turn.reply(waiting.token, Reply::ElectLeaders(waiting.done));
        None
    }
}
