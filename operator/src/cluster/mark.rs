//! Stands for all that was observed of a cluster, but what is said of it: a write while that is the same as when all was
//! as it should be is one too many. Pure.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::sync::Arc;

use broker_admin::v1::DescribeClusterResponse;
use kube::{Resource, ResourceExt as _};

use super::facts::Facts;

/// Returns the digest.
pub(super) fn mark(facts: &Facts) -> u64 {
    let mut hasher = DefaultHasher::new();
    let live = &facts.live;
    versions(&live.accounts).hash(&mut hasher);
    versions(&live.config_maps).hash(&mut hasher);
    versions(&live.services).hash(&mut hasher);
    versions(&live.policies).hash(&mut hasher);
    versions(&live.budgets).hash(&mut hasher);
    versions(&live.sets).hash(&mut hasher);
    versions(&live.pods).hash(&mut hasher);
    versions(&live.claims).hash(&mut hasher);
    for (id, heard) in &facts.heard {
        let identity = &heard.identity;
        (id, identity.broker_epoch, &identity.process_id).hash(&mut hasher);
        (&identity.version, &identity.inter_broker_protocol).hash(&mut hasher);
        if let Some(health) = &heard.health {
            (health.phase, &health.reason, health.under_replicated).hash(&mut hasher);
        }
    }
    match &facts.said {
        Err(why) => why.hash(&mut hasher),
        Ok(said) => of_cluster(said).hash(&mut hasher),
    }
    hasher.finish()
}

fn versions<K: Resource>(objects: &BTreeMap<String, Arc<K>>) -> Vec<(&String, Option<String>)> {
    objects.iter().map(|(name, object)| (name, object.resource_version())).collect()
}

fn of_cluster(said: &DescribeClusterResponse) -> impl Hash {
    let sorted = |settings: &std::collections::HashMap<String, String>| {
        settings.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    let brokers: Vec<_> = said
        .brokers
        .iter()
        .map(|one| {
            let settings = sorted(&one.dynamic_settings);
            (one.broker_id, one.broker_epoch, one.rack.clone(), one.cordoned, settings)
        })
        .collect();
    (said.controller_id, sorted(&said.dynamic_settings), brokers, said.has_move_throttles)
}
