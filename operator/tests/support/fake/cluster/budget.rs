//! Disruption budgets: how many pods may be evicted now.
//!
//! Source: the controller `disruption` of Kubernetes 1.34.

use serde_json::Value;

use super::super::json::{items, number, pairs, put, text};
use super::super::selector::chooses;
use super::super::state::{State, Who};
use super::super::store::Key;
use super::condition::{is_ready, say};
use super::{CONTROLLERS, is_ending, listed};

pub(crate) const BUDGETS: &str = "poddisruptionbudgets.policy";

/// Writes into every budget what it allows.
pub(super) fn step(state: &mut State) {
    for (key, budget) in listed(state, BUDGETS, "") {
        if !is_ending(&budget) {
            count(state, &key, &budget);
        }
    }
}

/// Returns a count, or a percentage of `all` rounded up.
fn scaled(value: &Value, all: i64) -> i64 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    percent.map_or(value.as_i64().unwrap_or(0), |percent| (percent * all + 99) / 100)
}

/// Returns how many pods the controllers of `pods` want.
fn wanted(state: &State, pods: &[&Value]) -> i64 {
    let owners = pods.iter().flat_map(|pod| items(pod, "/metadata/ownerReferences"));
    let mut uids: Vec<&str> = owners
        .filter(|owner| owner["controller"] == true)
        .map(|owner| text(owner, "/uid"))
        .collect();
    uids.sort_unstable();
    uids.dedup();
    let sets = listed(state, "statefulsets.apps", "");
    let own = sets.iter().filter(|(_, set)| uids.contains(&text(set, "/metadata/uid")));
    own.map(|(_, set)| number(set, "/spec/replicas").unwrap_or(1)).sum()
}

fn count(state: &mut State, key: &Key, budget: &Value) {
    let all = listed(state, "pods", &key.namespace);
    let has_ended = |pod: &Value| ["Failed", "Succeeded"].contains(&text(pod, "/status/phase"));
    let chosen: Vec<&Value> = all
        .iter()
        .map(|(_, pod)| &**pod)
        .filter(|pod| chooses(&budget["spec"]["selector"], pod) && !has_ended(pod))
        .collect();
    // A pod is held to be disrupted until it is seen to end, for two minutes at most.
    let is_pending = |name: &str, since: &str| {
        let lives = |pod: &&&Value| text(pod, "/metadata/name") == name && !is_ending(pod);
        chosen.iter().any(|pod| lives(&pod)) && state.clock.since(since).as_secs() < 120
    };
    let disrupted: serde_json::Map<String, Value> = pairs(budget, "/status/disruptedPods")
        .into_iter()
        .filter(|(name, since)| is_pending(name, since))
        .map(|(name, since)| (name.to_owned(), since.into()))
        .collect();
    let is_healthy = |pod: &&&Value| {
        is_ready(pod) && !is_ending(pod) && !disrupted.contains_key(text(pod, "/metadata/name"))
    };
    let healthy = chosen.iter().filter(is_healthy).count() as i64;
    let (expected, desired) = match budget["spec"].get("maxUnavailable") {
        Some(most) => {
            let expected = wanted(state, &chosen);
            (expected, (expected - scaled(most, expected)).max(0))
        }
        None if budget["spec"]["minAvailable"].is_string() => {
            let expected = wanted(state, &chosen);
            (expected, scaled(&budget["spec"]["minAvailable"], expected))
        }
        None => {
            let least = budget["spec"]["minAvailable"].as_i64().unwrap_or(1);
            (chosen.len() as i64, least)
        }
    };
    let allowed = if expected == 0 { 0 } else { (healthy - desired).max(0) };
    let now = state.clock.now();
    let generation = budget["metadata"]["generation"].clone();
    let _ = state.update(key, Who::status(CONTROLLERS), |budget| {
        put(budget, "/status/currentHealthy", healthy);
        put(budget, "/status/desiredHealthy", desired);
        put(budget, "/status/expectedPods", expected);
        put(budget, "/status/disruptionsAllowed", allowed);
        put(budget, "/status/observedGeneration", generation.clone());
        if disrupted.is_empty() {
            super::super::json::take(budget, "/status/disruptedPods");
        } else {
            put(budget, "/status/disruptedPods", disrupted);
        }
        let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
        say(budget, "DisruptionAllowed", allowed > 0, reason, &now);
        put(&mut budget["status"]["conditions"][0], "/message", "");
        put(&mut budget["status"]["conditions"][0], "/observedGeneration", generation);
        Ok(())
    });
}
