//! What there is of a cluster's brokers in Kubernetes, and of the volumes of its ensemble: sets, pods, claims and Services,
//! and, where the spec asks for it, the nodes and the classes of volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, Client, Resource, ResourceExt as _};

use super::facts::Live;
use super::members::Own;
use super::volumes::{Claim, Disks, Servers, is_less, sizes};
use super::{place, settings::Outside};
use crate::crd::cluster::listener::Listener;
use crate::crd::cluster::zookeeper::ManagedZooKeeper;
use crate::crd::cluster::{ClusterSpec, Volume};
use crate::error::Error;
use crate::names::{Names, broker};

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// The StatefulSet of each broker.
    pub sets: BTreeMap<i32, StatefulSet>,
    /// The pod of each broker.
    pub pods: BTreeMap<i32, Pod>,
    /// Claims of brokers, by name.
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    /// The StatefulSet of the managed ensemble.
    pub ensemble: Option<StatefulSet>,
    /// Claims of its servers, by name.
    pub ensemble_claims: BTreeMap<String, PersistentVolumeClaim>,
    /// Services of the brokers, by name.
    pub services: BTreeMap<String, Service>,
    /// Nodes of pods, by name; none where the spec asks nothing of them.
    pub nodes: BTreeMap<String, Node>,
    /// Whether a class lets volumes grow, where one is to.
    pub classes: BTreeMap<String, bool>,
}

impl Objects {
    /// Takes what caches have of brokers, and reads the rest.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn of(
        client: &Client,
        live: &Live,
        names: &Names,
        spec: &ClusterSpec,
    ) -> Result<Self, Error> {
        let mut objects = Self {
            ensemble: live.sets.get(&names.zookeeper()).map(|set| set.as_ref().clone()),
            ensemble_claims: ensemble_claims(live, names, spec),
            sets: of_brokers(copies(&live.sets)),
            pods: of_brokers(copies(&live.pods)),
            claims: live
                .claims
                .iter()
                .filter(|(_, claim)| broker(&***claim).is_some())
                .map(|(name, claim)| (name.clone(), claim.as_ref().clone()))
                .collect(),
            services: copies(&live.services).into_iter().map(|one| (one.name_any(), one)).collect(),
            ..Self::default()
        };
        if place::is_told(spec) {
            objects.nodes = nodes(client, &objects.pods).await?;
        }
        objects.classes = classes(client, objects.small(names, spec)).await?;
        Ok(objects)
    }

    /// What there is of each broker.
    pub fn own(&self) -> BTreeMap<i32, Own> {
        let mut all: BTreeMap<i32, Own> = BTreeMap::new();
        for id in self.sets.keys().chain(self.pods.keys()) {
            all.entry(*id).or_default().is_there = true;
        }
        for (id, pod) in &self.pods {
            all.entry(*id).or_default().serves = serves(pod);
        }
        for claim in self.claims.values() {
            if let Some(id) = broker(claim) {
                all.entry(id).or_default().has_claims = true;
            }
        }
        all
    }

    /// The volumes of these brokers. `alone`: of what each has alone, where somebody says that.
    pub fn disks(
        &self,
        names: &Names,
        volumes: &[Volume],
        brokers: &[i32],
        alone: Option<&BTreeMap<i32, Vec<String>>>,
    ) -> Vec<Disks> {
        let disks = |broker: &i32| Disks {
            broker: *broker,
            claims: volumes
                .iter()
                .filter_map(|volume| {
                    let claim = self.claims.get(&names.claim(&volume.name, *broker))?;
                    Some((volume.name.clone(), Claim::of(claim)))
                })
                .collect(),
            set: self.sets.get(broker).and_then(sizes),
            alone: alone.map(|alone| alone.get(broker).cloned().unwrap_or_default()),
        };
        brokers.iter().map(disks).collect()
    }

    /// The volumes of the managed ensemble.
    pub fn servers(&self) -> Servers {
        let claims = self.ensemble_claims.iter();
        Servers {
            claims: claims.map(|(name, claim)| (name.clone(), Claim::of(claim))).collect(),
            set: self.ensemble.as_ref().and_then(sizes),
        }
    }

    /// Claims that ask for less than they should.
    fn small(&self, names: &Names, spec: &ClusterSpec) -> Vec<&PersistentVolumeClaim> {
        let is_small = |claim: &PersistentVolumeClaim, volume: &Volume| {
            is_less(&Claim::of(claim).asks.unwrap_or_default(), &volume.size)
        };
        let is_small_one = |claim: &&PersistentVolumeClaim| {
            let (id, name) = (broker(*claim), claim.name_any());
            let is_of =
                |volume: &Volume| id.is_some_and(|id| names.claim(&volume.name, id) == name);
            let mut volumes = spec.storage.volumes.iter();
            volumes.any(|volume| is_of(volume) && is_small(claim, volume))
        };
        let of_brokers = self.claims.values().filter(is_small_one);
        let of_servers = self
            .ensemble_claims
            .values()
            .filter(|claim| managed(spec).is_some_and(|managed| is_small(claim, &managed.volume)));
        of_brokers.chain(of_servers).collect()
    }

    /// Where brokers are found at the listeners that are found from outside.
    pub fn outside(
        &self,
        names: &Names,
        listeners: &[Listener],
        brokers: &[i32],
    ) -> BTreeMap<i32, BTreeMap<String, Outside>> {
        let of = |broker: &i32| {
            let found = listeners.iter().filter_map(|listener| {
                let service = self.services.get(&names.outside_of(&listener.name, *broker))?;
                Some((listener.name.clone(), place::outside(listener, service)?))
            });
            (*broker, found.collect())
        };
        brokers.iter().map(of).collect()
    }

    /// The node of a broker's pod.
    pub fn node(&self, broker: i32) -> Option<&Node> {
        let name = self.pods.get(&broker)?.spec.as_ref()?.node_name.as_ref()?;
        self.nodes.get(name)
    }

    /// The racks of brokers, as the labels of their nodes say.
    pub fn racks(&self, spec: &ClusterSpec) -> BTreeMap<i32, String> {
        let Some(rack) = &spec.rack else { return BTreeMap::new() };
        let of = |id: &i32| Some((*id, place::rack(self.node(*id)?, &rack.node_label)?));
        self.pods.keys().filter_map(of).collect()
    }

    /// Where clients begin.
    pub fn bootstrap(&self, names: &Names, listeners: &[Listener]) -> Option<String> {
        let service = |listener: &Listener| {
            let service = self.services.get(&names.outside(&listener.name))?;
            Some((listener.name.clone(), service.clone()))
        };
        let services = listeners.iter().filter_map(service).collect();
        let host = self.pods.keys().find_map(|id| place::host(self.node(*id)?));
        place::bootstrap(names, listeners, &services, host.as_deref())
    }
}

