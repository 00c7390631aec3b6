//! Watches: the changes after a revision, each as a line, for as long as the client and its connection last.
//!
//! Source: the API server's watch cache: 410 comes as an event, an object that no longer matches as its deletion.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::clock::Clock;
use super::kind::Kind;
use super::refusal::Refusal;
use super::selector::Selector;
use super::store::{Change, Store};

/// What a list or a watch is about.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) resource: String,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    /// Empty for every one.
    pub(crate) namespace: String,
    pub(crate) selector: Selector,
    /// Whether objects are shown by their metadata alone.
    pub(crate) metadata_only: bool,
}

impl Scope {
    /// Shows `object` as the client wants it.
    pub(crate) fn show(&self, object: &Value) -> Value {
        if self.metadata_only { metadata_of(object) } else { object.clone() }
    }

    /// Returns the type and the object of the event that `change` is here.
    fn event(&self, change: &Change) -> Option<(&'static str, Value)> {
        let key = &change.key;
        let is_elsewhere = !self.namespace.is_empty() && self.namespace != key.namespace;
        if key.resource != self.resource || is_elsewhere {
            return None;
        }
        let chosen = |object: &&Value| self.selector.matches(object);
        let was = change.before.as_deref().filter(chosen);
        let is = change.after.as_deref().filter(chosen);
        let (event, object) = match (was, is) {
            (None, Some(object)) => ("ADDED", object.clone()),
            (Some(_), Some(object)) => ("MODIFIED", object.clone()),
            (Some(object), None) => {
                let mut last = object.clone();
                last["metadata"]["resourceVersion"] = change.revision.to_string().into();
                ("DELETED", last)
            }
            (None, None) => return None,
        };
        Some((event, self.show(&object)))
    }
}

/// Returns `object` as `PartialObjectMetadata`.
pub(crate) fn metadata_of(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": object["metadata"],
    })
}

fn line(event: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({ "type": event, "object": object })))
}

/// One open watch.
#[derive(Debug)]
struct Watch {
    connection: u64,
    scope: Scope,
    /// The last revision that was told.
    told: u64,
    lines: mpsc::UnboundedSender<Bytes>,
}

impl Watch {
    /// Tells what is new; `false` where the watch is over.
    fn tell(&mut self, store: &Store) -> bool {
        if self.told < store.floor {
            let gone = Refusal::too_old(self.told, store.floor).status();
            let _ = self.lines.send(line("ERROR", &gone));
            return false;
        }
        for change in store.since(self.told) {
            if let Some((event, object)) = self.scope.event(change) {
                let _ = self.lines.send(line(event, &object));
            }
        }
        self.told = store.revision;
        !self.lines.is_closed()
    }

    fn bookmark(&self, annotations: &Value) {
        let object = json!({
            "apiVersion": self.scope.api_version,
            "kind": self.scope.kind,
            "metadata": {
                "resourceVersion": self.told.to_string(),
                "annotations": annotations,
            },
        });
        let _ = self.lines.send(line("BOOKMARK", &object));
    }
}

/// Every open watch.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    open: Vec<Watch>,
    held: BTreeSet<u64>,
}

impl Watches {
    /// Opens a watch from `version` on, with what there is first where the client asks for it.
    pub(crate) fn open(
        &mut self,
        connection: u64,
        scope: Scope,
        version: &str,
        sends_initial: bool,
        store: &Store,
    ) -> mpsc::UnboundedReceiver<Bytes> {
        let (lines, receiver) = mpsc::unbounded_channel();
        let from: u64 = version.parse().unwrap_or(0);
        let told =
            if from == 0 || sends_initial { store.revision } else { from.min(store.revision) };
        let mut watch = Watch { connection, scope, told, lines };
        if from == 0 || sends_initial {
            for (_, object) in store.list(&watch.scope.resource, &watch.scope.namespace) {
                if watch.scope.selector.matches(object) {
                    let _ = watch.lines.send(line("ADDED", &watch.scope.show(object)));
                }
            }
            if sends_initial {
                watch.bookmark(&json!({ "k8s.io/initial-events-end": "true" }));
            }
        }
        if watch.tell(store) {
            self.open.push(watch);
        }
        receiver
    }

    /// Tells every watch that is not held what is new.
    pub(crate) fn tell(&mut self, store: &Store) {
        let held = &self.held;
        self.open.retain_mut(|watch| held.contains(&watch.connection) || watch.tell(store));
    }

    /// Whether a client's watches hear nothing: its caches grow stale.
    pub(crate) fn hold(&mut self, connection: u64, is_held: bool) {
        if is_held {
            self.held.insert(connection);
        } else {
            self.held.remove(&connection);
        }
    }

    /// Ends a client's watches, as a restart of the server does.
    pub(crate) fn close(&mut self, connection: u64) {
        self.open.retain(|watch| watch.connection != connection);
    }

    /// Tells every watch how far it is.
    pub(crate) fn bookmark(&self) {
        self.open.iter().for_each(|watch| watch.bookmark(&json!({})));
    }

    /// How many watches there are.
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }
}

/// Returns the lists' items and head of `scope`.
pub(crate) fn list(kind: &Kind, scope: &Scope, store: &Store) -> Value {
    let chosen = store.list(&scope.resource, &scope.namespace).map(|(_, object)| object);
    let mut items: Vec<Value> = Vec::new();
    for object in chosen.filter(|object| scope.selector.matches(object)) {
        let mut item = scope.show(object);
        if kind.schema.is_none() && !scope.metadata_only {
            // Typed objects in a list do not say what they are.
            item.as_object_mut().unwrap().retain(|name, _| name != "apiVersion" && name != "kind");
        }
        items.push(item);
    }
    let (api_version, name) = if scope.metadata_only {
        ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata")
    } else {
        (kind.api_version(), kind.kind.as_str())
    };
    json!({
        "apiVersion": api_version,
        "kind": format!("{name}List"),
        "metadata": { "resourceVersion": store.revision.to_string() },
        "items": items,
    })
}

/// The body of an answer.
pub(crate) enum Reply {
    /// All of it, once.
    Whole(Option<Bytes>),
    /// The events of a watch: they end with its time or its connection, and never for a client that was killed.
    Events {
        lines: mpsc::UnboundedReceiver<Bytes>,
        ends: Pin<Box<Sleep>>,
        is_dead: Box<dyn Fn() -> bool + Send>,
    },
}

impl Reply {
    pub(crate) fn whole(object: &Value) -> Self {
        Self::Whole(Some(Bytes::from(object.to_string())))
    }

    pub(crate) fn events(
        lines: mpsc::UnboundedReceiver<Bytes>,
        timeout: Duration,
        is_dead: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        let ends = Box::pin(Clock::pass(timeout));
        Self::Events { lines, ends, is_dead: Box::new(is_dead) }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = |bytes: Bytes| Ok(Frame::data(bytes));
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(data)),
            Self::Events { is_dead, .. } if is_dead() => Poll::Pending,
            Self::Events { lines, ends, .. } => {
                if let Poll::Ready(line) = lines.poll_recv(context) {
                    return Poll::Ready(line.map(data));
                }
                ends.as_mut().poll(context).map(|()| None)
            }
        }
    }
}
