//! Follows clusters: their objects, and what their brokers tell of topics; has those objects looked at that it concerns.
//!
//! One stream of changes for each cluster, from whichever broker answers. Whoever answers again is told of what was to be
//! deleted meanwhile, first. All of it is one future, which ends with the session.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use tracing::{debug, warn};

use super::bury::serve;
use super::context::{Context, View};
use crate::admin::client::BrokerError;
use crate::clock::sleep_until;
use crate::crd::cluster::Cluster;
use crate::error::chain;
use crate::key::{Key, key};
use crate::session::Boxed;

/// How long nobody is asked after nobody has answered: twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(15);
/// How often topics are looked at where brokers tell of no changes.
const UNTOLD: Duration = Duration::from_mins(1);

/// What topics follow from a cluster's object; other changes of it are none of theirs.
#[derive(Debug, PartialEq, Eq)]
struct Print {
    uid: Option<String>,
    generation: Option<i64>,
    is_going: bool,
    readiness: String,
    brokers: i32,
    tombstones: usize,
}

/// Follows every cluster, for as long as it is polled.
pub(super) async fn follow(context: Arc<Context>, writer: Writer<DeserializeGuard<Cluster>>) {
    let client = context.session.ground.client.clone();
    let api: Api<DeserializeGuard<Cluster>> = match &context.session.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let watched = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = pin!(reflector::reflector(writer, watched));
    let mut prints: BTreeMap<Key, Print> = BTreeMap::new();
    let mut followed: FuturesUnordered<Boxed<()>> = FuturesUnordered::new();
    loop {
        let event = tokio::select! {
            Some(event) = events.next() => event,
            Some(()) = followed.next(), if !followed.is_empty() => continue,
            else => return,
        };
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let Ok(cluster) = &object.0 else { continue };
                let (key, print) = (key(cluster), print(cluster));
                if prints.get(&key) == Some(&print) {
                    continue;
                }
                let view = context.view(&key);
                if prints.insert(key.clone(), print).is_none() {
                    followed.push(Box::pin(cluster_of(Arc::clone(&context), view, key.clone())));
                } else {
                    view.is_news.notify_one();
                }
                context.wake_all(&key);
            }
            Ok(Event::Delete(object)) => {
                end(&context, &mut prints, &key(&object));
            }
            Ok(Event::Init) => {}
            Ok(Event::InitDone) => {
                for gone in context.known().iter().filter(|key| context.cluster(key).is_none()) {
                    end(&context, &mut prints, gone);
                }
            }
            Err(error) => warn!(error = chain(&error), "clusters cannot be watched"),
        }
    }
}

fn print(cluster: &Cluster) -> Print {
    let status = cluster.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|one| one.r#type == "Ready");
    Print {
        uid: cluster.metadata.uid.clone(),
        generation: cluster.metadata.generation,
        is_going: cluster.is_going(),
        readiness: ready.map(|one| one.status.clone()).unwrap_or_default(),
        brokers: status.brokers,
        tombstones: status.tombstones.len(),
    }
}

fn end(context: &Context, prints: &mut BTreeMap<Key, Print>, key: &Key) {
    prints.remove(key);
    context.forget(key);
    context.wake_all(key);
}

/// Follows one cluster until its object is gone.
async fn cluster_of(context: Arc<Context>, view: Arc<View>, key: Key) {
    let mut pause = FIRST;
    let following = async {
        loop {
            match told(&context, &view, &key).await {
                Ok(rest) => pause = rest,
                Err(error) => {
                    debug!(cluster = key.1, error = chain(&error), "no broker tells of topics");
                    if view.contact.lock().failed(context.session.ground.clock.now()) {
                        context.wake_all(&key);
                    }
                    pause = (pause * 2).min(LAST);
                }
            }
            tokio::select! {
                () = sleep_until(context.session.ground.clock.now() + pause) => {}
                () = view.is_news.notified() => {}
            }
        }
    };
    tokio::select! {
        () = following => {}
        () = view.gone.cancelled() => {}
    }
}

/// Takes in what brokers tell, until they end; returns how long to wait until they are asked again.
async fn told(context: &Context, view: &View, key: &Key) -> Result<Duration, BrokerError> {
    let Some(Ok(cluster)) = context.cluster(key) else { return Ok(LAST) };
    let brokers = context.pool.brokers(&cluster);
    let watch = brokers.any(|mut broker| async move { broker.watch_topics().await }).await?;
    let clock = context.session.ground.clock;
    view.contact.lock().heard(clock.now());
    let mut again = bury_what_waits(context, view, key).await;
    let Some(mut watch) = watch else {
        context.wake_all(key);
        return Ok(UNTOLD);
    };
    loop {
        let told = tokio::select! {
            told = watch.next() => told,
            () = view.is_news.notified() => {
                again = bury_what_waits(context, view, key).await;
                continue;
            }
            () = sleep_until(again.unwrap_or_else(|| clock.now())), if again.is_some() => {
                again = bury_what_waits(context, view, key).await;
                continue;
            }
        };
        view.contact.lock().heard(clock.now());
        match told {
            Ok(Some(changes)) if changes.all => context.wake_all(key),
            Ok(Some(changes)) => {
                let index = context.index.lock();
                let keys: Vec<Key> =
                    changes.names.iter().flat_map(|name| index.of_topic(key, name)).collect();
                drop(index);
                context.wake.wake(keys);
            }
            // Another one tells from here on.
            Ok(None) | Err(_) => return Ok(FIRST),
        }
    }
}

/// Serves tombstones; where that does not work, returns when it is tried again: nothing else may change.
async fn bury_what_waits(context: &Context, view: &View, key: &Key) -> Option<Instant> {
    let Some(Ok(cluster)) = context.cluster(key) else { return None };
    let brokers = context.pool.brokers(&cluster);
    let error = serve(context, view, &cluster, &brokers).await.err()?;
    warn!(cluster = key.1, error = chain(&error), "topics that wait for deletion are left");
    Some(context.session.ground.clock.now() + LAST)
}
