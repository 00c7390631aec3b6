//! What is to be done about a topic, and what is said of it. Pure: the same facts have the same answer.
//!
//! | the object | then |
//! |---|---|
//! | is to be deleted | as its policy says; it never waits for a cluster that is gone, and of one that is away a note is left |
//! | has no finalizer | it gets one, before anything is done outside of Kubernetes |
//! | shares its topic with an older object | the older one has it |
//! | names a topic that is not its own | nothing, unless `adopt` |
//! | cannot be, as a broker says | nothing, in the broker's words |
//! | had a topic that another hand has deleted | another one is made, empty, under another id |
//! | differs from its topic | steps, which are planned, and approved where that is asked for |
//!
//! The id of a topic that is to be made is in the status before the topic is in the tree: whoever dies in between finds
//! its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Cluster, Existing, Facts, Here, Object};
use super::plan;
use crate::assignment::{self, Assignment, PlacementError};
use crate::crd::condition::{Finding, headline};
use crate::crd::topic::{DeletionPolicy, Plan};
use crate::reason::Reason;

/// Settings that a reassignment is throttled by: whoever moves replicas sets them, and takes them away.
const THROTTLES: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

/// Partitions that words name at most.
const NAMED: usize = 10;

/// What a broker finds wrong for the brokers that there are.
const BROKERS: [&str; 2] = ["replication_factor", "assignment"];

/// One change. Each can be made again when it is not known whether it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Has the object wait for the operator before it goes.
    Hold,
    /// Notes in the status which id the topic has or will have.
    Name {
        /// The id.
        id: String,
    },
    /// Makes the topic.
    Create {
        /// Its id.
        id: String,
        /// The replicas of each partition.
        assignment: Assignment,
        /// Its settings.
        config: BTreeMap<String, String>,
    },
    /// Takes over a topic that is there.
    Adopt {
        /// Its id.
        id: String,
    },
    /// Adds partitions.
    Grow {
        /// The topic's id.
        id: String,
        /// How many there are.
        from: usize,
        /// The replicas of each new one.
        new: Assignment,
    },
    /// Gives partitions other replicas.
    Reassign {
        /// The topic's id.
        id: String,
        /// The replicas of each that moves.
        moves: BTreeMap<usize, Vec<i32>>,
    },
    /// Takes the throttles of moves away that are over.
    Unthrottle,
    /// Changes settings.
    Configure {
        /// The topic's id.
        id: String,
        /// What is set.
        set: BTreeMap<String, String>,
        /// What has the brokers' value again.
        reset: BTreeSet<String>,
        /// Who is known to have changed what this puts back.
        drift_of: Option<Drift>,
    },
    /// Marks the topic for deletion.
    Delete {
        /// Its id.
        id: String,
    },
    /// Leaves a note at the cluster's object: the topic is deleted once somebody answers.
    Bury {
        /// Its id.
        id: String,
    },
    /// Has the object go.
    LetGo,
}

/// A change of another hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Who, if that is known.
    pub author: Option<String>,
}

/// When the object is looked at again, if nothing changes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// When something changes, or at the next of the slow passes.
    OnChange,
    /// Soon: something goes on that nobody tells of.
    Soon,
    /// Later and later: something stands in the way that may go by itself.
    Later,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is done now, in order.
    pub steps: Vec<Step>,
    /// What is done, or would be if it may.
    pub plan: Option<Plan>,
    /// What is said: Ready, Progressing, Degraded and Paused, in this order.
    pub findings: Vec<Finding>,
    /// When to look again.
    pub again: Again,
}

