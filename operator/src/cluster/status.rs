//! What is said of a cluster. Pure: nothing differs where nothing has changed.

use k8s_openapi::jiff::Timestamp;

use super::decide::{Course, Decision};
use super::facts::Facts;
use super::findings::findings;
use super::roll::{self, Next};
use crate::crd::cluster::status::{ClusterStatus, Roll};
use crate::crd::condition::{Finding, headline, merge};
use crate::error::Error;
use crate::names::Component;

/// Partitions that the status names at most.
const PARTITIONS: usize = 10;

/// Returns the status that tells of a decision, and of what restarts wait for; `before` is what was said last.
pub(super) fn status(
    facts: &Facts,
    decision: &Decision,
    next: Option<&Next>,
    before: &ClusterStatus,
    now: Timestamp,
) -> ClusterStatus {
    let roll = roll(facts, decision, next, before.roll.as_ref());
    let findings = findings(facts, decision, next, roll.as_ref());
    of(facts, decision, roll, before, &findings, (now, next.is_some()))
}

/// Returns the status that tells why a decision could not be carried out; `None` where another look at once may.
pub(super) fn trouble(
    facts: &Facts,
    decision: &Decision,
    error: &Error,
    before: &ClusterStatus,
    now: Timestamp,
) -> Option<ClusterStatus> {
    let reason = error.reason().filter(|_| !matches!(error, Error::Conflict { .. }))?;
    let mut findings = findings(facts, decision, None, before.roll.as_ref());
    let is_unread =
        decision.course == Course::Goes && facts.upkeep.is_none() && !facts.object.is_emptied;
    for finding in &mut findings {
        if finding.r#type == "Degraded" && finding.holds != Some(true) {
            (finding.holds, finding.reason) = (Some(true), reason.text());
            finding.message = error.to_string();
        }
        if finding.r#type == "Progressing" && finding.holds == Some(false) && is_unread {
            (finding.holds, finding.reason) = (None, reason.text());
        }
    }
    headline(&mut findings);
    Some(of(facts, decision, before.roll.clone(), before, &findings, (now, false)))
}

fn of(
    facts: &Facts,
    decision: &Decision,
    roll: Option<Roll>,
    before: &ClusterStatus,
    findings: &[Finding],
    (now, is_over): (Timestamp, bool),
) -> ClusterStatus {
    let object = &facts.object;
    let selector = object.names.selector(Component::Broker);
    let selector: Vec<String> =
        selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let serving = decision.seen.iter().filter(|one| one.serves()).count();
    let cluster_id = facts.said.as_ref().ok().map(|said| said.cluster_id.clone());
    let mut said = ClusterStatus {
        observed_generation: object.generation,
        conditions: merge(&before.conditions, findings, object.generation, now),
        brokers: i32::try_from(serving).unwrap_or(i32::MAX),
        selector: Some(selector.join(",")),
        version: version(decision),
        image: decision.image.clone(),
        protocol_version: decision.protocol.version.clone(),
        cluster_id: cluster_id.filter(|id| !id.is_empty()).or_else(|| before.cluster_id.clone()),
        bootstrap: before.bootstrap.clone(),
        members: decision.seen.iter().map(|one| one.member.clone()).collect(),
        roll,
        plan: before.plan.clone(),
        drains: before.drains.clone(),
        volumes: before.volumes.clone(),
        // Whoever deletes topics writes them.
        tombstones: Vec::new(),
    };
    if let Some(upkeep) = facts.upkeep.as_ref().filter(|_| decision.course == Course::Goes) {
        upkeep.note(&mut said);
        if is_over {
            upkeep.note_after(&mut said);
        }
    }
    said
}

/// The release that all brokers run that are to be.
fn version(decision: &Decision) -> Option<String> {
    let wanted = decision.seen.iter().filter(|one| decision.wanted.contains(&one.id));
    let mut versions = wanted.map(|one| one.member.version.clone());
    let first = versions.next().flatten()?;
    versions.all(|version| version.as_ref() == Some(&first)).then_some(first)
}

/// What is noted of restarts: nothing while none is due and none was.
pub(super) fn roll(
    facts: &Facts,
    decision: &Decision,
    next: Option<&Next>,
    before: Option<&Roll>,
) -> Option<Roll> {
    let (Some(rolling), Some(next)) = (&decision.roll, next) else {
        return before.cloned().filter(|_| decision.course != Course::Ends);
    };
    let brokers = &rolling.facts.brokers;
    let is_due =
        brokers.iter().any(|one| one.pod.as_ref().is_some_and(|pod| pod.revision != one.revision));
    if *next == Next::Done || (before.is_none() && !is_due) {
        return None;
    }
    let (current, message, blocked_by, is_for_ever) = match next {
        Next::Done => (None, String::new(), Vec::new(), false),
        Next::Wait(wait) => {
            (Some(wait.broker), wait.message.clone(), wait.partitions.clone(), wait.is_for_ever)
        }
        Next::Acquire { broker, .. } | Next::Drain { broker } => {
            (Some(*broker), format!("broker {broker} is to be restarted"), Vec::new(), false)
        }
        Next::Delete { broker, .. } => {
            (Some(*broker), format!("broker {broker} is being restarted"), Vec::new(), false)
        }
    };
    // Whoever asks again after a while is to know since when.
    let since =
        before.filter(|before| before.current == current).map(|before| before.blocked_since);
    let since = since.filter(|since| *since > 0);
    let is_asked = matches!(next, Next::Acquire { .. });
    let blocked_since = match (is_for_ever, is_asked) {
        (true, _) => since.unwrap_or(facts.now),
        (false, true) => since.unwrap_or_default(),
        (false, false) => 0,
    };
    Some(Roll {
        id: rolling.id.clone(),
        progress: format!("{}/{}", roll::done(brokers), brokers.len()),
        current,
        message,
        blocked_by: blocked_by.into_iter().take(PARTITIONS).collect(),
        blocked_since,
    })
}
