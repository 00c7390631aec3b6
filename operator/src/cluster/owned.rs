//! What there is of clusters in Kubernetes: one watch of each kind, by label, whose caches all looks share; and which
//! cluster is to be looked at when something of it changes.
//!
//! What was written here counts at once, whether its cache has heard of it or not.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, future};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::facts::Live;
use crate::crd::cluster::Cluster;
use crate::error::chain;
use crate::key::Key;
use crate::latest::Latest;
use crate::names::CLUSTER_LABEL;

/// How long a look waits for what there is to be known: a watch that is denied, say, never tells.
const PATIENCE: Duration = Duration::from_secs(5);

/// The objects of one kind.
pub(super) struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    latest: Mutex<Latest<K>>,
    /// Taken by who watches.
    writer: Mutex<Option<Writer<K>>>,
}

impl<K> Default for Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    fn default() -> Self {
        let (store, writer) = reflector::store();
        Self { store, latest: Mutex::default(), writer: Mutex::new(Some(writer)) }
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Returns once all is known that there is, or the kind, after a while.
    async fn ready(&self) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, self.store.wait_until_ready()).await {
            // Where nobody fills it any more, the session ends.
            Ok(_) => Ok(()),
            Err(_) => Err(K::kind(&()).into_owned()),
        }
    }

    /// Takes in that an object, or nothing, was made another.
    pub(super) fn wrote(&self, before: Option<&K>, after: K) {
        self.latest.lock().wrote(before, &Arc::new(after));
    }

    /// Takes in that an object was asked to go at `now`.
    pub(super) fn removed(&self, object: &K, now: Timestamp) {
        let mut going = object.clone();
        going.meta_mut().deletion_timestamp.get_or_insert(Time(now));
        self.wrote(Some(object), going);
    }

    /// The objects of a cluster, by name.
    fn of(&self, (namespace, cluster): &Key) -> BTreeMap<String, Arc<K>> {
        let is_of = |object: &Arc<K>| {
            object.namespace().as_ref() == Some(namespace)
                && object.labels().get(CLUSTER_LABEL) == Some(cluster)
        };
        let latest = self.latest.lock();
        let made = latest.all().filter(|object| is_of(object)).cloned();
        let mut all: BTreeMap<String, Arc<K>> =
            made.map(|object| (object.name_any(), object)).collect();
        let cached = self.store.state().into_iter().filter(is_of);
        all.extend(cached.map(|object| (object.name_any(), latest.of(object))));
        all
    }

    /// Watches, for as long as it is polled, and names each cluster of which something has changed.
    fn follow(
        owned: &Arc<Owned>,
        of: fn(&Owned) -> &Self,
        client: Client,
        namespace: Option<&str>,
    ) -> BoxStream<'static, ObjectRef<Cluster>> {
        let Some(writer) = of(owned).writer.lock().take() else { return stream::pending().boxed() };
        let api: Api<K> = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let watched = watcher(api, watcher::Config::default().labels(CLUSTER_LABEL));
        let events = reflector::reflector(writer, watched.default_backoff());
        let owned = Arc::clone(owned);
        let changed = events.filter_map(move |event| future::ready(of(&owned).take_in(event)));
        changed.boxed()
    }

    fn take_in(&self, event: watcher::Result<Event<K>>) -> Option<ObjectRef<Cluster>> {
        match event {
            Ok(Event::Apply(object)) => {
                self.latest.lock().seen(&object);
                cluster_of(&object)
            }
            Ok(Event::Delete(object)) => {
                self.latest.lock().gone(&object);
                cluster_of(&object)
            }
            Ok(Event::Init) => {
                self.latest.lock().forget();
                None
            }
            Ok(Event::InitApply(_) | Event::InitDone) => None,
            Err(error) => {
                // It is tried again, less and less often.
                let (kind, error) = (K::kind(&()), chain(&error));
                warn!(error, %kind, "what belongs to clusters cannot be watched");
                None
            }
        }
    }
}

