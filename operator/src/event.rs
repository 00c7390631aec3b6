//! Events of objects (`events.k8s.io/v1`), for people: what happened, with a fixed reason each.
//!
//! The same thing twice is one event that is counted, told again at most every few minutes. (kube's own recorder takes
//! two notes of one reason for the same, and writes each time.) An event that cannot be written is only logged: nothing
//! depends on it. In a namespace that is being deleted none is tried: each would be a request that is denied.
//!
//! Concurrency: shared; the lock is not held while a request is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use tracing::debug;

use crate::clock::Clock;
use crate::error::{chain, is_of_a_namespace_that_goes};
use crate::reason::Reason;

mod series;

use series::{Series, Tell};

/// Who reports, in every event.
const CONTROLLER: &str = "ottla.dev/operator";

/// What the operator was doing, in every event.
const ACTION: &str = "Reconcile";

/// The most bytes of a note that the API server takes are 1,024.
const NOTE: usize = 1_000;

/// The most bytes of an object's name within an event's, which has 253 at most.
const NAME: usize = 220;

/// How long an event may take to be written.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long nothing is told in a namespace that is being deleted: there may be another of that name after it.
const SILENCE: Duration = Duration::from_mins(1);

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tale {
    /// Why.
    pub reason: Reason,
    /// What happened. The same for the same cause.
    pub note: String,
}

/// Writes events. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    identity: String,
    clock: Clock,
    series: Arc<Mutex<Series<(String, Tale)>>>,
    /// Namespaces that are being deleted, and when the API server last said so.
    going: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Recorder {
    /// A recorder of the operator called `identity`.
    pub fn new(client: Client, identity: &str, clock: Clock) -> Self {
        let identity = cut(identity, 128).to_owned();
        Self { client, identity, clock, series: Arc::default(), going: Arc::default() }
    }

    /// Tells of `about`; returns whether anything was written.
    pub async fn tell(&self, about: &ObjectReference, tale: Tale) -> bool {
        let Some(weight) = tale.reason.event() else { return false };
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let namespace = about.namespace.as_deref().unwrap_or("default");
        if self.goes(namespace, now) {
            return false;
        }
        let key = (about.uid.clone().unwrap_or_default(), tale.clone());
        let decided = self.series.lock().seen(key.clone(), now);
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let written = async {
            match decided {
                Tell::Nothing => return Ok(false),
                Tell::New(number) => {
                    let name = name(about, wall, number);
                    let event = Event {
                        type_: Some(weight.text().to_owned()),
                        ..self.event(about, &tale, wall, name.clone())
                    };
                    api.create(&PostParams::default(), &event).await?;
                    self.series.lock().called(&key, name);
                }
                Tell::Counted { name, count } => {
                    let last_observed_time = MicroTime(wall);
                    let series = EventSeries { count, last_observed_time };
                    let patch = serde_json::json!({ "series": series });
                    api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
                }
            }
            Ok::<bool, kube::Error>(true)
        };
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(Ok(written)) => written,
            failed => {
                if matches!(&failed, Ok(Err(error)) if is_of_a_namespace_that_goes(error)) {
                    self.going.lock().insert(namespace.to_owned(), now);
                }
                let error = failed.map_or_else(
                    |_| "no answer in time".to_owned(),
                    |answer| answer.err().map(|error| chain(&error)).unwrap_or_default(),
                );
                // It may have been removed, or never have been made: the next one is new.
                self.series.lock().forget(&key);
                debug!(reason = tale.reason.text(), error, "an event could not be written");
                false
            }
        }
    }

    fn goes(&self, namespace: &str, now: Instant) -> bool {
        let mut going = self.going.lock();
        going.retain(|_, said| now.saturating_duration_since(*said) < SILENCE);
        going.contains_key(namespace)
    }

    fn event(&self, about: &ObjectReference, tale: &Tale, wall: Timestamp, name: String) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(about.namespace.clone().unwrap_or_else(|| "default".to_owned())),
                ..ObjectMeta::default()
            },
            action: Some(ACTION.to_owned()),
            reason: Some(tale.reason.text().to_owned()),
            note: Some(cut(&tale.note, NOTE).to_owned()),
            event_time: Some(MicroTime(wall)),
            regarding: Some(about.clone()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.identity.clone()),
            ..Event::default()
        }
    }
}

/// A name that no other event has: that of the object, when, and which of this process.
fn name(about: &ObjectReference, wall: Timestamp, number: u64) -> String {
    let object = cut(about.name.as_deref().unwrap_or("unnamed"), NAME);
    let object = object.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    format!("{object}.{:x}.{number:x}", wall.as_microsecond())
}

/// Returns as much of `text` as fits into `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
