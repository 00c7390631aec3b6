//! The life of a session, which may be longer than that of the client library's idea of it.
//!
//! The library gives a session up when no server was heard for 7/5 of its time-out. But what no
//! server said is not so: where all servers were away, they count the time-out anew when they come
//! back. So the session is then taken over by a new client, as often as need be, and is over only
//! when a server says so. Meanwhile requests wait, and watches are kept: they are told that they
//! missed something.

use std::sync::{Arc, Weak};
use std::time::Duration;

use zookeeper_client as zk;

use super::connect::{ConnectError, Target};
use super::inner::Inner;
use super::{Connection, convert, outage, sources};
use crate::store::WatchMode;

/// How long servers that refuse the session for another reason than its end are left alone.
const PAUSE: Duration = Duration::from_millis(200);

/// Follows the session until it is over or its store is gone.
#[allow(clippy::disallowed_methods, reason = "it ends with the session, which the store owns")]
pub(super) fn follow(inner: &Arc<Inner>, client: &zk::Client) {
    let life = Life { inner: Arc::downgrade(inner), target: inner.target.clone() };
    let states = client.state_watcher();
    let state = client.state();
    tokio::spawn(outage::tell(inner.connections(), inner.target.servers().to_owned()));
    tokio::spawn(life.run(state, states, inner.session.clone(), client.session_timeout()));
}

struct Life {
    inner: Weak<Inner>,
    target: Target,
}

impl Life {
    async fn run(
        self,
        mut state: zk::SessionState,
        mut states: zk::StateWatcher,
        session: zk::SessionInfo,
        timeout: Duration,
    ) {
        loop {
            while !state.is_terminated() {
                self.say(state);
                state = states.changed().await;
            }
            let Some(inner) = self.inner.upgrade() else { return };
            if inner.is_over() {
                return;
            }
            // Its own idea, for want of an answer.
            tracing::debug!(%state, "the client library has given the session with ZooKeeper up");
            inner.lose_client();
            drop(inner);
            let Some(client) = self.take_over(&session, timeout).await else { return };
            // In this order: a state that comes in between is told once more, and never missed.
            states = client.state_watcher();
            state = client.state();
            let Some(inner) = self.inner.upgrade() else { return };
            watch_again(&inner, &client).await;
            tracing::debug!("the session with ZooKeeper goes on with another client");
            inner.put_client(client);
        }
    }

    fn say(&self, state: zk::SessionState) {
        let Some(inner) = self.inner.upgrade() else { return };
        let now = match state {
            zk::SessionState::SyncConnected | zk::SessionState::ConnectedReadOnly => {
                Connection::Connected
            }
            zk::SessionState::Disconnected
            | zk::SessionState::AuthFailed
            | zk::SessionState::Expired
            | zk::SessionState::Closed => Connection::Disconnected,
        };
        if state == zk::SessionState::AuthFailed {
            inner.refused();
        }
        inner.say(now);
    }

    /// Tries until a server gives the session back, or says that it is over; `None` for the latter, or
    /// when nobody waits.
    async fn take_over(&self, session: &zk::SessionInfo, timeout: Duration) -> Option<zk::Client> {
        while self.inner.strong_count() > 0 {
            let error = match self.target.resume(session, timeout).await {
                Ok(client) => return Some(client),
                Err(ConnectError::SessionExpired) => {
                    tracing::warn!("the session with ZooKeeper is over, as a server says");
                    if let Some(inner) = self.inner.upgrade() {
                        inner.end();
                    }
                    return None;
                }
                Err(error) => error,
            };
            tracing::warn!(%error, "the session with ZooKeeper cannot be taken over yet");
            tokio::time::sleep(PAUSE).await;
        }
        None
    }
}

/// Sets on a new client what is watched, and tells every waiter that it missed something.
async fn watch_again(inner: &Arc<Inner>, client: &zk::Client) {
    let _setting = inner.setting.lock().await;
    let wanted: Vec<(String, WatchMode)> = inner.hub().restart();
    for (path, mode) in wanted {
        while !client.state().is_terminated() {
            match client.watch(&path, convert::watch_mode(mode)).await {
                Ok(watcher) => {
                    sources::lasting(inner, &path, mode, watcher);
                    inner.hub().has_missed(&path);
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, path, "a watch cannot be set again yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
