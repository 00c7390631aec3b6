//! Who waits for which node. Owned by the tree's thread.
//!
//! Source: ZooKeeper 3.9 `WatchManager`: a data watch fires on change and deletion, an existence
//! watch on creation too, a child watch on children that come or go and on deletion.

use std::collections::HashMap;

use tokio::sync::mpsc;

use crate::path::parent_of;
use crate::store::{EventKind, Watch, WatchEvent, WatchMode};

/// What a one-shot watch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Exists,
    Children,
}

impl Kind {
    fn covers(self, event: EventKind) -> bool {
        match event {
            EventKind::Created => self == Self::Exists,
            EventKind::DataChanged => self != Self::Children,
            EventKind::Deleted => true,
            EventKind::ChildrenChanged => self == Self::Children,
            EventKind::Missed | EventKind::SessionExpired => false,
        }
    }
}

#[derive(Debug)]
struct Waiter<K> {
    session: i64,
    kind: K,
    events: mpsc::UnboundedSender<WatchEvent>,
}

/// All watches, by path.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    once: HashMap<String, Vec<Waiter<Kind>>>,
    persistent: HashMap<String, Vec<Waiter<WatchMode>>>,
}

impl Watches {
    /// Sets a watch that fires once.
    pub(crate) fn once(&mut self, session: i64, path: &str, kind: Kind) -> Watch {
        add(&mut self.once, session, path, kind)
    }

    /// Sets a watch that fires until it is dropped.
    pub(crate) fn persistent(&mut self, session: i64, path: &str, mode: WatchMode) -> Watch {
        add(&mut self.persistent, session, path, mode)
    }

    /// Sends `event` to those who wait for it.
    pub(crate) fn fire(&mut self, event: &WatchEvent) {
        if let Some(waiters) = self.once.get_mut(&event.path) {
            waiters.retain(|waiter| {
                let covered = waiter.kind.covers(event.kind);
                if covered {
                    let _ = waiter.events.send(event.clone());
                }
                !covered && !waiter.events.is_closed()
            });
            if waiters.is_empty() {
                self.once.remove(&event.path);
            }
        }
        self.fire_persistent(event);
    }

    fn fire_persistent(&mut self, event: &WatchEvent) {
        let mut path = event.path.as_str();
        loop {
            if let Some(waiters) = self.persistent.get_mut(path) {
                let itself = path == event.path;
                waiters.retain(|waiter| {
                    let wanted = match waiter.kind {
                        WatchMode::Persistent => itself,
                        // It sees each node's own events; a parent's would say the same twice.
                        WatchMode::PersistentRecursive => event.kind != EventKind::ChildrenChanged,
                    };
                    if wanted { waiter.events.send(event.clone()).is_ok() } else { true }
                });
            }
            if path == "/" {
                return;
            }
            path = parent_of(path);
        }
    }

    /// Drops every watch of a session: its holders see the session end.
    pub(crate) fn drop_session(&mut self, session: i64) {
        self.once.values_mut().for_each(|waiters| waiters.retain(|w| w.session != session));
        self.persistent.values_mut().for_each(|waiters| waiters.retain(|w| w.session != session));
    }
}

fn add<K>(
    watches: &mut HashMap<String, Vec<Waiter<K>>>,
    session: i64,
    path: &str,
    kind: K,
) -> Watch {
    let (events, receiver) = mpsc::unbounded_channel();
    let waiters = watches.entry(path.to_owned()).or_default();
    // Watches whose holders are gone would pile up on a node that never changes.
    waiters.retain(|waiter| !waiter.events.is_closed());
    waiters.push(Waiter { session, kind, events });
    Watch::new(receiver)
}
