//! Who may reach the brokers: clients their listeners, each other and the operator what is theirs.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::zookeeper::{ELECTION_PORT, QUORUM_PORT};
use super::{meta, selector};
use crate::cluster::validate::Valid;
use crate::names::{ADMIN_PORT, Component, METRICS_PORT, REPLICATION_PORT, ZOOKEEPER_PORT};

/// The label that every namespace has, which is its name.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Makes the policy of the brokers. The operator is known by its label and its namespace; one whose namespace is not
/// known, which runs outside of the cluster, says no more than the label: others may act after it.
pub fn network_policy(valid: &Valid) -> NetworkPolicy {
    let home = |name: &String| selector([(NAMESPACE_LABEL.to_owned(), name.clone())].into());
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(valid.home.as_ref().map(home).unwrap_or_default()),
        pod_selector: Some(selector(BTreeMap::from([(
            "app.kubernetes.io/name".to_owned(),
            "ottla-operator".to_owned(),
        )]))),
        ..NetworkPolicyPeer::default()
    };
    let brokers = NetworkPolicyPeer {
        pod_selector: Some(selector(valid.names.selector(Component::Broker))),
        ..NetworkPolicyPeer::default()
    };
    let clients = valid.listeners.iter().map(|listener| listener.port).chain([METRICS_PORT]);
    let rules = vec![
        rule(clients.collect(), None),
        rule(vec![REPLICATION_PORT], Some(vec![brokers])),
        rule(vec![ADMIN_PORT], Some(vec![operator])),
    ];
    NetworkPolicy {
        metadata: meta(valid, valid.names.brokers(), Component::Broker),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(valid.names.selector(Component::Broker))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(rules),
            egress: None,
        }),
    }
}

/// Makes the policy of the servers of a managed ensemble: brokers are their clients, and nobody else.
pub fn of_ensemble(valid: &Valid) -> NetworkPolicy {
    let pods = |component| NetworkPolicyPeer {
        pod_selector: Some(selector(valid.names.selector(component))),
        ..NetworkPolicyPeer::default()
    };
    let rules = vec![
        rule(vec![ZOOKEEPER_PORT], Some(vec![pods(Component::Broker)])),
        rule(vec![QUORUM_PORT, ELECTION_PORT], Some(vec![pods(Component::ZooKeeper)])),
    ];
    NetworkPolicy {
        metadata: meta(valid, valid.names.zookeeper(), Component::ZooKeeper),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(valid.names.selector(Component::ZooKeeper))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(rules),
            egress: None,
        }),
    }
}

fn rule(ports: Vec<i32>, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    let port = |port| NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicyIngressRule { ports: Some(ports.into_iter().map(port).collect()), from }
}
