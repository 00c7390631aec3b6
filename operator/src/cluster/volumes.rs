//! What is done about the volumes of brokers: they grow in place, and what is lost is made again. Those of a managed
//! ensemble grow likewise; of one that is lost nothing is decided here, for its servers are not asked what they hold. Pure.
//!
//! | a claim | then |
//! |---|---|
//! | asks for less than the spec | it asks for as much, unless its class lets nothing grow |
//! | asks for enough, is not that large yet | it is waited for; what Kubernetes says of it is told |
//! | has lost its volume | it is deleted; what was on it is gone |
//! | is being deleted | it goes with its pod, and is made again with it: the pod is restarted, by leave, if others have all that is on it |
//!
//! The sizes in a StatefulSet cannot be changed: once the claims ask for what the spec says, the set is replaced, and
//! the next one takes the pods over as they run. Until then it is written with the sizes that it has. A claim that asks
//! for more than the spec says is left alone: nothing shrinks.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::crd::cluster::Volume;
use crate::crd::cluster::status::VolumeState;
use crate::crd::quantity;
use crate::names::Names;

/// The volumes of one broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disks {
    /// Its id.
    pub broker: i32,
    /// Its claims that are there, by volume.
    pub claims: BTreeMap<String, Claim>,
    /// The sizes in its StatefulSet, by volume; none where there is no set, or it is being deleted.
    pub set: Option<BTreeMap<String, String>>,
    /// Partitions of which nobody else has all; none where no broker could be asked.
    pub alone: Option<Vec<String>>,
}

/// The volumes of a managed ensemble: one of each server, and one StatefulSet for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// Their claims that are there, by name.
    pub claims: BTreeMap<String, Claim>,
    /// The sizes in the StatefulSet, by volume; none where there is no set, or it is being deleted.
    pub set: Option<BTreeMap<String, String>>,
}

/// A claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// What it asks for.
    pub asks: Option<String>,
    /// How large its volume is; none while it has none.
    pub has: Option<String>,
    /// Its class.
    pub class: Option<String>,
    /// Whether its volume is gone.
    pub is_lost: bool,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// What Kubernetes says of its growth.
    pub words: String,
}

impl Claim {
    /// Reads a claim.
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let spec = claim.spec.clone().unwrap_or_default();
        let status = claim.status.clone().unwrap_or_default();
        let storage =
            |of: Option<BTreeMap<String, _>>| of.and_then(|mut all| all.remove("storage"));
        let asks = storage(spec.resources.and_then(|resources| resources.requests));
        let resizing = status.allocated_resource_statuses.and_then(|mut all| all.remove("storage"));
        let conditions = status.conditions.unwrap_or_default();
        let told = conditions.iter().filter(|condition| condition.status == "True");
        let told = told.map(|one| match &one.message {
            Some(message) if !message.is_empty() => format!("{}: {message}", one.type_),
            Some(_) | None => one.type_.clone(),
        });
        Self {
            asks: asks.map(|quantity| quantity.0),
            has: storage(status.capacity).map(|quantity| quantity.0),
            class: spec.storage_class_name,
            is_lost: status.phase.as_deref() == Some("Lost"),
            is_going: claim.metadata.deletion_timestamp.is_some(),
            words: resizing.into_iter().chain(told).collect::<Vec<_>>().join("; "),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Have a claim ask for so much.
    Grow {
        /// The claim.
        claim: String,
        /// How much.
        size: String,
    },
    /// Delete a StatefulSet, and leave its pods.
    ReplaceSet {
        /// Which.
        set: String,
    },
    /// Delete a claim that has lost its volume.
    DeleteClaim {
        /// Which.
        claim: String,
    },
}

/// What follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What is done now, in order.
    pub steps: Vec<Step>,
    /// What the status says.
    pub states: Vec<VolumeState>,
    /// Brokers whose pods are to be restarted, so that their claims are made again.
    pub restarts: BTreeSet<i32>,
    /// Claims that lost what was on them, or will, with what is done about it: for events.
    pub lost: BTreeMap<String, String>,
    /// Claims that cannot grow, with why: for events.
    pub refused: BTreeMap<String, String>,
}

/// Decides about brokers. `classes` says of each class whether it lets volumes grow, where that is known.
pub fn decide(
    names: &Names,
    wanted: &[Volume],
    brokers: &[Disks],
    classes: &BTreeMap<String, bool>,
) -> Decision {
    let mut decision = Decision::default();
    for disks in brokers {
        let mut may_replace = true;
        for volume in wanted {
            let Some(claim) = disks.claims.get(&volume.name) else { continue };
            let name = names.claim(&volume.name, disks.broker);
            if claim.is_lost || claim.is_going {
                remake(disks, volume, claim, &name, &mut decision);
                continue;
            }
            may_replace &= grow(volume, claim, &name, classes, &mut decision);
        }
        if may_replace && wanted.iter().any(|volume| differs(disks.set.as_ref(), volume)) {
            decision.steps.push(Step::ReplaceSet { set: names.broker(disks.broker) });
        }
    }
    decision
}

