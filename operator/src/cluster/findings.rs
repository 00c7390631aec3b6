//! What conditions say of a cluster. Pure.

use super::decide::{Course, Decision};
use super::facts::Facts;
use super::roll::Next;
use super::seen::Seen;
use super::upkeep::Upkeep;
use crate::crd::cluster::status::Roll;
use crate::crd::condition::{Finding, headline};
use crate::reason::Reason;

/// Returns the conditions of a decision, of which restarts wait for `next`, and are noted as `roll`.
pub(super) fn findings(
    facts: &Facts,
    decision: &Decision,
    next: Option<&Next>,
    roll: Option<&Roll>,
) -> Vec<Finding> {
    let view = View { facts, decision, next, roll };
    let (ready, why, message) = view.ready();
    let (progressing, how, progress) = view.progressing();
    let harm = view.harm();
    let (degraded, harm, words) = match harm {
        Some((reason, words)) => (true, reason, words),
        None => (false, Reason::AsExpected, String::new()),
    };
    let is_paused = decision.course == Course::Paused;
    let paused = if is_paused { Reason::Paused } else { Reason::Running };
    let about_pause = if is_paused {
        "spec.paused is set: nothing is changed but how many brokers an eviction may take"
    } else {
        ""
    };
    let finding = |r#type, holds, reason: Reason, message| Finding {
        r#type,
        holds,
        reason: reason.text(),
        message,
    };
    let mut all = vec![
        finding("Ready", Some(ready), why, message),
        finding("Progressing", progressing, how, progress),
        finding("Degraded", Some(degraded), harm, words),
        finding("Paused", Some(is_paused), paused, about_pause.to_owned()),
    ];
    headline(&mut all);
    all
}

struct View<'a> {
    facts: &'a Facts,
    decision: &'a Decision,
    next: Option<&'a Next>,
    roll: Option<&'a Roll>,
}

impl View<'_> {
    /// Brokers that are to be.
    fn wanted(&self) -> impl Iterator<Item = &Seen> {
        self.decision.seen.iter().filter(|one| self.decision.wanted.contains(&one.id))
    }

    /// Those of them that do not serve.
    fn away(&self) -> Vec<&Seen> {
        self.wanted().filter(|one| !one.serves()).collect()
    }

    /// Whether a broker is away because it is restarted.
    fn is_excused(&self, broker: &Seen) -> bool {
        let is_current = self.roll.is_some_and(|roll| roll.current == Some(broker.id));
        is_current && trouble(broker).is_none()
    }

    fn has_ever_served(&self) -> bool {
        self.facts.object.status.cluster_id.is_some() || self.facts.said.is_ok()
    }

    fn ready(&self) -> (bool, Reason, String) {
        let away = self.away();
        let (total, serving) = (self.wanted().count(), self.wanted().count() - away.len());
        let count = format!("{serving} of {total} brokers serve");
        if self.decision.course == Course::Ends {
            return (false, Reason::Deleting, "the object is being deleted".to_owned());
        }
        if away.is_empty() && total > 0 {
            return (true, Reason::Ready, count);
        }
        if total > 1 && away.len() == 1 && self.is_excused(away[0]) {
            let words = format!("broker {} is being restarted, the others serve", away[0].id);
            return (true, Reason::Restarting, words);
        }
        let failing = away.iter().find_map(|one| Some((one.id, trouble(one)?)));
        if let Some((id, why)) = failing {
            return (false, Reason::PodFailing, format!("{count}: broker {id}: {why}"));
        }
        let has_gone = away.iter().any(|one| one.member.version.is_some());
        let reason = match (has_gone, self.has_ever_served()) {
            (true, _) => Reason::BrokersAway,
            (false, true) => Reason::Starting,
            (false, false) => Reason::Creating,
        };
        let why = away.iter().find(|one| !one.member.message.is_empty());
        let why = why.map(|one| format!(": broker {}: {}", one.id, one.member.message));
        (false, reason, count + &why.unwrap_or_default())
    }

    /// Nobody knows whether anything goes on where brokers do not say what lies on them.
    fn progressing(&self) -> (Option<bool>, Reason, String) {
        let (yes, no) = (Some(true), Some(false));
        match &self.decision.course {
            Course::Begins => return (yes, Reason::Beginning, String::new()),
            Course::Ends => return (yes, Reason::Deleting, String::new()),
            Course::Paused => return (no, Reason::Paused, String::new()),
            Course::Invalid(_) => return (no, Reason::InvalidSpec, String::new()),
            Course::Goes => {}
        }
        if let Some(roll) = self.roll {
            let words =
                format!("{} brokers are what they should be: {}", roll.progress, roll.message);
            return (yes, Reason::Restarting, words);
        }
        let away = self.away();
        if !away.is_empty() {
            let names = ids(&away);
            let reason = if self.has_ever_served() { Reason::Starting } else { Reason::Creating };
            return (yes, reason, format!("{names} to serve yet"));
        }
        if let Some((reason, words)) = self.facts.upkeep.as_ref().and_then(kept_up) {
            return (yes, reason, words);
        }
        if let Some(why) = self.unknown() {
            return (None, Reason::ClusterUnreachable, why);
        }
        if !self.decision.protocol.put_off.is_empty() {
            return (yes, Reason::Waiting, self.decision.protocol.put_off.clone());
        }
        if self.facts.object.is_deleted {
            let words = "the object goes once spec.deletionProtection is false";
            return (no, Reason::Protected, words.to_owned());
        }
        (no, Reason::Idle, String::new())
    }

    /// Why nobody knows whether members or volumes change, if so.
    fn unknown(&self) -> Option<String> {
        self.facts.upkeep.as_ref()?.members.unknown.clone()
    }

    fn harm(&self) -> Option<(Reason, String)> {
        if self.decision.course == Course::Ends {
            return None;
        }
        if let Course::Invalid(words) = &self.decision.course {
            return Some((Reason::InvalidSpec, words.join("; ")));
        }
        let failing = self.wanted().find_map(|one| Some((one.id, trouble(one)?)));
        if let Some((id, why)) = failing {
            let words = match self.next {
                // It says what follows from that, too.
                Some(Next::Wait(wait)) if wait.broker == id => wait.message.clone(),
                _ => format!("broker {id} does not start: {why}"),
            };
            return Some((Reason::PodFailing, words));
        }
        if let Some(Next::Wait(wait)) = self.next
            && wait.reason == Reason::RestartRefused
        {
            let first: Vec<&str> = wait.partitions.iter().take(10).map(String::as_str).collect();
            let named =
                if first.is_empty() { String::new() } else { format!(": {}", first.join(", ")) };
            return Some((wait.reason, format!("{}{named}", wait.message)));
        }
        if let Some(harm) = self.facts.upkeep.as_ref().and_then(harm_of) {
            return Some(harm);
        }
        // Who is new has not been there yet.
        let lost = self.away();
        let lost: Vec<&Seen> = lost
            .into_iter()
            .filter(|one| one.member.version.is_some() && !self.is_excused(one))
            .collect();
        if !lost.is_empty() {
            return Some((
                Reason::BrokersAway,
                format!("{} not serve", ids(&lost).replace(" are", " do").replace(" is", " does")),
            ));
        }
        let any_ready = self.wanted().any(|one| one.pod.as_ref().is_some_and(|pod| pod.is_ready));
        match &self.facts.said {
            Err(why) if any_ready => Some((Reason::ClusterUnreachable, why.clone())),
            Err(_) | Ok(_) => None,
        }
    }
}

