//! What is done about a cluster. Pure: the same facts have the same answer.
//!
//! | the object | then |
//! |---|---|
//! | is being deleted, and may be | its volumes go, if the spec says so, and the object |
//! | does not wait for the operator yet | it does, before anything else is done |
//! | cannot be built | nothing is changed; why is said |
//! | is paused | nothing is changed, either |
//! | else | settings that need no restart are set, objects are applied in a fixed order, one broker restarts (`roll`), and is made of something else with that (`turn`) |
//!
//! How many brokers an eviction may take follows from what is seen of them, whatever the spec says: where nothing else is
//! changed, that is.

use std::collections::{BTreeMap, BTreeSet};

use kube::Resource;

use super::build::budget::pod_disruption_budget;
use super::build::revision;
use super::dynamic::{self, Difference};
use super::facts::{Facts, Object};
use super::protocol::{self, Choice, Speaker};
use super::seen::{self, Seen};
use super::validate::{Surroundings, Valid, validate};
use super::wanted::{self, Doomed, Made, Wanted};
use super::{roll, turn};
use crate::crd::cluster::VolumePolicy;
use crate::crd::cluster::status::Image;
use crate::digest;
use crate::names::{broker, broker_ids};
use crate::reason::Reason;

/// What follows from facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What becomes of the object.
    pub course: Course,
    /// What is done now, in order.
    pub steps: Vec<Step>,
    /// What restarts are decided by after that; none where nothing may restart.
    pub roll: Option<Rolling>,
    /// What is seen of each broker that is there, or is to be.
    pub seen: Vec<Seen>,
    /// The brokers that are to be.
    pub wanted: Vec<i32>,
    /// The image that brokers are to run.
    pub image: Option<Image>,
    /// What brokers are to speak among themselves.
    pub protocol: Choice,
}

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// It is looked at for the first time.
    Begins,
    /// It is being deleted.
    Ends,
    /// It cannot be as it says: why, each with what to do.
    Invalid(Vec<String>),
    /// Nothing is to be changed.
    Paused,
    /// It is made as it says.
    Goes,
}

/// Restarts.
#[derive(Debug, Clone, PartialEq)]
pub struct Rolling {
    /// Names them: what all brokers are to become.
    pub id: String,
    /// What they are decided by.
    pub facts: roll::Facts,
    /// What brokers are made of in their turn, and not before.
    pub in_turn: BTreeMap<i32, Made>,
}

/// One change. Each can be made again when it is not known whether it was made.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Have the object wait for the operator before it goes.
    Hold,
    /// Have the status say what is decided, before anything is done that follows from it.
    Note,
    /// Have brokers read other settings, which needs no restart: one of them, or all.
    Configure(Option<i32>, Difference),
    /// Have an object be as it should be.
    Apply(Box<Wanted>),
    /// Delete an object.
    Remove(Doomed),
    /// Do what keeps members, volumes and places up.
    KeepUp,
    /// Tell what was decided.
    Tell(Reason, String),
    /// Let the object go.
    LetGo,
}

/// Decides.
///
/// # Errors
/// Where a pod cannot be written as JSON.
pub fn decide(facts: &Facts) -> Result<Decision, serde_json::Error> {
    let object = &facts.object;
    if object.is_deleted && !object.spec.deletion_protection {
        return Ok(ending(facts));
    }
    if !object.has_finalizer && !object.is_deleted {
        return Ok(with(facts, Course::Begins, vec![Step::Hold]));
    }
    let before = object.status.protocol_version.as_deref();
    let valid = match validated(facts, before) {
        Ok(valid) => valid,
        Err(words) => return Ok(with(facts, Course::Invalid(words), budget(facts))),
    };
    let made = wanted::brokers(&valid, &facts.live)?;
    let seen = seen::all(facts, &valid.broker_ids);
    let choice = choose(facts, &made, &seen);
    if choice.version == valid.protocol_version {
        return going(facts, &valid, made, seen, choice);
    }
    // What brokers speak is in their file, and in the name of each pod.
    match validated(facts, choice.version.as_deref()) {
        Ok(valid) => {
            let made = wanted::brokers(&valid, &facts.live)?;
            going(facts, &valid, made, seen, choice)
        }
        Err(words) => Ok(with(facts, Course::Invalid(words), budget(facts))),
    }
}

