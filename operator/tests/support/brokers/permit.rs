//! Leave to restart: the rules of the controller, and the operator's term.

use std::collections::BTreeSet;
use std::time::Duration;

use broker_admin::v1::{
    Accept, AcquireRestartPermitRequest, AcquireRestartPermitResponse, BlockedPartition, Fence,
    Refusal,
};
use tonic::Status;

use super::state::State;
use super::tree::Partition;

/// How long leave is good without a renewal while the broker has not gone.
const LEASE: Duration = Duration::from_mins(1);

/// Leave that was given.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    pub(crate) broker: i32,
    pub(crate) epoch: Option<i64>,
    pub(crate) roll: String,
    pub(crate) accept: Accept,
    pub(crate) since: Duration,
    pub(crate) until: Duration,
    /// Where it is to be in sync again.
    pub(crate) partitions: BTreeSet<(String, usize)>,
    pub(crate) drains: bool,
}

/// What a restart takes below `min.insync.replicas`.
#[derive(Default)]
pub(crate) struct Harm {
    /// What others could keep from falling, once they are in sync.
    pub(crate) falls: Vec<BlockedPartition>,
    /// What has too few replicas.
    pub(crate) falls_anyway: Vec<BlockedPartition>,
}

impl State {
    /// Lets an operator through whose term is the highest, and remembers it.
    pub(crate) fn admit(&mut self, fence: Option<&Fence>) -> Result<(), Status> {
        let Some(Fence { term: term @ 1.., holder }) = fence else {
            return Err(Status::invalid_argument("fence.term: at least 1"));
        };
        let known = self.tree.fence.clone().unwrap_or_default();
        let is_known = (*term, holder) == (known.0, &known.1);
        if *term <= known.0 && !is_known {
            let words = format!("term {term} of {holder} is over: {} has {}", known.1, known.0);
            return Err(Status::permission_denied(words));
        }
        if !is_known {
            self.tree.fence = Some((*term, holder.clone()));
            self.touch();
        }
        Ok(())
    }

    /// The broker that is to lead nothing that another can.
    pub(crate) fn drained(&self) -> Option<i32> {
        let permit = self.permit.as_ref().filter(|permit| permit.drains)?;
        (self.lives(permit) && !self.is_over(permit)).then_some(permit.broker)
    }

    /// Whether the incarnation that leave was given for is as it was.
    pub(crate) fn lives(&self, permit: &Permit) -> bool {
        self.epoch(permit.broker) == permit.epoch
    }

    pub(crate) fn is_over(&self, permit: &Permit) -> bool {
        if self.lives(permit) {
            return self.now >= permit.until;
        }
        let mut awaited = self.tree.partitions().filter(|(topic, number, one)| {
            permit.partitions.contains(&((*topic).to_owned(), *number))
                && one.replicas.contains(&permit.broker)
                && !one.isr.contains(&permit.broker)
                && one.leader.is_some()
        });
        self.epoch(permit.broker).is_some() && awaited.next().is_none()
    }

    /// What falls without `broker`.
    pub(crate) fn harm(&self, broker: i32) -> Harm {
        let mut harm = Harm::default();
        for (name, topic) in self.tree.topics.iter().filter(|(_, topic)| topic.deleting.is_none()) {
            let least = self.min_isr(topic);
            let held = topic.partitions.iter().enumerate();
            for (number, one) in held.filter(|(_, one)| one.isr.contains(&broker)) {
                let is_other = |id: &&i32| **id != broker && self.is_up(**id);
                let others = one.isr.iter().filter(is_other).count();
                let words = || blocked(name, number, one, least);
                if others < least.min(one.replicas.len().saturating_sub(1)) {
                    harm.falls.push(words());
                } else if others < least {
                    harm.falls_anyway.push(words());
                }
            }
        }
        harm
    }

    /// Asks the controller for leave.
    pub(crate) fn acquire(
        &mut self,
        asked: &AcquireRestartPermitRequest,
    ) -> Result<AcquireRestartPermitResponse, Status> {
        if asked.roll_id.is_empty() {
            return Err(Status::invalid_argument("roll_id: what the restart is part of"));
        }
        let epoch = (asked.broker_epoch >= 0).then_some(asked.broker_epoch);
        let answer = self.judge(asked, epoch);
        if answer.granted {
            self.give(asked, epoch);
        }
        Ok(answer)
    }

