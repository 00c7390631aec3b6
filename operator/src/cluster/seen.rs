//! What is seen of each broker: its pod, what the process in it says, and what others say of it. Pure.
//!
//! Words are the same for as long as the matter is: Kubernetes counts and times in its own, those are left out.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;

use broker_admin::v1::Phase;

use super::build::revision;
use super::facts::{Facts, Heard, Live};
use super::objects::is_ready;
use super::roll;
use crate::crd::cluster::status::Member;
use crate::names::REVISION_ANNOTATION;

/// One broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its id.
    pub id: i32,
    /// Its pod.
    pub pod: Option<roll::Pod>,
    /// The broker epoch of the process in that pod.
    pub broker_epoch: Option<i64>,
    /// Whether it is the controller.
    pub is_controller: bool,
    /// What it runs and speaks, where it answers.
    pub heard: Option<Heard>,
    /// Whether its pod is ready, or its process was when its node was last heard of.
    pub is_up: bool,
    /// What the status says of it.
    pub member: Member,
}

impl Seen {
    /// Whether it serves.
    pub fn serves(&self) -> bool {
        self.broker_epoch.is_some()
            && self.pod.as_ref().is_some_and(|pod| pod.is_ready && !pod.is_going)
    }

    /// What a roll is to know of it that is to be `revision`.
    pub fn in_roll(&self, revision: &str) -> roll::Broker {
        let mut pod = self.pod.clone();
        if let Some(pod) = &mut pod
            && !self.is_outdated(&pod.revision, revision)
        {
            revision.clone_into(&mut pod.revision);
        }
        roll::Broker {
            id: self.id,
            revision: revision.to_owned(),
            pod,
            broker_epoch: self.broker_epoch,
            is_controller: self.is_controller,
        }
    }

    /// Whoever speaks what it should needs no restart for it, whatever its pod was told.
    fn is_outdated(&self, is: &str, should_be: &str) -> bool {
        let ((is, told), (should_be, tell)) = (revision::parts(is), revision::parts(should_be));
        let Some(tell) = tell.filter(|_| is == should_be) else { return is != should_be };
        let speaks = self.heard.as_ref().map(|heard| heard.identity.inter_broker_protocol.as_str());
        told != Some(tell) && speaks.or(told).is_some_and(|speaks| speaks != tell)
    }

    /// How many partitions it leads have fewer replicas in sync than assigned; `None` where nobody knows.
    pub fn under_replicated(&self) -> Option<u64> {
        self.heard.as_ref()?.health.as_ref().map(|health| health.under_replicated)
    }
}

/// Whether no broker's pod is ready, as Kubernetes sees it: whoever does not answer the operator may serve clients all
/// the same.
pub fn nobody_is_up(all: &[Seen]) -> bool {
    !all.iter().any(|one| one.is_up)
}

/// Says what is seen of the brokers `ids`.
pub fn all(facts: &Facts, ids: &[i32]) -> Vec<Seen> {
    ids.iter().map(|id| seen(facts, *id)).collect()
}

fn seen(facts: &Facts, id: i32) -> Seen {
    let pod = facts.live.pods.get(&facts.object.names.pod(id)).map(|pod| &**pod);
    let uid = pod.and_then(|pod| pod.metadata.uid.as_deref()).unwrap_or_default();
    // A name may lead to a process that is ending, or to that of another pod.
    let is_of_pod =
        |heard: &&Heard| heard.identity.instance.is_empty() || heard.identity.instance == uid;
    let heard = facts.heard.get(&id).filter(|_| pod.is_some()).filter(is_of_pod).cloned();
    let described = facts
        .said
        .as_ref()
        .ok()
        .and_then(|said| said.brokers.iter().find(|broker| broker.broker_id == id));
    let own_epoch = heard.as_ref().map(|heard| heard.identity.broker_epoch);
    let epoch = own_epoch.or_else(|| described.map(|broker| broker.broker_epoch));
    let controller = facts.said.as_ref().ok().map(|said| said.controller_id);
    let is_up = pod.is_some_and(is_up);
    let pod = pod.map(|pod| in_roll(pod, heard.is_some(), facts));
    let broker_epoch = epoch.filter(|epoch| *epoch >= 0);
    let (mut phase, message) = phase(pod.as_ref(), heard.as_ref(), broker_epoch);
    let version = heard.as_ref().map(|heard| heard.identity.version.clone());
    let before = facts.object.status.members.iter().find(|member| member.id == id);
    let is_emptied = match &facts.upkeep {
        Some(upkeep) => upkeep.emptied.contains(&id),
        // Nothing is decided about members: it is what it was.
        None => before.is_some_and(|before| before.phase == LEAVING),
    };
    if phase == SERVING && is_emptied {
        phase = LEAVING;
    }
    let rack = match described {
        Some(described) => Some(described.rack.clone()),
        None => before.and_then(|before| before.rack.clone()),
    };
    // Who begins has no version yet: it may never serve.
    let served = before.and_then(|before| before.version.clone());
    let has_served = served.is_some() || phase == SERVING || phase == LEAVING;
    Seen {
        id,
        pod,
        broker_epoch,
        is_controller: controller == Some(id),
        heard,
        is_up,
        member: Member {
            id,
            phase: phase.to_owned(),
            message,
            version: version.filter(|_| has_served).or(served),
            rack: rack.filter(|rack| !rack.is_empty()),
        },
    }
}

