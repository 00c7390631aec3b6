//! Evictions: a deletion that a disruption budget may refuse.
//!
//! Source: `pkg/registry/core/pod/storage/eviction.go` of Kubernetes 1.34.

use serde_json::Value;

use super::cluster::budget::BUDGETS;
use super::cluster::condition::is_ready;
use super::deletion::Deletion;
use super::json::{number, put, text};
use super::refusal::Refusal;
use super::selector::chooses;
use super::state::{State, Who};
use super::store::Key;

/// Evicts the pod at `key`.
pub(crate) fn evict(state: &mut State, key: &Key, body: &Value) -> Result<(), Refusal> {
    let kind = state.kind("pods");
    let Some(pod) = state.store.get(key).cloned() else {
        return Err(Refusal::not_found(&kind, &key.name));
    };
    let how = Deletion::read(&body["deleteOptions"])?;
    let phase = text(&pod, "/status/phase");
    let is_over = ["Pending", "Succeeded", "Failed"].contains(&phase)
        || pod.pointer("/metadata/deletionTimestamp").is_some();
    let budgets: Vec<(Key, Value)> = state
        .store
        .list(BUDGETS, &key.namespace)
        .filter(|(_, budget)| chooses(&budget["spec"]["selector"], &pod))
        .map(|(key, budget)| (key.clone(), budget.clone()))
        .collect();
    match budgets.as_slice() {
        [(budget_key, budget)] if !is_over => {
            if needs_allowance(budget, &pod) {
                spend(state, key, budget_key, budget)?;
            }
        }
        [] | [_] => {}
        _ if is_over => {}
        _ => {
            let mut refusal = Refusal::planted(500);
            refusal.message.replace_range(
                ..,
                "This pod has more than one PodDisruptionBudget, which the eviction \
                               subresource does not support.",
            );
            return Err(refusal);
        }
    }
    state.delete(key, &how, false).map(drop)
}

/// Whether the eviction counts: an unready pod takes nothing from a budget that is met without it.
fn needs_allowance(budget: &Value, pod: &Value) -> bool {
    if is_ready(pod) {
        return true;
    }
    if text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow" {
        return false;
    }
    let count = |name: &str| number(budget, &format!("/status/{name}")).unwrap_or(0);
    !(count("currentHealthy") >= count("desiredHealthy") && count("desiredHealthy") > 0)
}

/// Takes one disruption from the budget.
fn spend(state: &mut State, pod: &Key, key: &Key, budget: &Value) -> Result<(), Refusal> {
    let count = |pointer: &str| number(budget, pointer).unwrap_or(0);
    let refuse = |why: String| Err(Refusal::disruption_budget(&why));
    if count("/status/observedGeneration") < count("/metadata/generation") {
        return refuse(format!(
            "The disruption budget {} is still being processed by the server.",
            key.name
        ));
    }
    let allowed = count("/status/disruptionsAllowed");
    if allowed <= 0 {
        return refuse(format!(
            "The disruption budget {} needs {} healthy pods and has {} currently",
            key.name,
            count("/status/desiredHealthy"),
            count("/status/currentHealthy")
        ));
    }
    let now = state.clock.now();
    state.update(key, Who::status("kube-apiserver"), |budget| {
        put(budget, "/status/disruptionsAllowed", allowed - 1);
        put(budget, &format!("/status/disruptedPods/{}", pod.name), now);
        Ok(())
    })?;
    Ok(())
}
