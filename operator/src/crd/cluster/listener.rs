//! Where clients find the brokers of a cluster.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A port of every broker, and how clients find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.type == 'NodePort' || !has(self.nodePort)")
    .message("nodePort is for listeners of the type NodePort"))]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Names it: in settings of the brokers, in upper case, as `inter.broker.listener.name` names one.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!(self in ['replication', 'admin', 'metrics'])")
        .message("replication, admin and metrics are the names of the brokers' own ports"))]
    #[x_kube(validation = Rule::new("!(self in ['brokers', 'zookeeper']) && !self.matches('-[0-9]+$')")
        .message("brokers, zookeeper and names that end in a number after a hyphen are those of Services of the cluster"))]
    pub name: String,
    /// The port that brokers listen on.
    #[schemars(range(min = 1024, max = 65_535))]
    #[x_kube(validation = Rule::new("!(self in [9091, 9095, 9404])")
        .message("9091, 9095 and 9404 are the brokers' own ports"))]
    pub port: i32,
    /// Who finds it.
    #[serde(default)]
    pub r#type: ListenerType,
    /// The port of the nodes that leads to any of the brokers; without it, one that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub node_port: Option<i32>,
    /// What clients are told, where they do not find brokers as these find themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["broker".to_string()]))]
    pub advertised: Vec<Advertised>,
    /// Annotations of the Services: what load balancers and DNS are told by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Who finds a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ListenerType {
    /// Pods of the Kubernetes cluster.
    #[default]
    Internal,
    /// Whoever reaches the nodes: each broker has a port of theirs.
    NodePort,
    /// Whoever reaches the load balancers, of which each broker has one.
    LoadBalancer,
}

/// Where clients find one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Advertised {
    /// The broker's id.
    #[schemars(range(min = 0))]
    pub broker: i32,
    /// A name or an address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Without it, the port of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i32>,
}