/// Decides.
pub fn decide(facts: &Facts) -> Decision {
    let object = &facts.object;
    if object.is_deleted {
        return delete(object, &facts.cluster);
    }
    if !object.has_finalizer {
        return act(vec![Step::Hold], Reason::Beginning, "it is looked at for the first time");
    }
    let here = match &facts.cluster {
        Cluster::Gone => {
            let words = format!("there is no Cluster {} in this namespace", object.spec.cluster);
            return wait(Reason::ClusterNotFound, words, Again::OnChange);
        }
        Cluster::Away(why) => return unknown(Reason::ClusterUnreachable, why),
        Cluster::Here(here) => &**here,
    };
    if let Some(elder) = &object.elder {
        let words = format!("Topic {elder} is older and names the same topic: delete one of them");
        return wait(Reason::TopicTaken, words, Again::OnChange);
    }
    if !here.problems.is_empty() {
        // Brokers that come heal some of it.
        let is_of_brokers = |(field, _): &(String, String)| BROKERS.contains(&&**field);
        let heals = here.problems.iter().any(is_of_brokers);
        let again = if heals { Again::Later } else { Again::OnChange };
        return wait(Reason::InvalidSpec, problems(object, &here.problems), again);
    }
    match &here.topic {
        None => absent(facts, here),
        Some(topic) if topic.is_going => {
            wait(Reason::BeingDeleted, format!("{} is being deleted", name(object)), Again::Soon)
        }
        Some(topic) => present(object, here, topic),
    }
}

fn delete(object: &Object, cluster: &Cluster) -> Decision {
    let let_go = |mut steps: Vec<Step>| {
        steps.push(Step::LetGo);
        act(steps, Reason::Deleting, "it is deleted")
    };
    if !object.has_finalizer {
        return Decision {
            steps: Vec::new(),
            plan: None,
            findings: Vec::new(),
            again: Again::OnChange,
        };
    }
    // Before anything of the spec is looked at: a topic that was never this object's is not touched.
    let Some(id) = object.status.topic_id.clone() else { return let_go(Vec::new()) };
    if *cluster == Cluster::Gone {
        return let_go(Vec::new());
    }
    match object.spec.deletion_policy {
        DeletionPolicy::Retain => return let_go(Vec::new()),
        DeletionPolicy::Protect => {
            let words =
                "deletionPolicy is Protect: set it to Delete or Retain to have this object go";
            return wait(Reason::Protected, words.to_owned(), Again::OnChange);
        }
        DeletionPolicy::Delete => {}
    }
    match cluster {
        Cluster::Gone => let_go(Vec::new()),
        Cluster::Away(_) => let_go(vec![Step::Bury { id }]),
        Cluster::Here(here) if here.is_paused => wait(
            Reason::Paused,
            "the Cluster is paused: nothing is deleted".to_owned(),
            Again::OnChange,
        ),
        // Also where it is not there: whoever led before and is still about to make it is refused from then on.
        Cluster::Here(here) => {
            let is_marked = here.of(&id).is_some_and(|topic| topic.is_going);
            let_go(if is_marked { Vec::new() } else { vec![Step::Delete { id }] })
        }
    }
}

fn absent(facts: &Facts, here: &Here) -> Decision {
    let object = &facts.object;
    let spec = &object.spec;
    if object.status.partitions.is_some_and(|partitions| partitions > 0) {
        // It is believed at the second look: whoever was asked may be a little behind.
        let words =
            format!("{} was deleted by another hand: it is made anew, and empty", name(object));
        return wait(Reason::TopicGone, words, Again::Soon);
    }
    let assignment = match &spec.assignment {
        Some(chosen) => Ok(chosen.clone()),
        None => assignment::place(
            &here.brokers,
            here.load.clone(),
            count(spec.partitions),
            count(spec.replicas),
        ),
    };
    let assignment = match assignment {
        Ok(assignment) => assignment,
        Err(error) => return too_few(&error),
    };
    // The id of a topic that was there is not used again: brokers that were away may have its records.
    let noted = object.status.topic_id.clone().filter(|_| object.status.partitions.is_none());
    let mut steps = Vec::new();
    let id = noted.unwrap_or_else(|| {
        steps.push(Step::Name { id: facts.fresh_id.clone() });
        facts.fresh_id.clone()
    });
    steps.push(Step::Create { id, assignment, config: spec.config.clone() });
    carry_out(object, here, steps, Reason::Creating, "the topic is being made")
}

