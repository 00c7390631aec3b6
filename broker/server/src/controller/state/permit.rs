//! Leave to restart one broker, so that nobody's plan takes a partition below `min.insync.replicas`.
//!
//! One permit of a cluster at a time, kept by the controller alone: one that is elected later knows of none, and gives
//! none for as long as one of its predecessor may be good. After that a broker that went by it is in no ISR, and by
//! the ISRs every permit is judged.
//!
//! A permit is for one incarnation of a broker, and over once that broker is registered in another one and in sync
//! wherever it was. While the incarnation lives it is a lease: without a renewal in time it is over. Each renewal is
//! judged like the first request; one that is refused ends nothing, for a restart may be on its way. Once the
//! incarnation is gone only its return ends the permit, or an operator that gives it back.
//!
//! A broker that is not registered gets leave, too, whatever is in sync: nothing can fall that has not fallen.
//!
//! Terms of operators rise: the controller obeys none that is lower than one it has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::State;
use super::effect::View;
use super::request::{Reply, Token};
use super::waiting::Waiting;

/// How long a permit is good without a renewal while the broker has not gone.
pub const LEASE: Duration = Duration::from_mins(1);

/// Partitions that an answer names; it counts all.
pub const NAMED_MAX: usize = 100;

/// The epoch of a cluster's first controller.
const FIRST_EPOCH: i32 = 1;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitRequest {
    /// The term of the operator that asks.
    pub term: u64,
    /// The broker that is to be restarted.
    pub broker: BrokerId,
    /// Its broker epoch; `None` for one that is not registered.
    pub broker_epoch: Option<i64>,
    /// What the restart is part of; who names the same renews.
    pub roll: Arc<str>,
    /// What may fall below `min.insync.replicas`.
    pub accepts: Accepts,
    /// `min.insync.replicas` of the topics that set it.
    pub min_isr: BTreeMap<Arc<str>, usize>,
    /// The same of the others.
    pub default_min_isr: usize,
}

/// What may fall below `min.insync.replicas` by a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Accepts {
    /// Nothing.
    Nothing,
    /// Partitions that any restart takes there.
    Unavoidable,
    /// Whatever falls.
    Everything,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitAnswer {
    /// Why leave was not given; `None` where it was.
    pub refusal: Option<Refusal>,
    /// Partitions that would fall below `min.insync.replicas`, and would not once others are in sync; where another
    /// broker has leave, those that it is not in sync of again.
    pub blocked: Named,
    /// Partitions that have too few replicas to do without one.
    pub unavoidable: Named,
}

/// Why leave was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another broker has leave, or is not back.
    Held(Holder),
    /// Partitions would fall below `min.insync.replicas`.
    MinIsr,
    /// The broker is not registered in that incarnation, or is and was said not to be.
    Stale,
    /// Another controller was in office a moment ago, and may have given leave.
    NewController,
    /// An operator with this term has been here.
    Fenced(u64),
}

/// Who has leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The broker.
    pub broker: BrokerId,
    /// What its restart is part of.
    pub roll: Arc<str>,
    /// For how long it has had leave.
    pub held: Duration,
}

/// Partitions, of which the first [`NAMED_MAX`] are named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// The first ones.
    pub first: Vec<Blocked>,
    /// How many there are.
    pub count: usize,
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
    /// `min.insync.replicas`; `None` where it does not matter, or is not known.
    pub min_isr: Option<usize>,
}

/// Leave that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permit {
    broker: BrokerId,
    broker_epoch: Option<i64>,
    roll: Arc<str>,
    /// Since the controller began.
    since: Duration,
    until: Duration,
    /// Where the broker is to be in sync again.
    partitions: BTreeSet<TopicPartition>,
    /// Whether the broker is to lead nothing that another can.
    drains: bool,
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

impl Named {
    fn add(&mut self, blocked: impl FnOnce() -> Blocked) {
        self.count += 1;
        if self.first.len() < NAMED_MAX {
            self.first.push(blocked());
        }
    }
}

impl PermitAnswer {
    fn given() -> Self {
        Self { refusal: None, blocked: Named::default(), unavoidable: Named::default() }
    }

    fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::given() }
    }
}