    fn judge(
        &self,
        asked: &AcquireRestartPermitRequest,
        epoch: Option<i64>,
    ) -> AcquireRestartPermitResponse {
        let given = AcquireRestartPermitResponse {
            granted: true,
            lease_ms: LEASE.as_millis() as i64,
            holder_broker_id: -1,
            ..Default::default()
        };
        let is_young = self
            .tree
            .controller
            .is_some_and(|controller| controller.epoch > 1 && self.now < controller.since + LEASE);
        match self.permit.as_ref().filter(|permit| !self.is_over(permit)) {
            Some(permit) if permit.broker != asked.broker_id => {
                let mut answer = refused(Refusal::Held, "another broker may restart");
                answer.holder_broker_id = permit.broker;
                answer.holder_roll_id.clone_from(&permit.roll);
                answer.holder_ms = self.now.saturating_sub(permit.since).as_millis() as i64;
                return answer;
            }
            Some(permit)
                if permit.epoch == epoch && permit.roll == asked.roll_id && !self.lives(permit) =>
            {
                return given;
            }
            None if is_young => {
                return refused(Refusal::NewController, "the controller is new in office");
            }
            Some(_) | None => {}
        }
        if self.epoch(asked.broker_id) != epoch {
            return refused(Refusal::Stale, "the broker is not registered as was said");
        }
        if epoch.is_none() {
            return given;
        }
        let harm = self.harm(asked.broker_id);
        let is_refused = match asked.accept() {
            Accept::Unspecified => !harm.falls.is_empty() || !harm.falls_anyway.is_empty(),
            Accept::Unavoidable => !harm.falls.is_empty(),
            Accept::Everything => false,
        };
        let mut answer = if is_refused {
            refused(Refusal::MinIsr, "partitions would fall below min.insync.replicas")
        } else {
            given
        };
        answer.blocked_total = harm.falls.len() as u32;
        answer.unavoidable_total = harm.falls_anyway.len() as u32;
        answer.blocked = harm.falls.into_iter().take(100).collect();
        answer.unavoidable = harm.falls_anyway.into_iter().take(100).collect();
        answer
    }

    fn give(&mut self, asked: &AcquireRestartPermitRequest, epoch: Option<i64>) {
        let broker = asked.broker_id;
        let is_due = |one: &Partition| match epoch {
            Some(_) => one.isr.contains(&broker),
            None => one.replicas.contains(&broker) && !one.adding.contains(&broker),
        };
        let due = self.tree.partitions().filter(|(_, _, one)| is_due(one));
        let partitions = due.map(|(topic, number, _)| (topic.to_owned(), number)).collect();
        let before = self.permit.take().filter(|permit| !self.is_over(permit));
        let mut permit = Permit {
            broker,
            epoch,
            roll: asked.roll_id.clone(),
            accept: asked.accept(),
            since: self.now,
            until: self.now + LEASE,
            partitions,
            drains: false,
        };
        if let Some(before) = before {
            permit.partitions.extend(before.partitions);
            if (before.epoch, &before.roll) == (epoch, &asked.roll_id) {
                (permit.since, permit.drains) = (before.since, before.drains);
            }
        }
        self.permit = Some(permit);
    }

    /// Gives leave back.
    pub(crate) fn release(&mut self, broker: i32) {
        // Whoever gives it back does not wait for the broker any more.
        self.restarting.remove(&broker);
        self.permit.take_if(|permit| permit.broker == broker);
    }

    /// Has a broker that has leave hand over; returns what it still leads that others hold, too.
    pub(crate) fn drain(&mut self, broker: i32) -> Result<Vec<String>, Status> {
        let has_leave = self.permit.as_ref().is_some_and(|permit| {
            permit.broker == broker && self.lives(permit) && !self.is_over(permit)
        });
        let Some(permit) = self.permit.as_mut().filter(|_| has_leave) else {
            let words = format!("broker {broker} has no restart permit: acquire one first");
            return Err(Status::failed_precondition(words));
        };
        permit.drains = true;
        self.replicate(Duration::ZERO);
        let led = self
            .tree
            .partitions()
            .filter(|(_, _, one)| one.leader == Some(broker) && one.replicas.len() > 1);
        Ok(led.map(|(topic, number, _)| format!("{topic}-{number}")).collect())
    }
}

fn refused(why: Refusal, words: &str) -> AcquireRestartPermitResponse {
    AcquireRestartPermitResponse {
        refusal: why.into(),
        message: words.to_owned(),
        holder_broker_id: -1,
        ..Default::default()
    }
}

fn blocked(topic: &str, number: usize, one: &Partition, least: usize) -> BlockedPartition {
    BlockedPartition {
        topic: topic.to_owned(),
        partition: number as i32,
        replicas: one.replicas.clone(),
        in_sync: one.isr.clone(),
        min_in_sync: least as i32,
    }
}
