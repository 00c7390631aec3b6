//! `Cluster`: brokers that form one cluster, as their owner wants them.

#![allow(unreachable_pub, reason = "KubeSchema puts a copy of the spec into a function")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod listener;
pub mod pod;
pub mod status;
pub mod zookeeper;

use super::quantity;
use super::topic::Approval;
use listener::Listener;
use pod::{PodMetadata, Scheduling};
use status::ClusterStatus;
use zookeeper::ZooKeeper;

/// A cluster of Ottla brokers. What this object says is the truth: what others change of what is made for it is put back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "Cluster",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    shortname = "oc",
    category = "ottla",
    doc = "A cluster of Ottla brokers. What this object says is the truth: what others change of what is made for it is put back.",
    scale(
        spec_replicas_path = ".spec.brokers",
        status_replicas_path = ".status.brokers",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".spec.brokers"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Restarted", type_ = "string", json_path = ".status.roll.progress"),
    printcolumn(name = "Bootstrap", type_ = "string", json_path = ".status.bootstrap", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("the name of a Cluster has at most 40 characters: names of what is made for it begin with it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name of a Cluster begins with a letter and has letters, digits and '-': Services are named after it")
)]
#[x_kube(validation = Rule::new("has(self.zookeeper) || self.brokers <= 1")
    .message("several brokers need a zookeeper: one broker alone keeps its tree on its own disk"))]
#[x_kube(validation = Rule::new("has(self.zookeeper) == has(oldSelf.zookeeper)")
    .message("zookeeper cannot be given or taken away later: see `ottla-broker move-coordination`"))]
#[x_kube(validation = Rule::new("has(self.version) || has(self.image)")
    .message("version or image says what the brokers run"))]
#[x_kube(validation = Rule::new("!has(self.listeners) || self.listeners.all(one, self.listeners.exists_one(other, other.port == one.port))")
    .message("two listeners cannot have one port"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// How many brokers there are. Their ids are the lowest numbers from 0 on that `removed` does not name.
    #[schemars(range(min = 1, max = 200))]
    pub brokers: i32,
    /// Brokers that shall not be, by id: each is emptied, then taken away, and another takes its place where `brokers`
    /// stays what it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(range(min = 0, max = 10_000)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub removed: Vec<i32>,
    /// The release that the brokers run, such as 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"))]
    pub version: Option<String>,
    /// The image that the brokers run, instead of that of `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// What the brokers speak among themselves, such as 3.9. Without it, the newest that all of them know, once all
    /// run the same release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]+\.[0-9]+(\.[0-9]+)?(-IV[0-9]+)?$"))]
    pub protocol_version: Option<String>,
    /// What the brokers agree by. Without it there is one broker, which keeps that on its own disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zookeeper: Option<ZooKeeper>,
    /// The disks of each broker.
    #[serde(default)]
    pub storage: Storage,
    /// Where clients find the brokers. Without any: `client`, port 9092, inside of the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub listeners: Vec<Listener>,
    /// Which label of a node names the rack of its brokers: replicas of a partition are spread over racks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Rack>,
    /// Settings of the brokers, each a text, such as `num.partitions: "3"`. What can be changed without a restart is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 200))]
    #[x_kube(validation = Rule::new("!self.exists(key, key in ['broker.id', 'log.dirs', 'log.dir', 'zookeeper.connect', 'listeners', 'advertised.listeners', 'listener.security.protocol.map', 'inter.broker.listener.name', 'inter.broker.protocol.version', 'broker.rack', 'metrics.listener', 'admin.listener', 'admin.instance'])")
        .message("broker.id, log.dirs, zookeeper.connect, listeners, broker.rack, inter.broker.protocol.version, metrics.listener, admin.listener and admin.instance follow from the rest of the spec"))]
    pub config: BTreeMap<String, String>,
    /// What each broker may use of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Which nodes brokers run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Labels and annotations of the brokers' pods, besides the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<PodMetadata>,
    /// How brokers are restarted.
    #[serde(default)]
    pub restarts: Restarts,
    /// How replicas are spread anew when brokers come.
    #[serde(default)]
    pub rebalance: Rebalance,
    /// Nothing is changed while this stands, and what is there goes on. Only the `PodDisruptionBudget` still follows the
    /// brokers: no eviction takes one while another is away or lacks records.
    #[serde(default)]
    pub paused: bool,
    /// The object cannot be deleted while this stands, unless its whole namespace is.
    #[serde(default)]
    pub deletion_protection: bool,
}