impl State {
    /// Somebody asks for leave to restart a broker, or for more time.
    pub(super) fn acquire_permit(&mut self, token: Token, asked: &PermitRequest) {
        let answer = match self.fence(asked.term) {
            Err(refusal) => PermitAnswer::refused(refusal),
            Ok(()) => self.judge_restart(asked),
        };
        if answer.refusal.is_none() {
            self.give_leave(asked);
        }
        self.turn.reply(token, Reply::Permit(answer));
    }

    /// Nobody needs it any more, whatever it was part of. Nothing happens to a permit of another broker.
    pub(super) fn release_permit(&mut self, token: Token, term: u64, broker: BrokerId) {
        let released = self.fence(term);
        if released.is_ok() {
            self.permit.take_if(|permit| permit.broker == broker);
        }
        self.turn.reply(token, Reply::PermitReleased(released));
    }

    /// The broker that has leave is to lead nothing that another can, for as long as it has leave; `None` is
    /// answered where it has none.
    pub(super) fn drain(&mut self, token: Token, term: u64, broker: BrokerId) {
        if let Err(refusal) = self.fence(term) {
            self.turn.reply(token, Reply::Drained(Err(refusal)));
            return;
        }
        let has_leave = self.permit.as_ref().is_some_and(|permit| {
            permit.broker == broker && self.lives(permit) && !self.is_over(permit)
        });
        let Some(permit) = self.permit.as_mut().filter(|_| has_leave) else {
            self.turn.reply(token, Reply::Drained(Ok(None)));
            return;
        };
        permit.drains = true;
        for partition in self.still_led(broker) {
            self.turn.doubt(partition);
        }
        self.waiting.push(Waiting::Drain { token, broker });
    }

    /// The broker that is to lead nothing that another can.
    pub(super) fn drained(&self) -> Option<BrokerId> {
        let drains = self.permit.as_ref().filter(|permit| permit.drains)?;
        (self.lives(drains) && !self.is_over(drains)).then_some(drains.broker)
    }

    /// Lets the newest operator through.
    fn fence(&mut self, term: u64) -> Result<(), Refusal> {
        if term < self.operator_term {
            return Err(Refusal::Fenced(self.operator_term));
        }
        self.operator_term = term;
        Ok(())
    }

    fn give_leave(&mut self, asked: &PermitRequest) {
        let is_away = asked.broker_epoch.is_none();
        let partitions = self.held_by(asked.broker).filter(|view| {
            is_away && !view.assignment.adding.contains(&asked.broker)
                || view.isr.contains(&asked.broker)
        });
        let partitions: BTreeSet<_> = partitions.map(|view| view.partition.clone()).collect();
        let before = self.permit.take().filter(|permit| !self.is_over(permit));
        let mut permit = Permit {
            broker: asked.broker,
            broker_epoch: asked.broker_epoch,
            roll: Arc::clone(&asked.roll),
            since: self.now,
            until: self.now + LEASE,
            partitions,
            drains: false,
        };
        // Of the same broker: where it was before the last restart it is to be again.
        if let Some(before) = before {
            permit.partitions.extend(before.partitions.iter().cloned());
            if before.is_of(asked) {
                (permit.since, permit.drains) = (before.since, before.drains);
            }
        }
        self.permit = Some(permit);
    }

    fn judge_restart(&self, asked: &PermitRequest) -> PermitAnswer {
        let held = self.permit.as_ref().filter(|permit| !self.is_over(permit));
        match held {
            Some(permit) if permit.broker != asked.broker => return self.held(permit),
            // Its broker is on the way.
            Some(permit) if permit.is_of(asked) && !self.lives(permit) => {
                return PermitAnswer::given();
            }
            None if self.controller_epoch > FIRST_EPOCH && self.now < LEASE => {
                return PermitAnswer::refused(Refusal::NewController);
            }
            Some(_) | None => {}
        }
        if !self.is_as_said(asked.broker, asked.broker_epoch) {
            return PermitAnswer::refused(Refusal::Stale);
        }
        let mut answer = PermitAnswer::given();
        if asked.broker_epoch.is_none() {
            return answer;
        }
        for view in self.held_by(asked.broker).filter(|view| view.isr.contains(&asked.broker)) {
            let topic = &view.partition.topic;
            let min_isr = asked.min_isr.get(topic).copied().unwrap_or(asked.default_min_isr);
            let is_other = |id: &&BrokerId| **id != asked.broker && self.is_up(**id);
            let others = view.isr.iter().filter(is_other).count();
            match harm(view.assignment.replicas.len(), others, min_isr) {
                Harm::None => {}
                Harm::Falls => answer.blocked.add(|| self.blocked(view, Some(min_isr))),
                Harm::FallsAnyway => answer.unavoidable.add(|| self.blocked(view, Some(min_isr))),
            }
        }
        let is_refused = match asked.accepts {
            Accepts::Nothing => answer.blocked.count + answer.unavoidable.count > 0,
            Accepts::Unavoidable => answer.blocked.count > 0,
            Accepts::Everything => false,
        };
        answer.refusal = is_refused.then_some(Refusal::MinIsr);
        answer
    }

