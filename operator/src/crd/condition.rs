//! Conditions of a status: what is true of an object, since when, and of which generation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is told of an object under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Ready, Progressing, Degraded or Paused.
    pub r#type: String,
    /// True, False or Unknown.
    pub status: String,
    /// The generation of the spec that this is about.
    pub observed_generation: i64,
    /// When the status changed last.
    pub last_transition_time: Time,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// What is now true under one name, without a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name.
    pub r#type: &'static str,
    /// Whether it holds; `None` where nobody knows.
    pub holds: Option<bool>,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

/// What is wrong, by its reason and in words, if anything is.
pub fn harm(conditions: &[Condition]) -> Option<(&str, &str)> {
    let harm = conditions.iter().find(|one| one.r#type == "Degraded" && one.status == "True")?;
    Some((&harm.reason, &harm.message))
}

/// Has Ready say what is wrong, too: it is what `kubectl get` shows. Whether it holds stays.
pub fn headline(findings: &mut [Finding]) {
    let harm = findings.iter().find(|one| one.r#type == "Degraded" && one.holds == Some(true));
    let Some(Finding { reason, message, .. }) = harm.cloned() else { return };
    let ready = findings.iter_mut().filter(|one| one.r#type == "Ready" && one.reason != reason);
    for ready in ready {
        ready.reason = reason;
        let lead =
            if ready.message.is_empty() { String::new() } else { format!("{}; ", ready.message) };
        ready.message = format!("{lead}{message}");
    }
}

/// Puts findings in place of conditions: the time changes with the status alone, and the order not at all, so that
/// what is told twice is equal.
pub fn merge(
    before: &[Condition],
    findings: &[Finding],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let merged = findings.iter().map(|finding| {
        let status = match finding.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let same = before
            .iter()
            .find(|condition| condition.r#type == finding.r#type && condition.status == status);
        Condition {
            r#type: finding.r#type.to_owned(),
            status: status.to_owned(),
            observed_generation: generation,
            last_transition_time: same
                .map_or(Time(now), |condition| condition.last_transition_time.clone()),
            reason: finding.reason.to_owned(),
            message: finding.message.clone(),
        }
    });
    merged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(holds: Option<bool>, reason: &'static str) -> [Finding; 1] {
        [Finding { r#type: "Ready", holds, reason, message: String::new() }]
    }

    /// What is wrong is read where people look first.
    #[test]
    fn ready_says_what_is_wrong() {
        let finding = |r#type, holds, reason, message: &str| Finding {
            r#type,
            holds: Some(holds),
            reason,
            message: message.to_owned(),
        };
        let mut findings = [
            finding("Ready", true, "Ready", "3 of 3 brokers serve"),
            finding("Degraded", true, "InvalidSpec", "spec.config: no"),
        ];
        headline(&mut findings);
        let told = "3 of 3 brokers serve; spec.config: no";
        assert_eq!(findings[0], finding("Ready", true, "InvalidSpec", told));
        let once = findings.clone();
        headline(&mut findings);
        assert_eq!(findings, once);
        let mut well =
            [finding("Ready", true, "Ready", ""), finding("Degraded", false, "AsExpected", "")];
        headline(&mut well);
        assert_eq!(well[0].reason, "Ready");
    }

    /// The time is that of the last change of the status, whatever the reason is.
    #[test]
    fn a_transition_is_a_change_of_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = merge(&[], &ready(Some(false), "Creating"), 1, at(1));
        let still = merge(&first, &ready(Some(false), "Waiting"), 1, at(2));
        assert_eq!((still[0].last_transition_time.0, &*still[0].reason), (at(1), "Waiting"));
        let there = merge(&still, &ready(Some(true), "Ready"), 1, at(3));
        assert_eq!((there[0].last_transition_time.0, &*there[0].status), (at(3), "True"));
        assert_eq!(merge(&there, &ready(Some(true), "Ready"), 1, at(4)), there);
        let later = merge(&there, &ready(Some(true), "Ready"), 2, at(5));
        assert_eq!((later[0].observed_generation, later[0].last_transition_time.0), (2, at(3)));
    }
}
