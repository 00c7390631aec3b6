//! `Topic`: a topic of a cluster, as its owner wants it.

#![allow(unreachable_pub, reason = "KubeSchema puts a copy of the spec into a function")]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;

/// A topic of an Ottla cluster. What this object says of the topic is the truth: what others change of it is put back.
/// Topics without an object are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    status = "TopicStatus",
    derive = "PartialEq",
    shortname = "ot",
    category = "ottla",
    selectable = ".spec.cluster",
    doc = "A topic of an Ottla cluster. What this object says of the topic is the truth: what others change of it is put back. Topics without an object are left alone.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".status.topicName"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("has(self.spec.topicName) || self.metadata.name.size() <= 249")
        .message("the object's name is too long for a topic: set spec.topicName")
)]
#[x_kube(validation = Rule::new("has(oldSelf.topicName) == has(self.topicName)")
    .message("topicName cannot be given or taken away later: create another Topic"))]
#[x_kube(validation = Rule::new("!has(self.assignment) || self.assignment.size() == self.partitions")
    .message("assignment names the replicas of every partition, in order, or is left out"))]
#[x_kube(validation = Rule::new("!has(self.assignment) || self.assignment.all(replicas, replicas.size() == self.replicas)")
    .message("assignment names as many brokers for each partition as replicas says"))]
#[x_kube(validation = Rule::new("!has(self.config) || !('min.insync.replicas' in self.config) || !self.config['min.insync.replicas'].matches('^[0-9]{1,9}$') || int(self.config['min.insync.replicas']) <= self.replicas")
    .message("min.insync.replicas is at most replicas: more would have every record with acks=all refused"))]
#[serde(rename_all = "camelCase")]
pub struct TopicSpec {
    /// The name of the `Cluster` in the same namespace. It cannot be changed.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("cluster cannot be changed: create another Topic"))]
    pub cluster: String,
    /// The topic's name in the cluster; without it, that of this object. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("topicName cannot be changed: create another Topic"))]
    #[x_kube(validation = Rule::new("self != '.' && self != '..'").message("a topic cannot be called . or .."))]
    #[x_kube(validation = Rule::new("!self.startsWith('__')").message("topics that begin with __ are the brokers' own"))]
    pub topic_name: Option<String>,
    /// How many partitions there are. There can be more later, never fewer: records of a key would be elsewhere.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("partitions can only be added: a topic cannot lose some"))]
    pub partitions: i32,
    /// How many brokers hold each partition.
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,
    /// Settings of the topic, each a text, such as `retention.ms: "86400000"`. What is not here has the brokers' value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub config: BTreeMap<String, String>,
    /// The brokers that hold each partition, the preferred leader first. Without it the operator chooses, spread over
    /// brokers and racks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10_000), inner(length(max = 100), inner(range(min = 0))))]
    pub assignment: Option<Vec<Vec<i32>>>,
    /// What becomes of the topic when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Whether a topic of this name that is there already may be taken over, and changed to what this object says.
    #[serde(default)]
    pub adopt: bool,
    /// Only plan: the status says what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Ask before anything is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

impl TopicSpec {
    /// The topic's name in the cluster, of an object with this name.
    pub fn name_or<'a>(&'a self, object: &'a str) -> &'a str {
        self.topic_name.as_deref().unwrap_or(object)
    }
}

impl Topic {
    /// The topic's name in the cluster.
    pub fn topic_name(&self) -> String {
        self.spec.name_or(&self.name_any()).to_owned()
    }
}

fn one() -> i32 {
    1
}

/// What becomes of a topic whose object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted, with its records.
    #[default]
    Delete,
    /// It stays, and belongs to nobody.
    Retain,
    /// It stays, and so does the object, until this says something else.
    Protect,
}

/// What may be done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The digest of the plan that may be carried out: `status.plan.digest`. Of any other plan nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What is known of the topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// The generation of the spec that was looked at last.
    #[serde(default)]
    pub observed_generation: i64,
    /// Ready, Progressing, Degraded and Paused.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
    /// The topic's name in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// The topic's id in the cluster: 22 characters. Another topic of the same name is not touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Partitions that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Replicas of the partition that has fewest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// What is done next, or would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// What is to be done to come from what is to what should be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Names this plan and no other.
    pub digest: String,
    /// Each step, for people; the first hundred.
    pub steps: Vec<String>,
}