fn present(object: &Object, here: &Here, topic: &Existing) -> Decision {
    let Some(id) = &topic.id else {
        let words = "the topic has no id yet: the controller gives it one".to_owned();
        return wait(Reason::NoTopicId, words, Again::Soon);
    };
    if object.status.topic_id.as_ref() != Some(id) {
        if !object.spec.adopt {
            let words = format!(
                "topic {} is there already, with the id {id}, and is not this object's: set adopt to have it taken \
                 over and changed to what this object says",
                name(object)
            );
            return wait(Reason::TopicExists, words, Again::OnChange);
        }
        let steps = vec![Step::Adopt { id: id.clone() }];
        return carry_out(object, here, steps, Reason::Adopting, "the topic is taken over");
    }
    let mut steps = Vec::new();
    if !topic.is_moving() && is_throttled(object, topic) {
        steps.push(Step::Unthrottle);
    }
    steps.extend(configure(object, topic, id));
    match reassign(object, here, topic, id) {
        Ok(step) => steps.extend(step),
        Err(decision) => return *decision,
    }
    if topic.is_moving() {
        let left = here.bytes_left.map_or(String::new(), |left| format!(", {left} bytes are left"));
        let (count, throttle) = (moving(topic), &here.throttle);
        let words = format!("replicas of {count} partitions move{left}, at {throttle} a second");
        // A topic grows once nothing of it moves.
        return Decision {
            again: Again::Soon,
            ..carry_out(object, here, steps, Reason::Moving, &words)
        };
    }
    match grow(object, here, topic, id) {
        Ok(step) => steps.extend(step),
        Err(decision) => return *decision,
    }
    if steps.iter().any(|step| matches!(step, Step::Reassign { .. })) {
        return carry_out(object, here, steps, Reason::Moving, "a reassignment begins");
    }
    if !steps.is_empty() {
        let words = "the topic is changed to what the spec says";
        return carry_out(object, here, steps, Reason::Changing, words);
    }
    let has = topic.partitions.len();
    let harm = (has > count(object.spec.partitions)).then(|| {
        let words = format!(
            "the topic has {has} partitions, and a topic cannot lose some: set partitions to {has}"
        );
        (Reason::MorePartitions, words)
    });
    if let Some(words) = leaderless(topic) {
        let harm = Some((Reason::NoLeader, words.clone()));
        let findings = findings(Some(false), Reason::NoLeader, &words, None, harm, here.is_paused);
        return Decision { steps, plan: None, findings, again: Again::Soon };
    }
    let findings = findings(Some(true), Reason::Ready, "", None, harm, here.is_paused);
    Decision { steps, plan: None, findings, again: Again::OnChange }
}

/// Which partitions nobody leads, if there are such.
fn leaderless(topic: &Existing) -> Option<String> {
    let (count, named) = (topic.leaderless.len(), topic.leaderless.iter().take(NAMED));
    let named: Vec<String> = named.map(ToString::to_string).collect();
    let more = if count > NAMED { ", ..." } else { "" };
    let named = named.join(", ");
    (count > 0).then(|| {
        format!(
            "nobody leads partitions {named}{more}: none of the brokers that have all of their records is there"
        )
    })
}

/// Settings that differ: what the spec does not name has the brokers' value.
fn configure(object: &Object, topic: &Existing, id: &str) -> Option<Step> {
    let wanted = &object.spec.config;
    let is_kept = |key: &str| topic.is_moving() && THROTTLES.contains(&key);
    let set = wanted.iter().filter(|(key, value)| topic.config.get(*key) != Some(*value));
    let set: BTreeMap<_, _> = set.map(|(key, value)| (key.clone(), value.clone())).collect();
    let reset = topic.config.keys().filter(|key| !wanted.contains_key(*key) && !is_kept(key));
    let reset: BTreeSet<_> = reset.cloned().collect();
    if set.is_empty() && reset.is_empty() {
        return None;
    }
    // Where nothing of the spec has changed since all was well, another hand has.
    let was_ready = object.status.conditions.iter().any(|condition| {
        condition.r#type == "Ready"
            && condition.status == "True"
            && condition.observed_generation == object.generation
    });
    let is_ours = set.is_empty() && reset.iter().all(|key| THROTTLES.contains(&&**key));
    let is_drift = was_ready && !is_ours;
    let drift_of = is_drift.then(|| Drift { author: topic.config_author.clone() });
    Some(Step::Configure { id: id.to_owned(), set, reset, drift_of })
}