/// What goes on about members and volumes.
fn kept_up(upkeep: &Upkeep) -> Option<(Reason, String)> {
    let members = &upkeep.members;
    let leaving = members.drains.iter().find(|one| !members.refused.contains_key(&one.broker));
    if let Some(drain) = leaving {
        let words = format!("broker {} is emptied: {}", drain.broker, drain.message);
        return Some((Reason::BrokerLeaving, words.trim_end_matches([':', ' ']).to_owned()));
    }
    if let Some(plan) = &members.plan {
        let reason =
            if members.waits_for_approval { Reason::AwaitingApproval } else { Reason::Rebalancing };
        return Some((reason, format!("replicas are spread anew: plan {}", plan.digest)));
    }
    let grows = upkeep.volumes.states.iter().find(|one| {
        !upkeep.volumes.lost.contains_key(&one.claim)
            && !upkeep.volumes.refused.contains_key(&one.claim)
    });
    if let Some(state) = grows {
        return Some((Reason::VolumeGrowing, format!("{}: {}", state.claim, state.message)));
    }
    upkeep.goes_on().then(|| (Reason::Changing, String::new()))
}

/// What is wrong with members and volumes.
fn harm_of(upkeep: &Upkeep) -> Option<(Reason, String)> {
    let lost = upkeep.volumes.lost.iter().next();
    let lost = lost.map(|(claim, why)| (Reason::VolumeLost, format!("{claim}: {why}")));
    let stays = upkeep.members.refused.iter().next();
    let stays = stays.map(|(id, why)| (Reason::BrokerStays, format!("broker {id} stays: {why}")));
    let refused = upkeep.volumes.refused.iter().next();
    let refused = refused.map(|(claim, why)| (Reason::VolumeNotGrowing, format!("{claim}: {why}")));
    lost.or(stays).or(refused)
}

/// What keeps a broker from serving.
fn trouble(broker: &Seen) -> Option<String> {
    let pod = broker.pod.as_ref().filter(|pod| !pod.trouble.is_empty() && !pod.is_going)?;
    Some(pod.trouble.clone())
}

/// Names brokers, with the verb.
fn ids(brokers: &[&Seen]) -> String {
    let ids: Vec<String> = brokers.iter().map(|one| one.id.to_string()).collect();
    match ids.as_slice() {
        [one] => format!("broker {one} is"),
        _ => format!("brokers {} are", ids.join(", ")),
    }
}
