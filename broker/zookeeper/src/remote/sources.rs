//! The watches of the server: one task for each that is set, which hands its events to the hub.
//!
//! A one-shot watch is set again by the client library when the connection comes back, and the
//! server then reports what changed meanwhile. A lasting one is not: the library (0.11.2,
//! `WatchManager::resend_watches`) leaves it out, and a server would report nothing of the gap
//! (ZOOKEEPER-4698). So it is set again here, and its waiters are told that they missed something.

use std::sync::{Arc, Weak};
use std::time::Duration;

use zookeeper_client as zk;

use super::convert;
use super::hub::{Generation, Kind};
use super::inner::Inner;
use crate::store::{EventKind, WatchEvent, WatchMode};

/// How long a server that refuses a watch for now is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// A lasting watch is being asked for, until this is dropped.
pub(super) struct Asking<'a> {
    pub(super) inner: &'a Inner,
    pub(super) path: &'a str,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.inner.hub().lasting_was_asked(self.path);
    }
}

/// Hands on the one event of `watcher`, which was asked for in the generation `asked`.
#[allow(clippy::disallowed_methods, reason = "it ends with the session, which the store owns")]
pub(super) fn once(
    inner: &Arc<Inner>,
    path: &str,
    kind: Kind,
    asked: Generation,
    watcher: zk::OneshotWatcher,
) {
    inner.hub().once_is_set(path, kind, asked);
    let (inner, path) = (Arc::downgrade(inner), path.to_owned());
    tokio::spawn(async move {
        let event = watcher.changed().await;
        // An event of the session is its end, which `session` sees too.
        if let (Some(event), Some(inner)) = (convert::event(event), inner.upgrade()) {
            inner.hub().fire_once(&path, kind, &event);
        }
    });
}

/// Hands on the events of `watcher` until nobody wants them or the session is over.
#[allow(clippy::disallowed_methods, reason = "it ends with the session, which the store owns")]
pub(super) fn lasting(
    inner: &Arc<Inner>,
    path: &str,
    mode: WatchMode,
    watcher: zk::PersistentWatcher,
) {
    let generation = inner.hub().lasting_is_set(path, mode);
    let source = Lasting { inner: Arc::downgrade(inner), path: path.to_owned(), mode, generation };
    tokio::spawn(source.run(watcher));
}

struct Lasting {
    inner: Weak<Inner>,
    path: String,
    mode: WatchMode,
    generation: Generation,
}

impl Lasting {
    async fn run(self, mut watcher: zk::PersistentWatcher) {
        loop {
            let event = watcher.changed().await;
            let state = event.session_state;
            let event = match convert::event(event) {
                Some(event) => event,
                None if state.is_terminated() => return,
                None if state == zk::SessionState::SyncConnected => {
                    match self.set_again().await {
                        Some(new) => watcher = new,
                        None => continue,
                    }
                    WatchEvent { kind: EventKind::Missed, path: self.path.clone() }
                }
                None => continue,
            };
            let Some(inner) = self.inner.upgrade() else { return };
            if !inner.hub().fire_lasting(&self.path, self.generation, &event) {
                return;
            }
        }
    }

    /// Sets the watch on the new connection; `None` when that is gone too, and another will come, or
    /// when the watch is not this task's any more.
    async fn set_again(&self) -> Option<zk::PersistentWatcher> {
        loop {
            let inner = self.inner.upgrade()?;
            let setting = inner.setting.lock().await;
            if !inner.hub().is_current(&self.path, self.generation) {
                return None;
            }
            let client = inner.client_now()?;
            let error = match client.watch(&self.path, convert::watch_mode(self.mode)).await {
                Ok(watcher) => return Some(watcher),
                Err(error) => error,
            };
            if client.state() != zk::SessionState::SyncConnected {
                return None;
            }
            drop(setting);
            drop((client, inner));
            tracing::warn!(%error, path = self.path, "a watch cannot be set again yet");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
