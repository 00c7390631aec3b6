//! What all looks of one session share.
//!
//! Concurrency: short locks, never over a call.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;

use super::facts::Live;
use super::owned::Owned;
use super::pulse::Pulse;
use super::validate::Images;
use crate::admin::pool::Pool;
use crate::admin::schema::Schema;
use crate::controller::Sight;
use crate::crd::cluster::Cluster;
use crate::latest::Latest;
use crate::names::Names;
use crate::session::Session;

/// What looks share.
pub(super) struct Context {
    pub(super) session: Session,
    pub(super) pool: Arc<Pool>,
    pub(super) images: Images,
    pub(super) owned: Arc<Owned>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) latest: Mutex<Latest<Cluster>>,
    /// What brokers said of their settings, by cluster: for as long as they run that release.
    schemas: Mutex<BTreeMap<Names, (String, Schema)>>,
    /// What there was last, by cluster.
    past: Mutex<BTreeMap<Names, Past>>,
}

/// Objects of a cluster as they were last seen, each kind by name.
#[derive(Default)]
struct Past {
    sets: BTreeMap<String, Arc<StatefulSet>>,
    config_maps: BTreeMap<String, Arc<ConfigMap>>,
}

impl Context {
    pub(super) fn new(session: Session, pool: Arc<Pool>, images: Images) -> Self {
        Self {
            session,
            pool,
            images,
            owned: Arc::default(),
            pulse: Arc::default(),
            latest: Mutex::default(),
            schemas: Mutex::default(),
            past: Mutex::default(),
        }
    }

    /// Takes in what becomes known of an object.
    pub(super) fn witness(&self, sight: &Sight<'_, Cluster>) {
        match sight {
            Sight::There(cluster) => self.latest.lock().seen(cluster),
            Sight::Gone(key) => {
                self.latest.lock().unknown(key);
                let names = Names { cluster: key.1.clone(), namespace: key.0.clone() };
                self.schemas.lock().remove(&names);
                self.past.lock().remove(&names);
            }
        }
    }

    /// What brokers of this release said of their settings.
    pub(super) fn schema(&self, names: &Names, version: &str) -> Option<Schema> {
        let schemas = self.schemas.lock();
        let (of, schema) = schemas.get(names)?;
        (of == version).then(|| schema.clone())
    }

    /// What brokers said when they were last asked, whatever they run now.
    pub(super) fn last_schema(&self, names: &Names) -> Schema {
        self.schemas.lock().get(names).map(|(_, schema)| schema.clone()).unwrap_or_default()
    }

    /// Takes in what they said.
    pub(super) fn learned(&self, names: &Names, version: &str, schema: &Schema) {
        self.schemas.lock().insert(names.clone(), (version.to_owned(), schema.clone()));
    }

    /// What there is of a cluster, and its sets and files as they were last seen.
    pub(super) fn live(&self, names: &Names) -> Live {
        let mut live = self.owned.live(&(names.namespace.clone(), names.cluster.clone()));
        let mut past = self.past.lock();
        let Past { sets, config_maps } = past.entry(names.clone()).or_default();
        sets.extend(live.sets.iter().map(|(name, set)| (name.clone(), Arc::clone(set))));
        let maps = live.config_maps.iter();
        config_maps.extend(maps.map(|(name, map)| (name.clone(), Arc::clone(map))));
        live.past_sets.clone_from(sets);
        live.past_config_maps.clone_from(config_maps);
        live
    }

    /// Forgets what other brokers than these were made of: who comes back under the id of one is another.
    pub(super) fn forget_others(&self, names: &Names, brokers: impl Iterator<Item = i32>) {
        let mut kept: Vec<String> = brokers.map(|id| names.broker(id)).collect();
        kept.push(names.zookeeper());
        if let Some(Past { sets, config_maps }) = self.past.lock().get_mut(names) {
            sets.retain(|name, _| kept.contains(name));
            config_maps.retain(|name, _| kept.contains(name));
        }
    }
}