/// Of a node that is cut off Kubernetes says that its pods are not ready, without asking them; what their containers
/// were stays.
fn is_up(pod: &Pod) -> bool {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    is_ready(pod) || containers.into_iter().flatten().any(|container| container.ready)
}

fn in_roll(pod: &Pod, answers: bool, facts: &Facts) -> roll::Pod {
    let is_ready = is_ready(pod);
    roll::Pod {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        revision: pod.annotations().get(REVISION_ANNOTATION).cloned().unwrap_or_default(),
        is_ready,
        is_going: pod.metadata.deletion_timestamp.is_some(),
        trouble: if is_ready { String::new() } else { trouble(pod, answers, facts) },
    }
}

/// Why Kubernetes starts no pod that no node has room for, or whose volumes are not there.
const UNSCHEDULABLE: &str = "Unschedulable";

/// What a container is in before it has begun; no trouble.
const BEGINNINGS: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What keeps a pod from serving; empty where that is only time. Whoever `answers` runs, however often it has ended.
fn trouble(pod: &Pod, answers: bool, facts: &Facts) -> String {
    let Some(status) = &pod.status else { return String::new() };
    if status.phase.as_deref() == Some("Failed") {
        return words(status.reason.as_deref().unwrap_or("Failed"), status.message.as_deref());
    }
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .into_iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled.filter(|_| !is_new(pod, facts.now)) {
        let reason = condition.reason.as_deref().unwrap_or(UNSCHEDULABLE);
        return words(reason, condition.message.as_deref()) + &unbound(pod, &facts.live);
    }
    let mut containers = status.container_statuses.iter().flatten();
    containers.find_map(|container| of_container(container, answers)).unwrap_or_default()
}

/// Seconds that the volumes of a new pod may take, or room for it, before anybody is told.
const BEGINNING: i64 = 15;

fn is_new(pod: &Pod, now: i64) -> bool {
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    created.is_some_and(|created| (created..created + BEGINNING).contains(&now))
}

/// The claims of a pod that have no volume, with their class: Kubernetes names neither.
fn unbound(pod: &Pod, live: &Live) -> String {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims =
        volumes.filter_map(|volume| Some(&volume.persistent_volume_claim.as_ref()?.claim_name));
    let claims = claims.filter_map(|name| live.claims.get(name));
    let is_bound = |claim: &&Arc<PersistentVolumeClaim>| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
    };
    let named = claims.filter(|claim| !is_bound(claim)).map(|claim| {
        let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
        let class = class.map_or("the default class".to_owned(), |class| format!("class {class}"));
        format!("; claim {} ({class}) has no volume yet", claim.name_any())
    });
    named.collect()
}

fn of_container(container: &ContainerStatus, answers: bool) -> Option<String> {
    let state = container.state.as_ref()?;
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = state.terminated.as_ref().or(last).map(|ended| {
        let reason = ended.reason.as_deref().unwrap_or("Error");
        let how = format!("it ended with {} ({reason})", ended.exit_code);
        words(&how, ended.message.as_deref())
    });
    let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
    match waiting.filter(|reason| !BEGINNINGS.contains(reason)) {
        // Its message counts seconds; why it ended is what matters.
        Some("CrashLoopBackOff") => Some(ended.map_or_else(
            || "CrashLoopBackOff".to_owned(),
            |how| words("CrashLoopBackOff", Some(&how)),
        )),
        // The message of one and the same failure is another one each time.
        Some("ErrImagePull" | "ImagePullBackOff") => {
            Some(format!("ImagePullBackOff: no image {}", container.image))
        }
        Some(reason) => {
            let message = state.waiting.as_ref().and_then(|waiting| waiting.message.as_deref());
            Some(words(reason, message))
        }
        None if answers || container.ready => None,
        None => ended,
    }
}

fn words(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}

/// What the status calls a broker that serves, and one that serves while it is emptied.
const SERVING: &str = "Serving";
const LEAVING: &str = "Leaving";

/// What the status calls a broker, and why.
fn phase(
    pod: Option<&roll::Pod>,
    heard: Option<&Heard>,
    epoch: Option<i64>,
) -> (&'static str, String) {
    let Some(pod) = pod else { return ("Away", "its pod is not there".to_owned()) };
    if pod.is_going {
        return ("Stopping", String::new());
    }
    if !pod.trouble.is_empty() {
        let is_unscheduled = pod.trouble.starts_with(UNSCHEDULABLE);
        return (if is_unscheduled { "Pending" } else { "Failing" }, pod.trouble.clone());
    }
    let health = heard.and_then(|heard| heard.health.as_ref());
    let says = health.map(|health| (health.phase(), health.reason.clone()));
    match (says, pod.is_ready, epoch) {
        (Some((Phase::RecoveringLogs, why)), ..) => ("Recovering", why),
        (Some((Phase::Stopping, why)), ..) => ("Stopping", why),
        (_, true, Some(_)) => (SERVING, String::new()),
        (
            Some((Phase::Unspecified | Phase::Starting | Phase::Announcing | Phase::Running, why)),
            ..,
        ) => ("Starting", why),
        (None, true, None) => ("Away", "it does not answer the operator".to_owned()),
        (None, false, _) => ("Starting", String::new()),
    }
}