    /// Says who has leave, and what it is not in sync of again.
    fn held(&self, permit: &Permit) -> PermitAnswer {
        let mut answer = PermitAnswer::refused(Refusal::Held(Holder {
            broker: permit.broker,
            roll: Arc::clone(&permit.roll),
            held: self.now.saturating_sub(permit.since),
        }));
        if !self.lives(permit) {
            for view in self.awaited(permit) {
                answer.blocked.add(|| self.blocked(view, None));
            }
        }
        answer
    }

    fn blocked(&self, view: &View, min_isr: Option<usize>) -> Blocked {
        Blocked {
            partition: view.partition.clone(),
            replicas: view.assignment.replicas.clone(),
            in_sync: view.isr.iter().copied().filter(|id| self.is_up(*id)).collect(),
            min_isr,
        }
    }

    /// The partitions of which the broker is a replica.
    fn held_by(&self, broker: BrokerId) -> impl Iterator<Item = &View> {
        let topics = self.topics.values().filter(|topic| topic.deletion.is_none());
        let partitions = topics.flat_map(|topic| topic.partitions.values());
        let views = partitions.filter_map(|partition| partition.view.as_deref());
        views.filter(move |view| view.assignment.replicas.contains(&broker))
    }

    /// The partitions in whose ISR the broker of a permit is missing and could be: somebody leads whom it can copy,
    /// and it has a disk to copy to.
    fn awaited<'a>(&'a self, permit: &'a Permit) -> impl Iterator<Item = &'a View> {
        self.held_by(permit.broker).filter(|view| {
            let partition = &view.partition;
            let failed = self.facts.failed.get(partition);
            permit.partitions.contains(partition)
                && !view.isr.contains(&permit.broker)
                && view.leader.is_some()
                && !self.facts.unreadable.contains(partition)
                && !self.unread.contains(&partition.topic)
                && failed.is_none_or(|failed| !failed.contains(&permit.broker))
        })
    }

    /// Whether a broker counts: it is registered, does not stop, and its port does not refuse.
    fn is_up(&self, broker: BrokerId) -> bool {
        self.brokers.contains_key(&broker)
            && !self.shutting_down.contains(&broker)
            && !self.suspects.contains(&broker)
    }

    /// Whether a broker is registered with this epoch, or not at all.
    fn is_as_said(&self, broker: BrokerId, epoch: Option<i64>) -> bool {
        epoch.map_or(!self.brokers.contains_key(&broker), |epoch| self.is_current(broker, epoch))
    }

    /// Whether what a permit is for is still as it was.
    fn lives(&self, permit: &Permit) -> bool {
        self.is_as_said(permit.broker, permit.broker_epoch)
    }

    fn is_over(&self, permit: &Permit) -> bool {
        if self.lives(permit) {
            return self.now >= permit.until;
        }
        self.brokers.contains_key(&permit.broker) && self.awaited(permit).next().is_none()
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
            // Where nobody can read what it is, all others are to be in sync.
            (3, 1, usize::MAX, Harm::Falls),
            (3, 2, usize::MAX, Harm::FallsAnyway),
        ];
        for (replicas, others, min_isr, expected) in cases {
            assert_eq!(harm(replicas, others, min_isr), expected, "{replicas} {others} {min_isr}");
        }
    }
}
