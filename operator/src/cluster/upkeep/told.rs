//! What events tell of brokers that come and go, and of their volumes: what is new against what the status said. Pure.

use super::Upkeep;
use crate::cluster::members::Step;
use crate::cluster::volumes;
use crate::crd::cluster::status::{ClusterStatus, VolumeState};
use crate::event::Tale;
use crate::reason::Reason;

pub(super) fn tales(upkeep: &Upkeep, before: &ClusterStatus) -> Vec<Tale> {
    let mut tales = Vec::new();
    let mut tell = |reason, note| tales.push(Tale { reason, note });
    let members = &upkeep.members;
    for drain in &members.drains {
        let id = drain.broker;
        let known = before.drains.iter().find(|known| known.broker == id);
        match (members.refused.get(&id), known) {
            (Some(why), known) if known.is_none_or(|known| known.message != *why) => {
                tell(Reason::BrokerStays, format!("broker {id} is not taken away: {why}"));
            }
            (None, None) => {
                let left = drain.replicas_left;
                tell(Reason::BrokerLeaving, format!("broker {id} is emptied of {left} replicas"));
            }
            _ => {}
        }
    }
    for step in &members.steps {
        if let Step::Forget { broker } = step {
            tell(Reason::BrokerGone, format!("broker {broker} is gone"));
        }
    }
    match (&before.plan, &members.plan) {
        (None, Some(plan)) => {
            let first = plan.steps.first().cloned().unwrap_or_default();
            tell(Reason::Rebalancing, format!("plan {}: {first}", plan.digest));
        }
        (Some(old), Some(plan)) if old.digest != plan.digest => {
            let first = plan.steps.first().cloned().unwrap_or_default();
            let note = format!("plan {} takes the place of {}: {first}", plan.digest, old.digest);
            tell(Reason::Rebalancing, note);
        }
        (Some(plan), None) if members.drains.is_empty() => {
            tell(Reason::Rebalanced, format!("plan {} is over", plan.digest));
        }
        _ => {}
    }
    let was_said = |claim: &str, message: &str| {
        let said = |one: &VolumeState| one.claim == claim && one.message == message;
        before.volumes.iter().any(said)
    };
    for step in &upkeep.volumes.steps {
        if let volumes::Step::Grow { claim, size } = step {
            tell(Reason::VolumeGrowing, format!("the volume of claim {claim} grows to {size}"));
        }
    }
    for (claim, why) in upkeep.volumes.refused.iter().filter(|(one, why)| !was_said(one, why)) {
        tell(Reason::VolumeNotGrowing, format!("the volume of claim {claim} cannot grow: {why}"));
    }
    for (claim, what) in upkeep.volumes.lost.iter().filter(|(one, what)| !was_said(one, what)) {
        tell(Reason::VolumeLost, format!("claim {claim}: {what}"));
    }
    // One that is told its place is new on its node.
    if !upkeep.places.is_empty() {
        for node in &upkeep.unlabelled {
            let note =
                format!("Node {node} has no label that names its rack: brokers on it have none");
            tell(Reason::RackUnknown, note);
        }
    }
    tales
}
