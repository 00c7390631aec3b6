//! Which brokers a cluster has, who comes and who goes, and what is done about what lies on them. Pure.
//!
//! The brokers that are to be follow from the spec alone (`names::broker_ids`). Of those that are not:
//!
//! | the broker | then |
//! |---|---|
//! | cannot go (`drain`) | it stays, gets replicas again, and why is said |
//! | can go | it gets no new replicas, is noted in the status, and is emptied, a batch at a time |
//! | is empty, as the tree says, and noted | its StatefulSet is deleted |
//! | is gone: no set, no pod, not registered | its claims go, if the spec says so; then brokers forget it, and the note goes |
//!
//! A broker that is to be gets replicas, whatever was before: who changes his mind has the rest stay where it is, but
//! for what moves already. Once nobody is to go, and all that are to be serve, what lies on them is spread anew
//! (`rebalance`) if one of them has less than half of its share; the note of that is the plan in the status. A plan that
//! waits for leave is proposed anew, by another digest, when other moves would be made than it says.
//!
//! Nothing is begun while a broker that is to be does not serve or is about to be restarted: see [`Facts::may_move`].

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{self, Layout, Move};
use super::{drain, rebalance};
use crate::assignment::Broker;
use crate::crd::cluster::status::{Drain, Plan};
use crate::crd::cluster::{Rebalance, RebalanceMode, VolumePolicy};

pub mod act;
mod plan;
pub mod read;

/// What is known of the brokers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Brokers that are to be, by the spec.
    pub wanted: Vec<i32>,
    /// What there is of each broker in Kubernetes.
    pub own: BTreeMap<i32, Own>,
    /// Whether brokers agree by ZooKeeper: one without has all that the cluster knows on its own disk.
    pub has_zookeeper: bool,
    /// Racks of brokers where the operator knows them.
    pub racks: BTreeMap<i32, String>,
    /// What brokers say, or why none does, in words.
    pub said: Result<Said, String>,
    /// Brokers that `Topic` objects assign partitions to, by the object's name.
    pub assigned: BTreeMap<String, BTreeSet<i32>>,
    /// Why nothing may be begun just now, for people; none if it may.
    pub may_move: Result<(), String>,
    /// How replicas are to be spread anew.
    pub rebalance: Rebalance,
    /// What becomes of volumes.
    pub on_delete: VolumePolicy,
    /// What the status notes: brokers that are being emptied, and the plan.
    pub drains: Vec<Drain>,
    /// The plan that the status notes.
    pub plan: Option<Plan>,
}

/// What there is of a broker in Kubernetes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// Its StatefulSet, or a pod that is left of one.
    pub is_there: bool,
    /// Claims of its volumes.
    pub has_claims: bool,
    /// Whether it serves.
    pub serves: bool,
}

/// What brokers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// What lies where.
    pub layout: Layout,
    /// Bytes that are left of what moves off a broker that is to go, where they were asked for.
    pub left: BTreeMap<i32, u64>,
}

/// One change. Each can be made again when it is not known whether it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Have a broker get no new replicas, or get them again.
    Cordon {
        /// Which.
        broker: i32,
        /// Whether it gets none.
        is_cordoned: bool,
    },
    /// Give partitions other replicas.
    Move {
        /// Which, and which ones.
        moves: Vec<Move>,
    },
    /// Take throttles of moves away.
    ClearThrottles,
    /// Delete the StatefulSet of a broker, which is gone once its pod is.
    Delete {
        /// Which.
        broker: i32,
    },
    /// Delete the claims of a broker.
    DeleteClaims {
        /// Which.
        broker: i32,
    },
    /// Have brokers forget one.
    Forget {
        /// Which.
        broker: i32,
    },
}

/// What follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What is done now, in order; after the status says what is below.
    pub steps: Vec<Step>,
    /// What the status is to note: brokers that are being emptied, or cannot be.
    pub drains: Vec<Drain>,
    /// What the status is to note: how replicas are spread anew.
    pub plan: Option<Plan>,
    /// Brokers that stay although they are not to be, by id, with why.
    pub refused: BTreeMap<i32, String>,
    /// Why nobody knows what is to be done, if so: what was noted stays.
    pub unknown: Option<String>,
    /// Whether a plan waits for leave.
    pub waits_for_approval: bool,
    /// Whether something goes on that nobody tells of: it is looked at again soon.
    pub goes_on: bool,
}

impl Decision {
    /// What the status is to note once all steps are taken: who is forgotten is noted no more.
    pub fn drains_after(&self) -> Vec<Drain> {
        let is_over = |drain: &&Drain| self.steps.contains(&Step::Forget { broker: drain.broker });
        self.drains.iter().filter(|drain| !is_over(drain)).cloned().collect()
    }
}

