//! How many brokers an eviction may take: one while all is well, none while a broker is away or about to go.
//!
//! All is well where every partition has all its replicas in sync. One that falls below `min.insync.replicas` by any
//! restart, because it has too few replicas, holds no eviction up: it would do so for ever.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{owned, selector};
use crate::names::{Component, Names};

/// Makes the budget of the brokers of the object that has this uid. `may_go`: whether no partition lacks a replica, all
/// brokers serve, and none is about to be restarted.
pub fn pod_disruption_budget(names: &Names, uid: &str, may_go: bool) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owned(names, uid, names.brokers(), Component::Broker),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(i32::from(may_go))),
            selector: Some(selector(names.selector(Component::Broker))),
            // What does not run serves nobody: it may always go.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