impl Cluster {
    /// Whether it is deleted, and may be: one that is protected stays as it is, with all that is part of it.
    pub fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() && !self.spec.deletion_protection
    }
}

/// The disks of each broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.volumes.size() == oldSelf.volumes.size()")
    .message("volumes cannot be added or taken away: make another Cluster"))]
#[x_kube(validation = Rule::new("oldSelf.volumes.all(old, self.volumes.exists(new, new.name == old.name))")
    .message("volumes cannot be renamed"))]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Each is a log directory of its own: one that fails takes the others' partitions nowhere.
    #[serde(default = "one_volume")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub volumes: Vec<Volume>,
    /// What becomes of a broker's volumes when the broker is taken away, or the `Cluster` is deleted.
    #[serde(default)]
    pub on_delete: VolumePolicy,
}

impl Default for Storage {
    fn default() -> Self {
        Self { volumes: one_volume(), on_delete: VolumePolicy::default() }
    }
}

fn one_volume() -> Vec<Volume> {
    vec![Volume { name: data(), size: ten_gibibytes(), class: None }]
}

/// A disk of each broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.class) == has(oldSelf.class) && (!has(self.class) || self.class == oldSelf.class)")
    .message("class cannot be changed: make another Cluster"))]
#[x_kube(validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
    .message("size can only grow: a disk cannot shrink"))]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Names it among those of the broker.
    #[serde(default = "data")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How large it is. It can grow later, if its class allows.
    #[serde(default = "ten_gibibytes")]
    #[schemars(
        length(max = 20),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")
    )]
    pub size: String,
    /// The StorageClass; without it, the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub class: Option<String>,
}

fn data() -> String {
    "data".to_owned()
}

fn ten_gibibytes() -> String {
    "10Gi".to_owned()
}

/// What becomes of volumes whose broker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum VolumePolicy {
    /// They stay.
    #[default]
    Retain,
    /// They are deleted, with what is on them.
    Delete,
}

/// Where brokers are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rack {
    /// The label of a node that names its rack.
    #[serde(default = "zone")]
    #[schemars(length(min = 1, max = 317))]
    pub node_label: String,
}

fn zone() -> String {
    "topology.kubernetes.io/zone".to_owned()
}

/// How brokers are restarted: one at a time, each only if its partitions stay at `min.insync.replicas` without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restarts {
    /// For how many seconds a restart is put off by partitions that any restart takes below `min.insync.replicas`,
    /// because they have too few replicas.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 0, max = 86_400))]
    pub unavoidable_wait_seconds: i32,
    /// Any other text than before has all brokers restarted, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub token: Option<String>,
    /// Brokers that may be restarted whatever falls below `min.insync.replicas`, by id: for what cannot be mended
    /// otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub force: Vec<i32>,
}

impl Default for Restarts {
    fn default() -> Self {
        Self { unavoidable_wait_seconds: a_minute(), token: None, force: Vec::new() }
    }
}

fn a_minute() -> i32 {
    60
}

/// How replicas are spread anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rebalance {
    /// When.
    #[serde(default)]
    pub mode: RebalanceMode,
    /// Bytes that each broker may copy in a second for the sake of moves.
    #[serde(default = "fifty_mebibytes")]
    #[schemars(
        length(max = 20),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")
    )]
    #[x_kube(validation = Rule::new("!isQuantity(self) || (quantity(self).compareTo(quantity('1')) >= 0 && quantity(self).compareTo(quantity('1Pi')) <= 0)")
        .message("throttle is at least 1 byte and at most 1Pi: nothing moves without a bound"))]
    pub throttle: String,
    /// Ask before anything is moved. What moves is chosen whatever partitions weigh then, and proposed anew, by another
    /// digest, if it has changed before it begins: what is moved is what was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self { mode: RebalanceMode::default(), throttle: fifty_mebibytes(), approval: None }
    }
}

impl Rebalance {
    /// Bytes that each broker may copy in a second for the sake of moves; `None` where the text is no such bound, which
    /// the API server lets nobody write.
    pub fn throttle(&self) -> Option<u64> {
        quantity::bytes(&self.throttle).filter(|bytes| (1..=THROTTLE_MAX).contains(bytes))
    }
}

/// One pebibyte: more than any network brings, and far from what a broker's setting cannot hold.
const THROTTLE_MAX: u64 = 1 << 50;

fn fifty_mebibytes() -> String {
    "50Mi".to_owned()
}

/// When replicas are spread anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum RebalanceMode {
    /// When brokers have come.
    #[default]
    Automatic,
    /// Never: new brokers get what is made after them.
    Off,
}
