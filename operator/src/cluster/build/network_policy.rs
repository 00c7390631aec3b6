//! Who may reach the brokers: clients their listeners, each other and the operator what is theirs.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{meta, selector};
use crate::cluster::names::{ADMIN_PORT, Component, METRICS_PORT, REPLICATION_PORT};
use crate::cluster::validate::Valid;

/// Makes the policy of the brokers. The operator is known by its label, in whatever namespace it runs.
pub fn network_policy(valid: &Valid) -> NetworkPolicy {
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
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

fn rule(ports: Vec<i32>, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    let port = |port| NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicyIngressRule { ports: Some(ports.into_iter().map(port).collect()), from }
}
