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

use super::validate::Valid;
use crate::crd::cluster::Cluster;
use crate::names::{BROKER_LABEL, Component, Names};

/// The head of an object of a spec that can be built.
fn meta(valid: &Valid, name: String, component: Component) -> ObjectMeta {
    owned(&valid.names, &valid.uid, name, component)
}

/// The head of an object of one broker.
fn meta_of_broker(valid: &Valid, broker: i32) -> ObjectMeta {
    let mut meta = meta(valid, valid.names.broker(broker), Component::Broker);
    meta.labels.get_or_insert_default().insert(BROKER_LABEL.to_owned(), broker.to_string());
    meta
}

/// The head of an object: it belongs to the cluster's object, which has this uid, and goes with it.
fn owned(names: &Names, uid: &str, name: String, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(names.namespace.clone()),
        labels: Some(names.labels(component)),
        owner_references: Some(vec![owner(names, uid)]),
        ..ObjectMeta::default()
    }
}

fn owner(names: &Names, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: Cluster::api_version(&()).into_owned(),
        kind: Cluster::kind(&()).into_owned(),
        name: names.cluster.clone(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}