/// Decides about the servers of a managed ensemble, each of which has this volume, and adds it to `decision`.
pub fn decide_servers(
    names: &Names,
    volume: &Volume,
    servers: &Servers,
    classes: &BTreeMap<String, bool>,
    decision: &mut Decision,
) {
    let mut may_replace = true;
    let claims = servers.claims.iter().filter(|(_, claim)| !claim.is_lost && !claim.is_going);
    for (name, claim) in claims {
        may_replace &= grow(volume, claim, name, classes, decision);
    }
    if may_replace && differs(servers.set.as_ref(), volume) {
        decision.steps.push(Step::ReplaceSet { set: names.zookeeper() });
    }
}

/// Whether a set has another size of a volume.
fn differs(set: Option<&BTreeMap<String, String>>, volume: &Volume) -> bool {
    let size = set.and_then(|sizes| sizes.get(&volume.name));
    size.is_some_and(|size| !is(size, &volume.size, Ordering::Equal))
}

/// Returns whether the claim asks for what it should.
fn grow(
    volume: &Volume,
    claim: &Claim,
    name: &str,
    classes: &BTreeMap<String, bool>,
    decision: &mut Decision,
) -> bool {
    let asks = claim.asks.as_deref().unwrap_or_default();
    let mut tell = |message: String| decision.states.push(state(volume, claim, name, message));
    if is_less(asks, &volume.size) {
        let class = claim.class.as_deref().unwrap_or_default();
        if class.is_empty() || classes.get(class) == Some(&false) {
            let words = format!(
                "StorageClass {class} lets no volume grow: set allowVolumeExpansion there, or make another Cluster"
            );
            tell(words.clone());
            decision.refused.insert(name.to_owned(), words);
            return false;
        }
        tell("it grows".to_owned());
        let size = volume.size.clone();
        decision.steps.push(Step::Grow { claim: name.to_owned(), size });
        // The set is replaced once the claim says that it was heard.
        return false;
    }
    // What is not bound yet is as large as it asks for when it is.
    if claim.has.as_deref().is_some_and(|has| is_less(has, asks)) {
        let words = &claim.words;
        tell(if words.is_empty() { "it grows".to_owned() } else { format!("it grows: {words}") });
    }
    true
}

fn remake(disks: &Disks, volume: &Volume, claim: &Claim, name: &str, decision: &mut Decision) {
    let broker = disks.broker;
    let words = if claim.is_lost {
        if !claim.is_going {
            decision.steps.push(Step::DeleteClaim { claim: name.to_owned() });
        }
        decision.restarts.insert(broker);
        format!(
            "its volume is lost: it is made again, and broker {broker} gets from others what was on it"
        )
    } else {
        match &disks.alone {
            Some(alone) if alone.is_empty() => {
                decision.restarts.insert(broker);
                format!(
                    "it is being deleted: broker {broker} is restarted with another one, and gets from others what was \
                     on it"
                )
            }
            Some(alone) => format!(
                "it is being deleted, and goes when the pod of broker {broker} ends; nobody else has all of {}: give \
                 them more replicas first",
                alone.iter().take(10).cloned().collect::<Vec<_>>().join(", ")
            ),
            None => format!(
                "it is being deleted, and goes when the pod of broker {broker} ends; no broker says whether others \
                 have what is on it"
            ),
        }
    };
    decision.states.push(state(volume, claim, name, words.clone()));
    decision.lost.insert(name.to_owned(), words);
}

fn state(volume: &Volume, claim: &Claim, name: &str, message: String) -> VolumeState {
    VolumeState {
        claim: name.to_owned(),
        size: claim.has.clone(),
        wanted: volume.size.clone(),
        message,
    }
}

/// Whether one size is less than another.
pub fn is_less(one: &str, other: &str) -> bool {
    is(one, other, Ordering::Less)
}

fn is(one: &str, other: &str, order: Ordering) -> bool {
    quantity::order(one, other) == Some(order)
}

/// The sizes in a set, by volume; `None` for one that is being deleted.
pub fn sizes(set: &StatefulSet) -> Option<BTreeMap<String, String>> {
    if set.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let templates = set.spec.as_ref()?.volume_claim_templates.as_ref()?;
    let size = |template: &PersistentVolumeClaim| {
        Some((template.metadata.name.clone()?, Claim::of(template).asks?))
    };
    Some(templates.iter().filter_map(size).collect())
}

/// Has a set ask for the sizes of the one that is there, which cannot be changed.
pub fn keep_sizes(wanted: &mut StatefulSet, live: &StatefulSet) {
    let Some(sizes) = sizes(live) else { return };
    let templates = wanted.spec.iter_mut().flat_map(|spec| &mut spec.volume_claim_templates);
    for template in templates.flatten() {
        let size = template.metadata.name.as_ref().and_then(|name| sizes.get(name));
        let requests = template.spec.as_mut().and_then(|spec| spec.resources.as_mut());
        let requests = requests.and_then(|resources| resources.requests.as_mut());
        if let (Some(size), Some(requests)) = (size, requests)
            && let Some(quantity) = requests.get_mut("storage")
        {
            quantity.0.clone_from(size);
        }
    }
}

#[cfg(test)]
mod tests;
