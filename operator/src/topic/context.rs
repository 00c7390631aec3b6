//! What all looks of one session share: the objects that there are, the clusters, and what is known of each.
//!
//! Concurrency: short locks, never over a call, but for the two that are there to have one caller at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_admin::v1::Fence;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, Notify};
use tokio_util::sync::CancellationToken;

use super::contact::Contact;
use super::index::Index;
use super::placing::Placing;
use super::wake::Wake;
use crate::admin::client::fence;
use crate::admin::pool::Pool;
use crate::controller::Sight;
use crate::crd::cluster::Cluster;
use crate::crd::topic::Topic;
use crate::key::{Key, key};
use crate::latest::Latest;
use crate::session::Session;

/// What looks share.
pub(super) struct Context {
    pub(super) session: Session,
    pub(super) pool: Arc<Pool>,
    /// Every `Cluster`, as the API server told it last.
    pub(super) clusters: Store<DeserializeGuard<Cluster>>,
    pub(super) index: Mutex<Index>,
    pub(super) latest: Mutex<Latest<Topic>>,
    pub(super) wake: Wake,
    views: Mutex<BTreeMap<Key, Arc<View>>>,
}

/// What is known of one cluster.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) contact: Mutex<Contact>,
    pub(super) placing: Mutex<Placing>,
    /// Held by who asks brokers what they hold.
    pub(super) asking: Turn<()>,
    /// Held by who changes the tombstones.
    pub(super) burying: Turn<()>,
    /// The brokers may answer by now.
    pub(super) is_news: Notify,
    /// The `Cluster` is gone.
    pub(super) gone: CancellationToken,
}

impl Context {
    pub(super) fn new(
        session: Session,
        pool: Arc<Pool>,
        clusters: Store<DeserializeGuard<Cluster>>,
    ) -> Self {
        Self {
            session,
            pool,
            clusters,
            index: Mutex::default(),
            latest: Mutex::default(),
            wake: Wake::default(),
            views: Mutex::default(),
        }
    }

    /// Takes in what becomes known of an object.
    pub(super) fn witness(&self, sight: &Sight<'_, Topic>) {
        let others = match sight {
            Sight::There(topic) => {
                self.latest.lock().seen(topic);
                self.index.lock().there(topic)
            }
            Sight::Gone(key) => {
                self.latest.lock().unknown(key);
                self.index.lock().gone(key)
            }
        };
        self.wake.wake(others);
    }

    /// Returns what is there under a cluster's name; `Err` where it cannot be read.
    pub(super) fn cluster(&self, (namespace, name): &Key) -> Option<Result<Cluster, String>> {
        let object: ObjectRef<DeserializeGuard<Cluster>> = ObjectRef::new(name).within(namespace);
        let found = self.clusters.get(&object)?;
        Some(match &found.0 {
            Ok(cluster) => Ok(cluster.clone()),
            Err(invalid) => Err(invalid.error.clone()),
        })
    }

    /// Returns what is known of a cluster.
    pub(super) fn view(&self, cluster: &Key) -> Arc<View> {
        Arc::clone(self.views.lock().entry(cluster.clone()).or_default())
    }

    /// Forgets a cluster.
    pub(super) fn forget(&self, cluster: &Key) {
        if let Some(view) = self.views.lock().remove(cluster) {
            view.gone.cancel();
        }
    }

    /// Returns the clusters that something is known of.
    pub(super) fn known(&self) -> Vec<Key> {
        self.views.lock().keys().cloned().collect()
    }

    /// Has all topics of a cluster looked at.
    pub(super) fn wake_all(&self, cluster: &Key) {
        let keys = self.index.lock().of_cluster(cluster);
        self.wake.wake(keys);
    }

    /// What goes with every call that changes something.
    pub(super) fn fence(&self) -> Fence {
        fence(&self.session.fence)
    }
}

/// The key of the cluster of a topic.
pub(super) fn cluster_of(topic: &Topic) -> Key {
    (key(topic).0, topic.spec.cluster.clone())
}
