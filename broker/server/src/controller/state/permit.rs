//! Leave to restart one broker, so that nobody's plan takes a partition below `min.insync.replicas`.
//!
//! One permit of a cluster at a time, kept by the controller alone: one that is elected later knows of none, and gives
//! none for as long as one of its predecessor may be good. After that a broker that went by it is in no ISR, and by
//! the ISRs every permit is judged.
//!
//! A permit is for one incarnation of a broker, and over when that broker is registered in another one and in sync
//! everywhere. While the incarnation lives it is a lease: without a renewal in time it is over. Each renewal is
//! judged like the first request; one that is refused ends nothing, for a restart may be on its way. Once the
//! incarnation is gone only its return ends the permit, or an operator that gives it back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::effect::View;
use super::request::{Reply, Token};
use super::{State, named};

/// How long a permit is good without a renewal while the broker has not gone.
pub const LEASE: Duration = Duration::from_mins(1);

/// The epoch of a cluster's first controller.
const FIRST_EPOCH: i32 = 1;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitRequest {
    /// The broker that is to be restarted.
    pub broker: BrokerId,
    /// Its broker epoch.
    pub broker_epoch: i64,
    /// What the restart is part of; who names the same renews.
    pub roll: Arc<str>,
    /// Whether partitions that any restart takes below `min.insync.replicas` may stand back.
    pub accepts_unavoidable: bool,
    /// `min.insync.replicas` of the topics that set it.
    pub min_isr: BTreeMap<Arc<str>, usize>,
    /// The same of the others.
    pub default_min_isr: usize,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitAnswer {
    /// Why leave was not given; `None` where it was.
    pub refusal: Option<Refusal>,
    /// Partitions that would fall below `min.insync.replicas`, and would not once others are in sync.
    pub blocked: Vec<Blocked>,
    /// Partitions that have too few replicas to do without one.
    pub unavoidable: Vec<Blocked>,
}

/// Why leave was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// This other broker has leave, or is not back.
    Held(BrokerId),
    /// Partitions would fall below `min.insync.replicas`.
    MinIsr,
    /// The broker is not registered in that incarnation.
    Stale,
    /// Another controller was in office a moment ago, and may have given leave.
    NewController,
}

/// A partition that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Which.
    pub partition: TopicPartition,
    /// Its replicas.
    pub replicas: Vec<BrokerId>,
    /// Those in sync whose brokers are up.
    pub in_sync: Vec<BrokerId>,
    /// `min.insync.replicas`.
    pub min_isr: usize,
}

/// Leave that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permit {
    broker: BrokerId,
    broker_epoch: i64,
    roll: Arc<str>,
    /// Since the controller began.
    until: Duration,
}

/// What a restart does to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    None,
    /// Too few are in sync without this broker; more could be.
    Falls,
    /// Too few are in sync without this broker, and no more could be.
    FallsAnyway,
}

/// Judges a restart of a member of the ISR: how many `replicas` there are, this one among them, and how many
/// `others` are in sync and up.
fn harm(replicas: usize, others: usize, min_isr: usize) -> Harm {
    let most = replicas.saturating_sub(1);
    if others < min_isr.min(most) {
        Harm::Falls
    } else if others < min_isr {
        Harm::FallsAnyway
    } else {
        Harm::None
    }
}

impl State {
    /// Somebody asks for leave to restart a broker, or for more time.
    pub(super) fn acquire_permit(&mut self, token: Token, asked: &PermitRequest) {
        let answer = self.judge_restart(asked);
        if answer.refusal.is_none() {
            self.permit = Some(Permit {
                broker: asked.broker,
                broker_epoch: asked.broker_epoch,
                roll: Arc::clone(&asked.roll),
                until: self.now + LEASE,
            });
        }
        self.turn.reply(token, Reply::Permit(answer));
    }

    /// Nobody needs it any more, whatever it was part of. Nothing happens to a permit of another broker.
    pub(super) fn release_permit(&mut self, token: Token, broker: BrokerId) {
        self.permit.take_if(|permit| permit.broker == broker);
        self.turn.reply(token, Reply::PermitReleased);
    }

