//! The objects of a cluster, in the order in which they are applied: what a pod reads, and whoever finds it, is there
//! before the pod. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Resource, ResourceExt as _};

use super::build::account::service_account;
use super::build::budget::pod_disruption_budget;
use super::build::config_map::config_map;
use super::build::network_policy::{network_policy, of_ensemble};
use super::build::service::services;
use super::build::stateful_set::stateful_set;
use super::build::zookeeper::ensemble;
use super::facts::Live;
use super::names::Component;
use super::validate::Valid;
use super::{kept, volumes};

/// An object as it should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// An account.
    Account(ServiceAccount),
    /// A policy.
    Policy(NetworkPolicy),
    /// Files.
    ConfigMap(ConfigMap),
    /// A service.
    Service(Box<Service>),
    /// A budget.
    Budget(PodDisruptionBudget),
    /// A set.
    Set(Box<StatefulSet>),
}

impl Wanted {
    /// The object in words, without its namespace, and whether it is there.
    pub fn of(&self, live: &Live) -> (String, bool) {
        match self {
            Self::Account(one) => named(one, live.accounts.contains_key(&one.name_any())),
            Self::Policy(one) => named(one, live.policies.contains_key(&one.name_any())),
            Self::ConfigMap(one) => named(one, live.config_maps.contains_key(&one.name_any())),
            Self::Service(one) => named(&**one, live.services.contains_key(&one.name_any())),
            Self::Budget(one) => named(one, live.budgets.contains_key(&one.name_any())),
            Self::Set(one) => named(&**one, live.sets.contains_key(&one.name_any())),
        }
    }
}

fn named<K: Resource<DynamicType = ()>>(object: &K, is_there: bool) -> (String, bool) {
    (format!("{} {}", K::kind(&()), object.name_any()), is_there)
}

/// Makes the set of each broker that is there or is to be; none of one that does not know yet where it is found.
///
/// # Errors
/// Where a pod cannot be written as JSON.
pub fn sets(valid: &Valid, live: &Live) -> Result<BTreeMap<i32, StatefulSet>, serde_json::Error> {
    let mut sets = BTreeMap::new();
    for id in &valid.broker_ids {
        let Some(mut set) = stateful_set(valid, *id)? else { continue };
        let name = valid.names.broker(*id);
        let inputs = kept::inputs_of_broker(valid, *id);
        let protocol_version = valid.protocol_version.as_deref();
        kept::keep(&mut set, live.last_set(&name), &inputs, protocol_version)?;
        if let Some(before) = live.sets.get(&name) {
            volumes::keep_sizes(&mut set, before);
        }
        sets.insert(*id, set);
    }
    Ok(sets)
}

/// Makes every object. `sets` are those of brokers; `may_go`: whether an eviction may take a broker.
///
/// # Errors
/// Where a pod cannot be written as JSON.
pub fn objects(
    valid: &Valid,
    live: &Live,
    sets: BTreeMap<i32, StatefulSet>,
    may_go: bool,
) -> Result<Vec<Wanted>, serde_json::Error> {
    let mut all = vec![
        Wanted::Account(service_account(valid)),
        Wanted::Policy(network_policy(valid)),
        Wanted::ConfigMap(config_map(valid)),
    ];
    all.extend(services(valid).into_iter().map(|one| Wanted::Service(Box::new(one))));
    all.push(Wanted::Budget(pod_disruption_budget(valid, may_go)));
    let managed = valid.spec.zookeeper.as_ref().and_then(|zookeeper| zookeeper.managed.as_ref());
    if let (Some(mut made), Some(managed)) = (ensemble(valid), managed) {
        let name = valid.names.zookeeper();
        let inputs = kept::inputs_of_ensemble(managed);
        kept::keep(&mut made.stateful_set, live.last_set(&name), &inputs, None)?;
        if let Some(before) = live.sets.get(&name) {
            volumes::keep_sizes(&mut made.stateful_set, before);
        }
        all.extend([
            Wanted::Policy(of_ensemble(valid)),
            Wanted::ConfigMap(made.config_map),
            Wanted::Service(Box::new(made.service)),
            Wanted::Budget(made.budget),
            Wanted::Set(Box::new(made.stateful_set)),
        ]);
    }
    all.extend(sets.into_values().map(|set| Wanted::Set(Box::new(set))));
    Ok(all)
}

/// Names the Services of brokers that are there and not made any more.
pub fn leftovers(valid: &Valid, live: &Live, wanted: &[Wanted]) -> Vec<String> {
    let made: BTreeSet<String> = wanted
        .iter()
        .filter_map(|one| match one {
            Wanted::Service(service) => Some(service.name_any()),
            Wanted::Account(_)
            | Wanted::Policy(_)
            | Wanted::ConfigMap(_)
            | Wanted::Budget(_)
            | Wanted::Set(_) => None,
        })
        .collect();
    let selector = valid.names.selector(Component::Broker);
    let is_ours = |service: &Service| {
        let owners = service.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.uid == valid.uid)
            && selector.iter().all(|(key, value)| service.labels().get(key) == Some(value))
    };
    let there =
        live.services.iter().filter(|(name, service)| !made.contains(*name) && is_ours(service));
    there.map(|(name, _)| name.clone()).collect()
}
