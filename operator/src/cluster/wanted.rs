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
use super::validate::Valid;
use super::{kept, volumes};
use crate::names::{self, Component};

/// An object that is to go, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doomed {
    /// A Service.
    Service(String),
    /// Files.
    ConfigMap(String),
    /// A StatefulSet, and its pods with it.
    Set(String),
    /// A claim.
    Claim(String),
}

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

/// What a broker is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The files that it reads.
    pub config_map: ConfigMap,
    /// Its set, which makes its pod.
    pub set: StatefulSet,
}

impl Made {
    /// What its pod is called.
    pub fn revision(&self) -> String {
        self.set.spec.as_ref().map(|spec| kept::called(&spec.template)).unwrap_or_default()
    }

    /// The objects, in the order in which they are applied.
    pub fn objects(self) -> [Wanted; 2] {
        [Wanted::ConfigMap(self.config_map), Wanted::Set(Box::new(self.set))]
    }
}

/// Makes each broker that is there or is to be; none that does not know yet where it is found.
///
/// # Errors
/// Where a pod cannot be written as JSON.
pub fn brokers(valid: &Valid, live: &Live) -> Result<BTreeMap<i32, Made>, serde_json::Error> {
    let mut brokers = BTreeMap::new();
    for id in &valid.broker_ids {
        let set = stateful_set(valid, *id)?;
        let (Some(config_map), Some(mut set)) = (config_map(valid, *id), set) else { continue };
        let name = valid.names.broker(*id);
        let inputs = kept::inputs_of_broker(valid, *id);
        let protocol_version = valid.protocol_version.as_deref();
        kept::keep(&mut set, live.last_set(&name), &inputs, protocol_version)?;
        if let Some(before) = live.sets.get(&name) {
            volumes::keep_sizes(&mut set, before);
        }
        brokers.insert(*id, Made { config_map, set });
    }
    Ok(brokers)
}

/// Makes every object. `brokers` is what they are made of now; `may_go`: whether an eviction may take one.
///
/// # Errors
/// Where a pod cannot be written as JSON.
pub fn objects(
    valid: &Valid,
    live: &Live,
    brokers: BTreeMap<i32, Made>,
    may_go: bool,
) -> Result<Vec<Wanted>, serde_json::Error> {
    let mut all =
        vec![Wanted::Account(service_account(valid)), Wanted::Policy(network_policy(valid))];
    all.extend(services(valid).into_iter().map(|one| Wanted::Service(Box::new(one))));
    all.push(Wanted::Budget(pod_disruption_budget(&valid.names, &valid.uid, may_go)));
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
    let (files, sets): (Vec<_>, Vec<_>) =
        brokers.into_values().map(Made::objects).map(|[files, set]| (files, set)).unzip();
    all.extend(files.into_iter().chain(sets));
    Ok(all)
}

/// Names what is there and not made any more: Services, and files of brokers that are gone.
pub fn leftovers(valid: &Valid, live: &Live, wanted: &[Wanted]) -> Vec<Doomed> {
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
    let services = live.services.iter();
    let services =
        services.filter(|(name, one)| !made.contains(*name) && is_of_brokers(valid, &***one));
    let files = live.config_maps.iter();
    // Who does not know yet where it is found again keeps the files that it has.
    let files = files.filter(|(_, one)| {
        let broker = names::broker(&***one);
        broker.is_some_and(|id: i32| !valid.broker_ids.contains(&id))
            && is_of_brokers(valid, &***one)
    });
    let services = services.map(|(name, _)| Doomed::Service(name.clone()));
    services.chain(files.map(|(name, _)| Doomed::ConfigMap(name.clone()))).collect()
}

/// Whether an object was made for brokers of this cluster.
fn is_of_brokers(valid: &Valid, object: &impl Resource) -> bool {
    let selector = valid.names.selector(Component::Broker);
    object.owner_references().iter().any(|owner| owner.uid == valid.uid)
        && selector.iter().all(|(key, value)| object.labels().get(key) == Some(value))
}