/// Whether a pod is ready, and is not being deleted.
pub fn serves(pod: &Pod) -> bool {
    is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether Kubernetes says that a pod is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn copies<K: Clone>(objects: &BTreeMap<String, Arc<K>>) -> Vec<K> {
    objects.values().map(|object| object.as_ref().clone()).collect()
}

fn of_brokers<K: Resource>(all: Vec<K>) -> BTreeMap<i32, K> {
    all.into_iter().filter_map(|one| Some((broker(&one)?, one))).collect()
}

async fn nodes(
    client: &Client,
    pods: &BTreeMap<i32, Pod>,
) -> Result<BTreeMap<String, Node>, Error> {
    let on = pods.values().filter_map(|pod| pod.spec.as_ref()?.node_name.clone());
    let api: Api<Node> = Api::all(client.clone());
    let mut nodes = BTreeMap::new();
    for name in on.collect::<BTreeSet<_>>() {
        let node = api.get_opt(&name).await;
        let node = node.map_err(|error| Error::of_api("read", format!("Node {name}"), error))?;
        nodes.extend(node.map(|node| (name, node)));
    }
    Ok(nodes)
}

/// The claims that servers of the managed ensemble have.
fn ensemble_claims(
    live: &Live,
    names: &Names,
    spec: &ClusterSpec,
) -> BTreeMap<String, PersistentVolumeClaim> {
    let Some(managed) = managed(spec) else { return BTreeMap::new() };
    let names = (0..managed.replicas).map(|one| names.server_claim(&managed.volume.name, one));
    let claim = |name: String| Some((name.clone(), live.claims.get(&name)?.as_ref().clone()));
    names.filter_map(claim).collect()
}

/// The ensemble that is managed, if one is.
pub fn managed(spec: &ClusterSpec) -> Option<&ManagedZooKeeper> {
    spec.zookeeper.as_ref()?.managed.as_ref()
}

/// Reads the classes of these claims.
async fn classes(
    client: &Client,
    claims: Vec<&PersistentVolumeClaim>,
) -> Result<BTreeMap<String, bool>, Error> {
    let wanted: BTreeSet<String> =
        claims.into_iter().filter_map(|claim| Claim::of(claim).class).collect();
    // Without a class a volume is somebody's own: whether it grows is theirs to know.
    let wanted = wanted.into_iter().filter(|name| !name.is_empty());
    let api: Api<StorageClass> = Api::all(client.clone());
    let mut classes = BTreeMap::new();
    for name in wanted {
        let what = || format!("StorageClass {name}");
        let class = match api.get_opt(&name).await {
            // Whoever may not know hears from the claim whether it grows.
            Err(kube::Error::Api(status)) if status.code == 403 => None,
            class => class.map_err(|error| Error::of_api("read", what(), error))?,
        };
        if let Some(class) = class {
            classes.insert(name, class.allow_volume_expansion == Some(true));
        }
    }
    Ok(classes)
}