fn cluster_of(object: &impl Resource) -> Option<ObjectRef<Cluster>> {
    let cluster = object.labels().get(CLUSTER_LABEL)?;
    Some(ObjectRef::new(cluster).within(&object.namespace()?))
}

/// The objects of all clusters.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) accounts: Cache<ServiceAccount>,
    pub(super) config_maps: Cache<ConfigMap>,
    pub(super) services: Cache<Service>,
    pub(super) policies: Cache<NetworkPolicy>,
    pub(super) budgets: Cache<PodDisruptionBudget>,
    pub(super) sets: Cache<StatefulSet>,
    pub(super) pods: Cache<Pod>,
    pub(super) claims: Cache<PersistentVolumeClaim>,
}

impl Owned {
    /// Returns once all is known that there is, or the kind of what is not, after a while.
    pub(super) async fn ready(&self) -> Result<(), String> {
        self.accounts.ready().await?;
        self.config_maps.ready().await?;
        self.services.ready().await?;
        self.policies.ready().await?;
        self.budgets.ready().await?;
        self.sets.ready().await?;
        self.pods.ready().await?;
        self.claims.ready().await
    }

    /// Returns what there is of a cluster.
    pub(super) fn live(&self, cluster: &Key) -> Live {
        Live {
            accounts: self.accounts.of(cluster),
            config_maps: self.config_maps.of(cluster),
            services: self.services.of(cluster),
            policies: self.policies.of(cluster),
            budgets: self.budgets.of(cluster),
            sets: self.sets.of(cluster),
            pods: self.pods.of(cluster),
            claims: self.claims.of(cluster),
            past_sets: BTreeMap::new(),
            past_config_maps: BTreeMap::new(),
        }
    }

    /// Watches all kinds, for as long as it is polled, and names each cluster of which something has changed.
    pub(super) fn follow(
        self: &Arc<Self>,
        client: &Client,
        namespace: Option<&str>,
    ) -> BoxStream<'static, ObjectRef<Cluster>> {
        let all = [
            Cache::follow(self, |owned| &owned.accounts, client.clone(), namespace),
            Cache::follow(self, |owned| &owned.config_maps, client.clone(), namespace),
            Cache::follow(self, |owned| &owned.services, client.clone(), namespace),
            Cache::follow(self, |owned| &owned.policies, client.clone(), namespace),
            Cache::follow(self, |owned| &owned.budgets, client.clone(), namespace),
            Cache::follow(self, |owned| &owned.sets, client.clone(), namespace),
            Cache::follow(self, |owned| &owned.pods, client.clone(), namespace),
            Cache::follow(self, |owned| &owned.claims, client.clone(), namespace),
        ];
        stream::select_all(all).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ConfigMap {
        let mut file = ConfigMap::default();
        file.metadata.name = Some("orders-3".to_owned());
        file.metadata.namespace = Some("shop".to_owned());
        file.metadata.uid = Some("of the first".to_owned());
        file.metadata.resource_version = Some("5".to_owned());
        file.metadata.labels = Some([(CLUSTER_LABEL.to_owned(), "orders".to_owned())].into());
        file
    }

    /// The API server tells who watches before it answers who asked.
    #[test]
    fn what_is_gone_before_the_answer_is_gone() {
        let cluster = ("shop".to_owned(), "orders".to_owned());
        let cache: Cache<ConfigMap> = Cache::default();
        cache.take_in(Ok(Event::Delete(file())));
        cache.removed(&file(), Timestamp::UNIX_EPOCH);
        assert_eq!(cache.of(&cluster), BTreeMap::new(), "asked to go");
        cache.wrote(None, file());
        assert_eq!(cache.of(&cluster), BTreeMap::new(), "made, and deleted by somebody");
        let mut next = file();
        next.metadata.uid = Some("of the second".to_owned());
        cache.wrote(None, next);
        assert_eq!(cache.of(&cluster).len(), 1, "another of its name");
    }
}
