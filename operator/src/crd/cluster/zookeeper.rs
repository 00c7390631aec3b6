//! The ZooKeeper of a cluster.

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::pod::{PodMetadata, Scheduling};
use super::{Volume, data, ten_gibibytes};

/// What the brokers agree by: an ensemble that is made for them, or one that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.managed) != has(self.connect)")
    .message("zookeeper is either managed, or a connect string"))]
#[x_kube(validation = Rule::new("has(self.managed) == has(oldSelf.managed)")
    .message("a managed ensemble cannot take the place of another one, or the reverse"))]
#[serde(rename_all = "camelCase")]
pub struct ZooKeeper {
    /// An ensemble of this cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedZooKeeper>,
    /// Servers and a path: `a:2181,b:2181,c:2181/ottla`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2000), regex(pattern = r"^[^\s/,]+(,[^\s/,]+)*(/[^\s]*)?$"))]
    pub connect: Option<String>,
}

/// An ensemble of ZooKeeper servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.replicas == oldSelf.replicas")
    .message("replicas of a managed ensemble cannot be changed"))]
#[x_kube(validation = Rule::new("self.volume.name == oldSelf.volume.name")
    .message("the volume of a managed ensemble cannot be renamed"))]
#[x_kube(validation = Rule::new("self.replicas % 2 == 1")
    .message("an ensemble has 1, 3, 5 or 7 servers: an even number fails as soon as the one below it"))]
#[serde(rename_all = "camelCase")]
pub struct ManagedZooKeeper {
    /// How many servers there are.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 7))]
    pub replicas: i32,
    /// The image; without it, the operator's choice of ZooKeeper 3.9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// The disk of each server. It can grow later, as those of brokers can.
    #[serde(default = "disk")]
    pub volume: Volume,
    /// What each server may use of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Which nodes servers run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Labels and annotations of the servers' pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<PodMetadata>,
}

fn three() -> i32 {
    3
}

fn disk() -> Volume {
    Volume { name: data(), size: ten_gibibytes(), class: None }
}