/// Whether throttles of a move may be left: this object had one, or the topic's settings say so.
fn is_throttled(object: &Object, topic: &Existing) -> bool {
    let moved = Reason::Moving.text();
    object.status.conditions.iter().any(|condition| {
        condition.r#type == "Progressing" && condition.status == "True" && condition.reason == moved
    }) || THROTTLES
        .iter()
        .any(|key| topic.config.contains_key(*key) && !object.spec.config.contains_key(*key))
}

fn grow(
    object: &Object,
    here: &Here,
    topic: &Existing,
    id: &str,
) -> Result<Option<Step>, Box<Decision>> {
    let (from, to) = (topic.partitions.len(), count(object.spec.partitions));
    if to <= from {
        return Ok(None);
    }
    let new = if let Some(chosen) = &object.spec.assignment {
        Ok(chosen.iter().skip(from).cloned().collect())
    } else {
        let load = here.load.clone();
        assignment::place(&here.brokers, load, to - from, count(object.spec.replicas))
    };
    let new = new.map_err(|error| Box::new(too_few(&error)))?;
    Ok(Some(Step::Grow { id: id.to_owned(), from, new }))
}

fn reassign(
    object: &Object,
    here: &Here,
    topic: &Existing,
    id: &str,
) -> Result<Option<Step>, Box<Decision>> {
    // A move that is under way is taken for what it leads to, and turned where that is not what is wanted.
    let there = topic.targets();
    let wanted = if let Some(chosen) = &object.spec.assignment {
        chosen.clone()
    } else {
        let replicas = count(object.spec.replicas);
        // Where the number of replicas is right nobody asked for a move.
        if there.iter().all(|held| held.len() == replicas) {
            return Ok(None);
        }
        // What has only begun to come is not kept before what is there.
        let load = here.load.clone();
        let resized =
            assignment::resize(&here.brokers, &here.away, load, &topic.origins(), replicas);
        let resized = resized.map_err(|error| Box::new(too_few(&error)))?;
        let right = |(held, to): (&Vec<i32>, Vec<i32>)| {
            if held.len() == replicas { held.clone() } else { to }
        };
        there.iter().zip(resized).map(right).collect()
    };
    let moves = there.iter().zip(wanted).enumerate();
    let moves: BTreeMap<usize, Vec<i32>> =
        moves.filter(|(_, (held, to))| *held != to).map(|(number, (_, to))| (number, to)).collect();
    Ok((!moves.is_empty()).then(|| Step::Reassign { id: id.to_owned(), moves }))
}

/// Has steps carried out, unless the object or its cluster says that they are only to be told.
fn carry_out(
    object: &Object,
    here: &Here,
    steps: Vec<Step>,
    reason: Reason,
    words: &str,
) -> Decision {
    if steps.is_empty() {
        let progress = Some((reason, words.to_owned()));
        let findings = findings(Some(true), Reason::Ready, "", progress, None, here.is_paused);
        return Decision { steps, plan: None, findings, again: Again::OnChange };
    }
    if steps == [Step::Unthrottle] && !here.is_paused {
        // Said once it is done: then nothing reminds of a move any more.
        let findings = findings(Some(true), Reason::Ready, "", None, None, false);
        return Decision { steps, plan: None, findings, again: Again::Soon };
    }
    let plan = plan::plan(name(object), &steps);
    let is_there = matches!(&here.topic, Some(topic) if topic.id == object.status.topic_id);
    let told = |reason, words: String| Decision {
        steps: Vec::new(),
        plan: Some(plan.clone()),
        findings: findings(Some(is_there), reason, &words, None, None, here.is_paused),
        again: Again::OnChange,
    };
    if here.is_paused {
        return told(Reason::Paused, "the Cluster is paused: nothing is done".to_owned());
    }
    if object.spec.dry_run {
        return told(Reason::DryRun, "dryRun: status.plan says what would be done".to_owned());
    }
    if let Some(approval) = &object.spec.approval
        && approval.digest.as_ref() != Some(&plan.digest)
    {
        let words = format!(
            "status.plan waits for approval: set approval.digest to {} to have it carried out",
            plan.digest
        );
        return told(Reason::AwaitingApproval, words);
    }
    let progress = Some((reason, words.to_owned()));
    let findings = findings(Some(is_there), reason, words, progress, None, false);
    Decision { steps, plan: Some(plan), findings, again: Again::Soon }
}

