//! Runs one controller for one session: sees changes, has each object looked at, and looks again when it should.
//!
//! The look itself, a reconcile, is handed in and knows nothing of queues. Around it: one look at an object at a time,
//! as many at once as there are workers, a longer pause after each failure, metrics, an event for what went wrong, and
//! an end at once when leadership is over. An object that cannot be read is told of, and hurts no other.
//!
//! kube's `applier` is used rather than its `Controller`: it takes a queue that was sifted. Concurrency: all looks of a
//! controller are one task, which is dropped with the session.

use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use kube::core::DeserializeGuard;
use kube::runtime::controller;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, applier};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::apply::Pass;
use crate::error::{Error, chain};
use crate::key::{Key, key};
use crate::kind::Kind;
use crate::session::{Boxed, Plug, Session};

mod known;
mod look;

use known::Known;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Whether everything is as it should be: a write without a change from now on is one too many.
    pub is_converged: bool,
    /// When to look again if nothing changes; `None` is never.
    pub again: Option<Duration>,
}

/// Looks at one object: reads what there is, decides, writes through the pass, says what it found.
pub type Reconcile<K> = Arc<dyn Fn(Arc<K>, Arc<Pass>) -> Boxed<Result<Done, Error>> + Send + Sync>;

/// Says, besides the objects' own changes, which of them to look at: for what they own, or what lies outside.
pub type Triggers<K> =
    Arc<dyn Fn(Client, Option<String>) -> BoxStream<'static, ObjectRef<K>> + Send + Sync>;

/// What becomes known of objects.
#[derive(Debug)]
pub enum Sight<'a, K> {
    /// It is there, as it is now.
    There(&'a K),
    /// It is not there, or cannot be read.
    Gone(&'a Key),
}

/// Is shown every object before any of them is looked at, and every change before the look that follows from it.
pub type Witness<K> = Arc<dyn Fn(Sight<'_, K>) + Send + Sync>;

/// What a controller is made of.
pub struct Parts<K: Resource<DynamicType = ()> + 'static> {
    /// What is done about one object.
    pub reconcile: Reconcile<K>,
    /// When, besides its own changes.
    pub triggers: Option<Triggers<K>>,
    /// Who else is to know of all objects.
    pub witness: Option<Witness<K>>,
}

/// Makes a controller of the objects `K`, which are of `kind`.
pub fn plug<K>(kind: Kind, reconcile: Reconcile<K>, triggers: Option<Triggers<K>>) -> Plug
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    plug_parts(kind, Parts { reconcile, triggers, witness: None })
}

/// Makes a controller of its parts.
pub fn plug_parts<K>(kind: Kind, parts: Parts<K>) -> Plug
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let Parts { reconcile, triggers, witness } = parts;
    Box::new(move |session| {
        let namespace = session.namespace.clone();
        let triggers = triggers.as_ref().map_or_else(
            || stream::pending().boxed(),
            |triggers| triggers(session.ground.client.clone(), namespace),
        );
        let (reconcile, witness) = (Arc::clone(&reconcile), witness.clone());
        let shared = Shared { kind, reconcile, witness, known: Mutex::default(), session };
        Box::pin(run(Arc::new(shared), triggers))
    })
}

/// One controller in one session.
struct Shared<K: Resource<DynamicType = ()> + 'static> {
    kind: Kind,
    reconcile: Reconcile<K>,
    witness: Option<Witness<K>>,
    /// What is remembered of objects. Short locks, never over a request.
    known: Mutex<Known>,
    session: Session,
}