/// A decision that does no more than these steps.
fn with(facts: &Facts, course: Course, steps: Vec<Step>) -> Decision {
    let status = &facts.object.status;
    let there = facts.live.broker_sets();
    let wanted = wanted_ids(facts);
    let ids: BTreeSet<i32> = wanted.iter().chain(there.keys()).copied().collect();
    Decision {
        course,
        steps,
        roll: None,
        seen: seen::all(facts, &ids.into_iter().collect::<Vec<_>>()),
        wanted,
        image: status.image.clone(),
        protocol: Choice { version: status.protocol_version.clone(), put_off: String::new() },
    }
}

/// The one thing that is done where nothing is changed: no eviction takes a broker while another of those that are there
/// does not do what it should.
fn budget(facts: &Facts) -> Vec<Step> {
    let Object { names, uid, is_emptied, .. } = &facts.object;
    let live = &facts.live;
    let with_pod = live.pods.values().filter_map(|pod| broker(&**pod));
    let there: BTreeSet<i32> = live.broker_sets().into_keys().chain(with_pod).collect();
    if there.is_empty() || *is_emptied {
        return Vec::new();
    }
    let may_go = are_well(&seen::all(facts, &there.into_iter().collect::<Vec<_>>()));
    let budget = Wanted::Budget(pod_disruption_budget(names, uid, may_go));
    vec![Step::Apply(Box::new(budget))]
}

fn wanted_ids(facts: &Facts) -> Vec<i32> {
    let spec = &facts.object.spec;
    broker_ids(spec.brokers, &spec.removed)
}

/// Sets first, and nothing is let go of before they are gone: whoever runs them makes claims anew. What the object owns
/// goes with it.
fn ending(facts: &Facts) -> Decision {
    let mut steps = Vec::new();
    let live = &facts.live;
    if facts.object.spec.storage.on_delete == VolumePolicy::Delete && facts.object.has_finalizer {
        let sets = live.sets.iter().filter(|(_, set)| !is_going(&***set));
        let claims = live.claims.iter().filter(|(_, claim)| !is_going(&***claim));
        let claims: Vec<_> = claims.map(|(name, _)| Doomed::Claim(name.clone())).collect();
        let note = format!("{} claims are deleted", claims.len());
        let is_told = !claims.is_empty();
        let doomed = sets.map(|(name, _)| Doomed::Set(name.clone())).chain(claims);
        steps.extend(doomed.map(Step::Remove));
        steps.extend(is_told.then_some(Step::Tell(Reason::VolumesDeleted, note)));
    }
    if facts.object.has_finalizer && steps.is_empty() {
        steps.push(Step::LetGo);
    }
    with(facts, Course::Ends, steps)
}