    fn judge_restart(&self, asked: &PermitRequest) -> PermitAnswer {
        let refused = |refusal| PermitAnswer {
            refusal: Some(refusal),
            blocked: Vec::new(),
            unavoidable: Vec::new(),
        };
        let held = self.permit.as_ref().filter(|permit| !self.is_over(permit));
        match held {
            Some(permit) if permit.broker != asked.broker => {
                return refused(Refusal::Held(permit.broker));
            }
            // Its broker is on the way.
            Some(permit) if permit.is_of(asked) && !self.lives(permit) => {
                return PermitAnswer {
                    refusal: None,
                    blocked: Vec::new(),
                    unavoidable: Vec::new(),
                };
            }
            None if self.controller_epoch > FIRST_EPOCH && self.now < LEASE => {
                return refused(Refusal::NewController);
            }
            Some(_) | None => {}
        }
        if !self.is_current(asked.broker, asked.broker_epoch) {
            return refused(Refusal::Stale);
        }
        let (mut blocked, mut unavoidable) = (Vec::new(), Vec::new());
        for (view, min_isr) in self.held_in_sync(asked) {
            let others: Vec<BrokerId> = view
                .isr
                .iter()
                .copied()
                .filter(|id| *id != asked.broker && self.is_up(*id))
                .collect();
            let harm = harm(view.assignment.replicas.len(), others.len(), min_isr);
            let list = match harm {
                Harm::None => continue,
                Harm::Falls => &mut blocked,
                Harm::FallsAnyway => &mut unavoidable,
            };
            let in_sync = view.isr.iter().copied().filter(|id| self.is_up(*id)).collect();
            list.push(Blocked {
                partition: view.partition.clone(),
                replicas: view.assignment.replicas.clone(),
                in_sync,
                min_isr,
            });
        }
        let is_refused =
            !blocked.is_empty() || !asked.accepts_unavoidable && !unavoidable.is_empty();
        PermitAnswer { refusal: is_refused.then_some(Refusal::MinIsr), blocked, unavoidable }
    }

    /// The partitions whose ISR has the broker, each with its `min.insync.replicas`.
    fn held_in_sync(&self, asked: &PermitRequest) -> impl Iterator<Item = (&View, usize)> {
        let topics = self.topics.iter().filter(|(_, topic)| topic.deletion.is_none());
        topics.flat_map(|(name, topic)| {
            let min_isr = asked.min_isr.get(name).copied().unwrap_or(asked.default_min_isr);
            let views = topic.partitions.values().filter_map(|partition| partition.view.as_deref());
            views.filter(|view| view.isr.contains(&asked.broker)).map(move |view| (view, min_isr))
        })
    }

    /// Whether a broker counts: it is registered, does not stop, and its port does not refuse.
    fn is_up(&self, broker: BrokerId) -> bool {
        self.brokers.contains_key(&broker)
            && !self.shutting_down.contains(&broker)
            && !self.suspects.contains(&broker)
    }

    /// Whether the incarnation that a permit is for still runs.
    fn lives(&self, permit: &Permit) -> bool {
        self.is_current(permit.broker, permit.broker_epoch)
    }

    fn is_over(&self, permit: &Permit) -> bool {
        if self.lives(permit) {
            return self.now >= permit.until;
        }
        self.brokers.contains_key(&permit.broker) && self.is_in_sync_everywhere(permit.broker)
    }

    /// Whether a broker is in the ISR of all its partitions, but for those on failed directories.
    fn is_in_sync_everywhere(&self, broker: BrokerId) -> bool {
        self.topics.iter().filter(|(_, topic)| topic.deletion.is_none()).all(|(name, topic)| {
            topic.partitions.iter().all(|(number, partition)| {
                let is_in = partition.view.as_ref().is_some_and(|view| view.isr.contains(&broker));
                let failed = self.facts.failed.get(&named(name, *number));
                is_in
                    || !partition.assignment.replicas.contains(&broker)
                    || failed.is_some_and(|failed| failed.contains(&broker))
            })
        })
    }
}

impl Permit {
    fn is_of(&self, asked: &PermitRequest) -> bool {
        self.broker == asked.broker
            && self.broker_epoch == asked.broker_epoch
            && self.roll == asked.roll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas, others in sync, `min.insync.replicas`, and what a restart does.
    #[test]
    fn a_restart_is_judged_by_what_is_left_in_sync() {
        let cases = [
            (3, 2, 2, Harm::None),
            (3, 1, 2, Harm::Falls),
            (3, 0, 2, Harm::Falls),
            (3, 1, 1, Harm::None),
            (3, 0, 1, Harm::Falls),
            // Nothing can be done about these; but the others that could be in sync are to be.
            (3, 2, 3, Harm::FallsAnyway),
            (3, 1, 3, Harm::Falls),
            (2, 1, 2, Harm::FallsAnyway),
            (2, 0, 2, Harm::Falls),
            (1, 0, 1, Harm::FallsAnyway),
            (1, 0, 2, Harm::FallsAnyway),
        ];
        for (replicas, others, min_isr, expected) in cases {
            assert_eq!(harm(replicas, others, min_isr), expected, "{replicas} {others} {min_isr}");
        }
    }
}
