//! What was read before anything is decided about a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_admin::v1::{DescribeClusterResponse, Health, Identity};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::upkeep::Upkeep;
use super::validate::Images;
use crate::admin::schema::Schema;
use crate::crd::cluster::ClusterSpec;
use crate::crd::cluster::status::ClusterStatus;
use crate::names::{Names, broker};

/// All that a decision looks at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The object.
    pub object: Object,
    /// Which images the operator chooses where the spec names none.
    pub images: Images,
    /// The namespace of the operator's pod; none where it runs outside of the cluster.
    pub home: Option<String>,
    /// What there is of the cluster in Kubernetes.
    pub live: Live,
    /// Brokers that answered, by id: each is the process in the pod that is there.
    pub heard: BTreeMap<i32, Heard>,
    /// What brokers say of the cluster, or why none does, in words.
    pub said: Result<DescribeClusterResponse, String>,
    /// What they say of settings, or said when they were last asked.
    pub schema: Schema,
    /// What was read and decided about members, volumes and places, where they are kept up.
    pub upkeep: Option<Upkeep>,
    /// Seconds since 1970.
    pub now: i64,
}

/// The `Cluster` object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// What things are called.
    pub names: Names,
    /// Its uid.
    pub uid: String,
    /// Of the spec.
    pub generation: i64,
    /// Whether it is to be deleted.
    pub is_deleted: bool,
    /// Whether it goes once all that it owns is gone: what is made for it then is deleted at once.
    pub is_emptied: bool,
    /// Whether it waits for the operator before it goes.
    pub has_finalizer: bool,
    /// What is wanted.
    pub spec: ClusterSpec,
    /// What was said last.
    pub status: ClusterStatus,
}

/// Objects of a cluster, each kind by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// Accounts.
    pub accounts: BTreeMap<String, Arc<ServiceAccount>>,
    /// Files.
    pub config_maps: BTreeMap<String, Arc<ConfigMap>>,
    /// Services.
    pub services: BTreeMap<String, Arc<Service>>,
    /// Policies.
    pub policies: BTreeMap<String, Arc<NetworkPolicy>>,
    /// Budgets.
    pub budgets: BTreeMap<String, Arc<PodDisruptionBudget>>,
    /// Sets.
    pub sets: BTreeMap<String, Arc<StatefulSet>>,
    /// Pods.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// Claims.
    pub claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
    /// Sets as they were last seen, also those that are gone: they are made anew as they were.
    pub past_sets: BTreeMap<String, Arc<StatefulSet>>,
    /// Files as they were last seen, also those that are gone.
    pub past_config_maps: BTreeMap<String, Arc<ConfigMap>>,
}

impl Live {
    /// A set, or as it was last.
    pub fn last_set(&self, name: &str) -> Option<&StatefulSet> {
        self.sets.get(name).or_else(|| self.past_sets.get(name)).map(|set| &**set)
    }

    /// Files, or as they were last.
    pub fn last_config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name).or_else(|| self.past_config_maps.get(name)).map(|map| &**map)
    }

    /// The brokers that have a StatefulSet, with it.
    pub fn broker_sets(&self) -> BTreeMap<i32, &Arc<StatefulSet>> {
        self.sets.values().filter_map(|set| Some((broker(&**set)?, set))).collect()
    }
}

/// What a broker says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Who it is.
    pub identity: Identity,
    /// How it is; none where it does not say.
    pub health: Option<Health>,
    /// Whether it was to say how it is, and did not.
    pub is_silent: bool,
}