/// The brokers that are to be built: those that are to be, and those that are not gone yet. Without ZooKeeper whoever is
/// there stays, alone.
pub fn present(wanted: &[i32], own: &BTreeMap<i32, Own>, has_zookeeper: bool) -> Vec<i32> {
    let there: BTreeSet<i32> =
        own.iter().filter(|(_, own)| own.is_there).map(|(id, _)| *id).collect();
    if !has_zookeeper && !there.is_empty() {
        return there.into_iter().collect();
    }
    there.into_iter().chain(wanted.iter().copied()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Brokers that are not to be and not gone yet: those that are there, and those that the status notes.
pub fn leaving(wanted: &[i32], own: &BTreeMap<i32, Own>, drains: &[Drain]) -> Vec<i32> {
    let there = own.iter().filter(|(_, own)| own.is_there).map(|(id, _)| *id);
    let noted = drains.iter().map(|drain| drain.broker);
    let all: BTreeSet<i32> = there.chain(noted).filter(|id| !wanted.contains(id)).collect();
    all.into_iter().collect()
}

/// Whether a broker is restarted for what its pod is: one that is being emptied only if it does not serve, for what is
/// on it may be nowhere else.
pub fn is_rolled(is_being_emptied: bool, is_outdated: bool, serves: bool) -> bool {
    !is_being_emptied || (is_outdated && !serves)
}

/// Decides.
pub fn decide(facts: &Facts) -> Decision {
    let leaving = leaving(&facts.wanted, &facts.own, &facts.drains);
    if !facts.has_zookeeper {
        let words = "it has the cluster's tree on its own disk: a cluster without zookeeper keeps its broker";
        return refuse_all(&leaving, words);
    }
    let said = match &facts.said {
        Ok(said) => said,
        Err(why) => return nobody(facts, &leaving, why),
    };
    let ground = drain::Ground {
        layout: &said.layout,
        wanted: &facts.wanted,
        leaving: &leaving,
        assigned: &facts.assigned,
    };
    let refused = ground.refusals();
    let going: Vec<i32> = leaving.iter().copied().filter(|id| !refused.contains_key(id)).collect();
    let mut decision = Decision::default();
    for (id, why) in &refused {
        decision.drains.push(note(facts, said, *id, why.clone()));
    }
    decision.refused = refused;
    cordon(facts, said, &going, &mut decision);
    empty(facts, said, &going, &mut decision);
    retire(facts, said, &going, &mut decision);
    if going.is_empty() {
        spread(facts, said, &mut decision);
    }
    let is_moving = said.layout.is_moving();
    let moves = decision.steps.iter().any(|step| matches!(step, Step::Move { .. }));
    if said.layout.is_throttled && !is_moving && !moves && decision.plan.is_none() {
        decision.steps.push(Step::ClearThrottles);
    }
    decision.goes_on |= is_moving || !going.is_empty() || !decision.steps.is_empty();
    decision.drains.sort_by_key(|drain| drain.broker);
    decision
}

fn refuse_all(leaving: &[i32], words: &str) -> Decision {
    let drains = leaving.iter().map(|id| Drain {
        broker: *id,
        message: words.to_owned(),
        ..Drain::default()
    });
    let refused = leaving.iter().map(|id| (*id, words.to_owned())).collect();
    Decision { drains: drains.collect(), refused, ..Decision::default() }
}

/// Nobody answers: what was noted stays so, and why is said.
fn nobody(facts: &Facts, leaving: &[i32], why: &str) -> Decision {
    let noted = |id: &i32| {
        let before = facts.drains.iter().find(|drain| drain.broker == *id).cloned();
        let before = before.unwrap_or(Drain { broker: *id, ..Drain::default() });
        Drain { message: why.to_owned(), ..before }
    };
    let drains = leaving.iter().map(noted).collect();
    let unknown = Some(why.to_owned());
    Decision { drains, plan: facts.plan.clone(), unknown, goes_on: true, ..Decision::default() }
}

fn note(facts: &Facts, said: &Said, id: i32, message: String) -> Drain {
    let measured = said.left.get(&id).copied();
    let (replicas, bytes) = drain::left(&said.layout, id, measured);
    let is_there = facts.own.get(&id).is_some_and(|own| own.is_there);
    Drain {
        broker: id,
        replicas_left: if is_there { i64::try_from(replicas).unwrap_or(i64::MAX) } else { 0 },
        bytes_left: if is_there { i64::try_from(bytes).unwrap_or(i64::MAX) } else { 0 },
        message,
    }
}

/// Who goes gets nothing new; everybody else of ours does.
fn cordon(facts: &Facts, said: &Said, going: &[i32], decision: &mut Decision) {
    let is_there = |id: &i32| facts.own.get(id).is_some_and(|own| own.is_there);
    let closed = |id: &i32| said.layout.broker(*id).is_some_and(|one| one.is_cordoned);
    for id in going.iter().filter(|id| is_there(id) && !closed(id)) {
        decision.steps.push(Step::Cordon { broker: *id, is_cordoned: true });
    }
    let staying = facts.wanted.iter().chain(decision.refused.keys());
    let again: Vec<i32> = staying.copied().filter(closed).collect();
    for broker in again {
        decision.steps.push(Step::Cordon { broker, is_cordoned: false });
    }
}

/// Brokers that replicas may be given to: they are to be, registered, and serve.
fn usable(facts: &Facts, said: &Said) -> Vec<Broker> {
    let mut usable = Vec::new();
    for id in &facts.wanted {
        let Some(broker) = said.layout.broker(*id) else { continue };
        let serves = facts.own.get(id).is_some_and(|own| own.serves);
        if broker.is_registered && !broker.is_cordoned && serves {
            let rack = broker.rack.clone().or_else(|| facts.racks.get(id).cloned());
            usable.push(Broker { id: *id, rack });
        }
    }
    usable
}

/// How many moves are looked for: no batch has more.
const LOOKED_FOR: usize = 100;

fn empty(facts: &Facts, said: &Said, going: &[i32], decision: &mut Decision) {
    let there: Vec<i32> = going.iter().copied().filter(|id| !is_gone(facts, *id)).collect();
    if there.is_empty() {
        return;
    }
    let moves = drain::moves(&said.layout, &there, &usable(facts, said), LOOKED_FOR);
    let mut begun = moves.turned;
    let mut message = moves.stuck;
    match &facts.may_move {
        Ok(()) => begun.extend(layout::batch(&said.layout, moves.resting)),
        Err(why) if !moves.resting.is_empty() => message.clone_from(why),
        Err(_) => {}
    }
    for id in there {
        decision.drains.push(note(facts, said, id, message.clone()));
    }
    // Nobody is to place anything there any more before the first replica leaves.
    let is_closed = !decision.steps.iter().any(|step| matches!(step, Step::Cordon { .. }));
    if is_closed && !begun.is_empty() {
        decision.steps.push(Step::Move { moves: begun });
    }
}

fn is_gone(facts: &Facts, id: i32) -> bool {
    facts.own.get(&id).is_none_or(|own| !own.is_there)
}

/// Who is empty goes; who is gone is forgotten.
fn retire(facts: &Facts, said: &Said, going: &[i32], decision: &mut Decision) {
    for id in going.iter().copied() {
        let own = facts.own.get(&id).copied().unwrap_or_default();
        let is_noted = facts.drains.iter().any(|drain| drain.broker == id);
        let broker = said.layout.broker(id).cloned().unwrap_or_default();
        let partitions = said.layout.topics.iter().flat_map(|topic| &topic.partitions);
        let is_empty = broker.replicas == 0
            && partitions.into_iter().all(|partition| !partition.replicas.contains(&id));
        if own.is_there {
            if is_empty && is_noted && broker.is_cordoned {
                decision.steps.push(Step::Delete { broker: id });
            }
            continue;
        }
        let message = if broker.is_registered {
            "it has ended, and is registered still"
        } else if own.has_claims && facts.on_delete == VolumePolicy::Delete {
            decision.steps.push(Step::DeleteClaims { broker: id });
            "its volumes are deleted"
        } else {
            decision.steps.push(Step::Forget { broker: id });
            "the others forget it"
        };
        decision.drains.push(note(facts, said, id, message.to_owned()));
    }
}

/// Spreads anew what lies on brokers, if one has come.
fn spread(facts: &Facts, said: &Said, decision: &mut Decision) {
    if facts.rebalance.mode == RebalanceMode::Off {
        return;
    }
    let members = usable(facts, said);
    let names = plan::brokers(&members);
    let noted = facts.plan.as_ref().filter(|noted| plan::is_of(noted, &names));
    if members.len() < facts.wanted.len() {
        // Who has not come yet would be planned for again.
        decision.plan = noted.cloned();
        return;
    }
    if noted.is_none() && !rebalance::is_called_for(&said.layout, &members) {
        return;
    }
    let approval = facts.rebalance.approval.as_ref();
    let moves = match approval {
        Some(_) => rebalance::lasting_moves(&said.layout, &members),
        None => rebalance::moves(&said.layout, &members),
    };
    if moves.is_empty() && !said.layout.is_moving() {
        return;
    }
    let Some(noted) = noted else {
        decision.plan = (!moves.is_empty()).then(|| plan::propose(&names, &moves));
        decision.waits_for_approval = decision.plan.is_some() && approval.is_some();
        decision.goes_on = !decision.waits_for_approval;
        return;
    };
    if let Some(approval) = approval {
        let is_given = approval.digest.as_ref() == Some(&noted.digest);
        // What is approved is what was looked at: before anything of it is begun, it is what would be done now.
        if !(is_given && (noted.begun || plan::is_what(noted, &names, &moves))) {
            decision.waits_for_approval = true;
            decision.plan = Some(plan::propose_again(noted, &names, &moves));
            return;
        }
    }
    let next = if moves.replicas.is_empty() && !said.layout.is_moving() {
        &moves.leaders
    } else {
        &moves.replicas
    };
    let wait = facts.may_move.as_ref().err();
    let begun = match wait {
        None => layout::batch(&said.layout, next.iter().cloned()),
        Some(_) => Vec::new(),
    };
    let is_begun = noted.begun || !begun.is_empty();
    decision.plan = Some(plan::carried_out(noted, &moves, &said.layout, wait, is_begun));
    if !begun.is_empty() {
        decision.steps.push(Step::Move { moves: begun });
    }
}

#[cfg(test)]
mod tests;