fn is_going(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

fn validated(facts: &Facts, protocol_version: Option<&str>) -> Result<Valid, Vec<String>> {
    let Object { names, uid, spec, status, .. } = &facts.object;
    let present = facts.upkeep.as_ref().map(|upkeep| upkeep.present.clone());
    let outside = facts.upkeep.as_ref().map(|upkeep| upkeep.outside.clone());
    let around = Surroundings {
        schema: facts.schema.clone(),
        outside: outside.unwrap_or_default(),
        image: status.image.clone(),
        protocol_version: protocol_version.map(str::to_owned),
        present: present.unwrap_or_default(),
        home: facts.home.clone(),
    };
    validate(names.clone(), uid.clone(), spec.clone(), &facts.images, &around)
}

/// Chooses what brokers speak, where all of them run what they should but for that.
fn choose(facts: &Facts, made: &BTreeMap<i32, Made>, seen: &[Seen]) -> Choice {
    let wanted = wanted_ids(facts);
    let is_to_be = |one: &&Seen| wanted.contains(&one.id);
    let speaker = |one: &Seen| {
        let target = made.get(&one.id)?.revision();
        let pod = one.pod.as_ref().filter(|_| one.serves())?;
        let is_settled = revision::parts(&pod.revision).0 == revision::parts(&target).0;
        let identity = one.heard.as_ref().filter(|_| is_settled)?.identity.clone();
        Some(Speaker {
            version: identity.version,
            speaks: identity.inter_broker_protocol,
            knows: identity.inter_broker_protocols,
        })
    };
    let all: Option<Vec<Speaker>> = seen.iter().filter(is_to_be).map(speaker).collect();
    let Object { spec, status, .. } = &facts.object;
    let before = status.protocol_version.as_deref();
    protocol::choose(spec.protocol_version.as_deref(), before, all.as_deref())
}

fn going(
    facts: &Facts,
    valid: &Valid,
    mut made: BTreeMap<i32, Made>,
    seen: Vec<Seen>,
    protocol: Choice,
) -> Result<Decision, serde_json::Error> {
    let object = &facts.object;
    let mut rolling = rolling(facts, &made, &seen);
    let may_go = may_go(&seen, &wanted_ids(facts), &rolling.facts);
    let mut decision = Decision {
        course: if object.spec.paused { Course::Paused } else { Course::Goes },
        steps: Vec::new(),
        roll: None,
        seen,
        wanted: wanted_ids(facts),
        image: Some(valid.image.clone()),
        protocol,
    };
    if decision.course == Course::Paused {
        // Nothing is chosen, either.
        decision.image.clone_from(&object.status.image);
        decision.protocol.version.clone_from(&object.status.protocol_version);
        decision.steps = budget(facts);
        return Ok(decision);
    }
    if object.is_emptied {
        return Ok(decision);
    }
    rolling.in_turn = turn::hold(&mut made, &facts.live, &object.names, &decision.seen);
    let objects = wanted::objects(valid, &facts.live, made, may_go)?;
    decision.steps.extend(choices(facts, &decision));
    decision.steps.extend(configured(facts, valid));
    decision.steps.extend(restored(facts, &objects));
    let left = wanted::leftovers(valid, &facts.live, &objects);
    decision.steps.extend(objects.into_iter().map(|one| Step::Apply(Box::new(one))));
    decision.steps.extend(left.into_iter().map(Step::Remove));
    decision.steps.extend(facts.upkeep.as_ref().map(|_| Step::KeepUp));
    decision.roll = Some(rolling);
    Ok(decision)
}

/// What is chosen once is in the status before anything is made of it: whoever comes next chooses nothing else.
fn choices(facts: &Facts, decision: &Decision) -> Vec<Step> {
    let status = &facts.object.status;
    let mut steps = Vec::new();
    let is_noted = facts.upkeep.as_ref().is_none_or(|upkeep| {
        let mut noted = status.clone();
        upkeep.note(&mut noted);
        noted.drains == status.drains && noted.plan == status.plan
    });
    let is_chosen =
        status.image == decision.image && status.protocol_version == decision.protocol.version;
    if !is_noted || !is_chosen {
        steps.push(Step::Note);
    }
    if let (Some(before), Some(image)) = (&status.image, &decision.image)
        && before != image
    {
        steps.push(Step::Tell(Reason::ImageChosen, format!("brokers are to run {}", image.name)));
    }
    if let (Some(before), Some(version)) = (&status.protocol_version, &decision.protocol.version)
        && before != version
    {
        let note = format!("brokers are to speak {version} among themselves, not {before}");
        steps.push(Step::Tell(Reason::ProtocolChosen, note));
    }
    steps
}

fn configured(facts: &Facts, valid: &Valid) -> Vec<Step> {
    let Ok(said) = &facts.said else { return Vec::new() };
    let (all, ids) = (&valid.dynamic, &valid.broker_ids);
    let all = dynamic::differences(all, &facts.schema, said, ids);
    all.into_iter().map(|(broker, difference)| Step::Configure(broker, difference)).collect()
}

/// Tells what another hand has deleted of a cluster that had all it should have.
fn restored(facts: &Facts, objects: &[Wanted]) -> Option<Step> {
    let Object { generation, status, .. } = &facts.object;
    let was_whole = status.conditions.iter().any(|condition| {
        condition.r#type == "Progressing"
            && condition.status == "False"
            && condition.observed_generation == *generation
    });
    let gone = objects.iter().map(|one| one.of(&facts.live)).filter(|(_, is_there)| !is_there);
    let names: Vec<String> = gone.map(|(name, _)| name).collect();
    (was_whole && !names.is_empty()).then(|| {
        let note = format!("{} was gone and is made again", names.join(", "));
        Step::Tell(Reason::Restored, note)
    })
}

fn rolling(facts: &Facts, made: &BTreeMap<i32, Made>, seen: &[Seen]) -> Rolling {
    let targets = seen.iter().filter_map(|one| Some((one, made.get(&one.id)?.revision())));
    let targets: Vec<(&Seen, String)> = targets
        .filter(|(one, target)| {
            facts
                .upkeep
                .as_ref()
                .is_none_or(|upkeep| upkeep.is_rolled(one.id, one.in_roll(target).is_outdated()))
        })
        .collect();
    let id = targets.iter().flat_map(|(one, target)| format!("{}={target};", one.id).into_bytes());
    let id = digest::of(id);
    let restarts = facts.upkeep.as_ref().map(|upkeep| upkeep.restarts.clone()).unwrap_or_default();
    let brokers = targets.iter().map(|(one, target)| {
        let mut broker = one.in_roll(target);
        // Its pod is to be another one, although it is called what it should be.
        if let Some(pod) = broker.pod.as_mut().filter(|_| restarts.contains(&one.id)) {
            pod.revision = String::new();
        }
        broker
    });
    let brokers = brokers.collect();
    let restarts = facts.object.spec.restarts.clone();
    let mut of_roll = roll::Facts { brokers, said: None, restarts, put_off_seconds: 0 };
    // For how long it was put off is known of the broker that is next in turn, no other.
    let noted = facts.object.status.roll.as_ref().filter(|noted| noted.blocked_since > 0);
    if let (roll::Next::Acquire { broker, .. }, Some(noted)) = (roll::next(&of_roll), noted)
        && noted.current == Some(broker)
    {
        of_roll.put_off_seconds = facts.now.saturating_sub(noted.blocked_since);
    }
    Rolling { id, facts: of_roll, in_turn: BTreeMap::new() }
}

/// Whether an eviction may take any one broker: all serve, none is to be restarted, and no partition lacks a replica.
fn may_go(seen: &[Seen], wanted: &[i32], roll: &roll::Facts) -> bool {
    are_well(seen)
        && wanted.iter().all(|id| seen.iter().any(|one| one.id == *id))
        && roll::next(roll) == roll::Next::Done
}

/// Whether all serve, and none tells of a partition that lacks a replica.
fn are_well(seen: &[Seen]) -> bool {
    let is_whole = |one: &Seen| one.under_replicated().unwrap_or_default() == 0;
    let tells = |one: &Seen| one.heard.as_ref().is_some_and(|heard| !heard.is_silent);
    seen.iter().all(|one| one.serves() && tells(one) && is_whole(one))
}

/// Why nothing may be begun just now that moves what lies on brokers, if so.
///
/// # Errors
/// The words.
pub fn may_move(decision: &Decision) -> Result<(), String> {
    let wanted = decision.seen.iter().filter(|one| decision.wanted.contains(&one.id));
    if let Some(away) = wanted.clone().find(|one| !one.serves()) {
        return Err(format!("broker {} is waited for", away.id));
    }
    let Some(rolling) = &decision.roll else { return Err("nothing is changed".to_owned()) };
    let mut wanted = rolling.facts.brokers.iter().filter(|one| decision.wanted.contains(&one.id));
    match wanted.find(|one| one.is_outdated()) {
        None => Ok(()),
        Some(_) => Err("brokers are restarted first".to_owned()),
    }
}
