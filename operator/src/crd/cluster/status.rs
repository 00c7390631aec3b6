//! What is said of a cluster.

use std::ops::Not;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::condition::Condition;

/// What is known of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The generation of the spec that was looked at last.
    #[serde(default)]
    pub observed_generation: i64,
    /// Ready, Progressing, Degraded and Paused.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
    /// Brokers that serve.
    #[serde(default)]
    pub brokers: i32,
    /// The labels of the brokers' pods, for whoever scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The release that all brokers run; none while they run several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The image that brokers are to run: chosen when the spec's version or image changed last, by no upgrade of the
    /// operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// What the brokers speak among themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
    /// The cluster's id: 22 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Where clients begin: the first listener, or the first that is found from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<String>,
    /// Each broker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".to_string()]))]
    pub members: Vec<Member>,
    /// Restarts that are under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll: Option<Roll>,
    /// Replicas that are moved, or would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Brokers that are being emptied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drains: Vec<Drain>,
    /// Volumes that are not what they should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["claim".to_string()]))]
    pub volumes: Vec<VolumeState>,
    /// Topics whose objects were deleted while nobody answered: they are deleted once somebody does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topicId".to_string()]))]
    pub tombstones: Vec<Tombstone>,
}

/// An image, and what it was chosen for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// What pods run.
    pub name: String,
    /// The spec's `version` then; empty if it said `image`.
    #[serde(default)]
    pub of_version: String,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its id.
    pub id: i32,
    /// Serving, Leaving (it serves while it is emptied, see `drains`), Starting, Recovering, Stopping, Pending, Failing or
    /// Away.
    pub phase: String,
    /// Why it does not serve, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The release that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
}

/// Restarts, one broker after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Roll {
    /// Names it at the brokers: what they are to become.
    pub id: String,
    /// Brokers that are what they are to become, of all, as `2/3`.
    pub progress: String,
    /// The broker that is being restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<i32>,
    /// What it is in the middle of, or waits for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Partitions that stand in the way, the first ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<String>,
    /// Since when only partitions with too few replicas have, in seconds since 1970; 0 if others do, or nothing does.
    #[serde(default)]
    pub blocked_since: i64,
}

/// How replicas are spread anew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Names this plan and no other.
    pub digest: String,
    /// Each step, for people; the first fifty.
    pub steps: Vec<String>,
    /// Whether any of it was begun: what is left is not what the digest names, and goes on to its end.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub begun: bool,
}

/// A broker that is being emptied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Its id.
    pub broker: i32,
    /// Replicas that it has still.
    pub replicas_left: i64,
    /// Bytes that are still to be copied.
    pub bytes_left: i64,
    /// Why it cannot be emptied, for people; empty if it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A volume that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeState {
    /// Its claim.
    pub claim: String,
    /// How large it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// How large it is to be.
    pub wanted: String,
    /// What is done about it, or why nothing is, for people.
    pub message: String,
}

/// A topic that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// Its name.
    pub topic_name: String,
    /// Its id: another topic of the same name stays.
    pub topic_id: String,
}