async fn run<K>(shared: Arc<Shared<K>>, triggers: BoxStream<'static, ObjectRef<K>>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let Session { ground, namespace, stop, .. } = shared.session.clone();
    ground.health.cache(shared.kind.name(), namespace.as_deref().unwrap_or_default(), false);
    let api: Api<DeserializeGuard<K>> = match &namespace {
        Some(namespace) => Api::namespaced(ground.client.clone(), namespace),
        None => Api::all(ground.client.clone()),
    };
    let (store, writer) = reflector::store();
    let watched = watcher(api, watcher::Config::default()).default_backoff();
    let changes =
        changes(Arc::clone(&shared), store.clone(), reflector::reflector(writer, watched));
    let sifted = Arc::clone(&shared);
    let triggers = triggers.map(move |object| {
        let key = (object.namespace.clone().unwrap_or_default(), object.name.clone());
        sifted.session.ground.progress.queued(sifted.kind, key);
        object.into_kind_unchecked::<DeserializeGuard<K>>(())
    });
    let queue = stream::select(changes, triggers).map(Ok::<_, Infallible>);
    let looks = applier(
        |object: Arc<DeserializeGuard<K>>, shared: Arc<Shared<K>>| {
            Box::pin(async move { Ok::<_, Infallible>(look::look(&shared, &object).await) })
        },
        |_, never: &Infallible, _| match *never {},
        Arc::clone(&shared),
        store,
        queue.take_until(stop.cancelled_owned()),
        controller::Config::default().concurrency(ground.workers),
    );
    let mut looks = pin!(looks);
    while let Some(look) = looks.next().await {
        match look {
            Ok(_) => {}
            // Gone meanwhile, or never there: nothing to look at.
            Err(controller::Error::ObjectNotFound(object)) => {
                let key = (object.namespace.unwrap_or_default(), object.name);
                ground.progress.gone(shared.kind, key);
            }
            Err(error) => warn!(%error, kind = shared.kind.name(), "the queue of a controller"),
        }
    }
}

/// The objects of which something changed that a look depends on.
fn changes<K>(
    shared: Arc<Shared<K>>,
    store: Store<DeserializeGuard<K>>,
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<K>>>>,
) -> impl Stream<Item = ObjectRef<DeserializeGuard<K>>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    events.filter_map(move |event| {
        let changed = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => shared.changed(&object),
            Ok(Event::Delete(object)) => {
                shared.gone(key(&object));
                None
            }
            Ok(Event::Init) => None,
            Ok(Event::InitDone) => {
                shared.listed(&store);
                None
            }
            Err(error) => {
                // It is tried again, less and less often.
                let error = chain(&error);
                warn!(error, kind = shared.kind.name(), "objects cannot be watched");
                None
            }
        };
        std::future::ready(changed)
    })
}

impl<K> Shared<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    fn changed(&self, object: &DeserializeGuard<K>) -> Option<ObjectRef<DeserializeGuard<K>>> {
        let key = key(object);
        self.show(object.0.as_ref().map_or(Sight::Gone(&key), Sight::There));
        if !self.known.lock().is_news(key.clone(), object.meta()) {
            return None;
        }
        self.session.ground.progress.queued(self.kind, key);
        Some(ObjectRef::from_obj(object))
    }

    fn show(&self, sight: Sight<'_, K>) {
        if let Some(witness) = &self.witness {
            witness(sight);
        }
    }

    fn gone(&self, key: Key) {
        self.show(Sight::Gone(&key));
        self.known.lock().forget(&key);
        self.session.ground.progress.gone(self.kind, key);
    }

    /// The cache is full: what is not in it is gone.
    fn listed(&self, store: &Store<DeserializeGuard<K>>) {
        let there: std::collections::HashSet<Key> =
            store.state().iter().map(|object| key(&**object)).collect();
        let gone = self.known.lock().retain(|key| there.contains(key));
        for gone in gone {
            self.show(Sight::Gone(&gone));
            self.session.ground.progress.gone(self.kind, gone);
        }
        let namespace = self.session.namespace.as_deref().unwrap_or_default();
        self.session.ground.health.cache(self.kind.name(), namespace, true);
        debug!(kind = self.kind.name(), objects = there.len(), "the cache is full");
    }
}

#[cfg(test)]
mod tests;