fn act(steps: Vec<Step>, reason: Reason, words: &str) -> Decision {
    let progress = Some((reason, words.to_owned()));
    let findings = findings(Some(false), reason, words, progress, None, false);
    Decision { steps, plan: None, findings, again: Again::Soon }
}

fn wait(reason: Reason, words: String, again: Again) -> Decision {
    let findings =
        findings(Some(false), reason, &words.clone(), None, Some((reason, words)), false);
    Decision { steps: Vec::new(), plan: None, findings, again }
}

fn unknown(reason: Reason, words: &str) -> Decision {
    let findings = findings(None, reason, words, None, None, false);
    Decision { steps: Vec::new(), plan: None, findings, again: Again::Later }
}

fn too_few(error: &PlacementError) -> Decision {
    let PlacementError::TooFewBrokers { brokers, replicas } = error;
    let words = format!(
        "{replicas} replicas are wanted, and there are {brokers} brokers that may hold one: lower replicas, or add brokers"
    );
    wait(Reason::TooFewBrokers, words, Again::Later)
}

/// What is said, always under the same four names.
fn findings(
    ready: Option<bool>,
    reason: Reason,
    words: &str,
    progress: Option<(Reason, String)>,
    harm: Option<(Reason, String)>,
    is_paused: bool,
) -> Vec<Finding> {
    let said = |r#type, fact: Option<(Reason, String)>, otherwise: Reason| {
        let holds = Some(fact.is_some());
        let (reason, message) = fact.unwrap_or((otherwise, String::new()));
        Finding { r#type, holds, reason: reason.text(), message }
    };
    let ready =
        Finding { r#type: "Ready", holds: ready, reason: reason.text(), message: words.to_owned() };
    let paused = is_paused.then(|| (Reason::Paused, "the Cluster is paused".to_owned()));
    let mut all = vec![
        ready,
        said("Progressing", progress, Reason::Idle),
        said("Degraded", harm, Reason::AsExpected),
        said("Paused", paused, Reason::Running),
    ];
    headline(&mut all);
    all
}

fn problems(object: &Object, problems: &[(String, String)]) -> String {
    let each = problems.iter().map(|(field, words)| format!("{}: {words}", written(object, field)));
    each.collect::<Vec<_>>().join("; ")
}

/// A part of what a broker was asked, as it is written in the object.
fn written<'a>(object: &Object, field: &'a str) -> Cow<'a, str> {
    match field {
        "name" if object.spec.topic_name.is_none() => "metadata.name".into(),
        "name" => "spec.topicName".into(),
        "partitions" => "spec.partitions".into(),
        "replication_factor" => "spec.replicas".into(),
        "assignment" => "spec.assignment".into(),
        _ => match field.strip_prefix("configuration.") {
            Some(key) => format!("spec.config.{key}").into(),
            None => field.into(),
        },
    }
}

fn moving(topic: &Existing) -> usize {
    topic.adding.keys().chain(topic.removing.keys()).collect::<BTreeSet<_>>().len()
}

/// The topic's name in the cluster.
pub fn name(object: &Object) -> &str {
    object.spec.name_or(&object.name)
}

/// What the schema bounds from below.
fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or_default()
}
