//! What is made for a cluster: pure, a function for each kind. The same spec makes the same objects, to the letter.

pub mod account;
pub mod budget;
pub mod config_map;
pub mod network_policy;
pub mod pod;
mod restricted;
pub mod revision;
pub mod service;
pub mod stateful_set;
#[cfg(test)]
pub(super) mod tests;
pub mod zookeeper;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;

use super::names::Component;
use super::validate::Valid;
use crate::crd::cluster::Cluster;

/// The head of an object: it belongs to the cluster's object, and goes with it.
fn meta(valid: &Valid, name: String, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(valid.names.namespace.clone()),
        labels: Some(valid.names.labels(component)),
        owner_references: Some(vec![owner(valid)]),
        ..ObjectMeta::default()
    }
}

fn owner(valid: &Valid) -> OwnerReference {
    OwnerReference {
        api_version: Cluster::api_version(&()).into_owned(),
        kind: Cluster::kind(&()).into_owned(),
        name: valid.names.cluster.clone(),
        uid: valid.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}
