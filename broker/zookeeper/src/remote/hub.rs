//! Who of this session waits for which node, and what the server is asked to report. Pure.
//!
//! A server keeps one mode for a path and session (ZooKeeper before 3.9, ZOOKEEPER-4466): a one-shot
//! watch on a path takes the place of a lasting one there, and removing either removes both. So the
//! waiters are kept here, and the server is asked for a path at most once:
//!
//! - While a lasting watch of the server is on a path, one-shot waiters live from its events.
//! - A one-shot watch of the server serves all waiters of its kind that come until it fires, and is
//!   never taken back: it would take a lasting one along.
//! - A recursive watch takes the place of one that is not, and reports a child that comes or goes
//!   itself, from which the news for the parent follow.
//! - Once a lasting watch is set, one-shot ones that were asked for before count as gone: they may never
//!   fire, and whoever comes after the lasting one has been given back must ask anew.
//!
//! A waiter is put here before the server is asked, so that nothing is missed; it may hear of a
//! change that its read has already seen.

use std::collections::HashMap;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::store::{EventKind, WatchEvent, WatchMode};

/// What a one-shot watch waits for, as a server tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The node comes, changes or goes.
    Node,
    /// Its children come or go, or it goes itself.
    Children,
}

impl Kind {
    fn covers(self, event: EventKind) -> bool {
        match event {
            EventKind::Created | EventKind::DataChanged => self == Self::Node,
            EventKind::ChildrenChanged => self == Self::Children,
            EventKind::Deleted | EventKind::Missed => true,
            EventKind::SessionExpired => false,
        }
    }
}

/// A lasting watch of the server that was put in place of another is newer than that. A one-shot watch is
/// of the generation in which it was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

/// Who waits for one event.
#[derive(Debug)]
struct Once {
    kind: Kind,
    events: UnboundedSender<WatchEvent>,
    /// It came while a lasting watch was asked for, and may have read before that was set.
    is_unsure: bool,
}

#[derive(Debug, Default)]
struct Place {
    once: Vec<Once>,
    lasting: Vec<(WatchMode, UnboundedSender<WatchEvent>)>,
    /// How many one-shot watches of the server are set, by kind; older ones than `displaced` do not count.
    node_sources: usize,
    children_sources: usize,
    /// Of the newest lasting watch that was set here.
    displaced: Generation,
    lasting_source: Option<(WatchMode, Generation)>,
    /// How many lasting watches the server is being asked for.
    lasting_asked: usize,
}

impl Place {
    fn sources(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Node => &mut self.node_sources,
            Kind::Children => &mut self.children_sources,
        }
    }

    fn drop_closed(&mut self) {
        self.once.retain(|waiter| !waiter.events.is_closed());
        self.lasting.retain(|(_, events)| !events.is_closed());
    }

    fn has_waiters(&self) -> bool {
        !self.once.is_empty() || !self.lasting.is_empty()
    }

    fn is_unused(&self) -> bool {
        !self.has_waiters()
            && self.node_sources + self.children_sources == 0
            && self.lasting_source.is_none()
            && self.lasting_asked == 0
    }

    fn fire_once(&mut self, event: &WatchEvent) {
        self.fire_once_where(event, |waiter| waiter.kind.covers(event.kind));
    }

    fn fire_once_where(&mut self, event: &WatchEvent, is_due: impl Fn(&Once) -> bool) {
        self.once.retain(|waiter| {
            let is_due = is_due(waiter);
            if is_due {
                let _ = waiter.events.send(event.clone());
            }
            !is_due && !waiter.events.is_closed()
        });
    }

    fn fire_lasting(&mut self, mode: WatchMode, event: &WatchEvent) {
        self.lasting.retain(|(wanted, events)| {
            if *wanted == mode { events.send(event.clone()).is_ok() } else { true }
        });
    }
}

/// All waiters of one session, by path.
#[derive(Debug, Default)]
pub(super) struct Hub {
    places: HashMap<String, Place>,
    generation: Generation,
}

impl Hub {
    /// Adds a waiter for one event; the second value is given when the server must be asked to watch.
    pub(super) fn once(
        &mut self,
        path: &str,
        kind: Kind,
    ) -> (UnboundedReceiver<WatchEvent>, Option<Generation>) {
        let (events, receiver) = unbounded_channel();
        let place = self.places.entry(path.to_owned()).or_default();
        place.drop_closed();
        // One that comes behind a lasting watch on its way would take its place at the server.
        let is_asked = place.lasting_asked > 0;
        let asks = !is_asked && place.lasting_source.is_none() && *place.sources(kind) == 0;
        place.once.push(Once { kind, events, is_unsure: is_asked });
        (receiver, asks.then_some(self.generation))
    }

    /// Adds a waiter for all events; the second value says whether the server must be asked.
    pub(super) fn lasting(
        &mut self,
        path: &str,
        mode: WatchMode,
    ) -> (UnboundedReceiver<WatchEvent>, bool) {
        let (events, receiver) = unbounded_channel();
        let place = self.places.entry(path.to_owned()).or_default();
        place.drop_closed();
        place.lasting.push((mode, events));
        let asks = match place.lasting_source {
            None => true,
            Some((there, _)) => there != mode && there == WatchMode::Persistent,
        };
        place.lasting_asked += usize::from(asks);
        (receiver, asks)
    }

    /// Forgets waiters that have gone without an event.
    pub(super) fn forget_closed(&mut self, path: &str) {
        if let Some(place) = self.places.get_mut(path) {
            place.drop_closed();
            if place.is_unused() {
                self.places.remove(path);
            }
        }
    }

    /// Notes that the server has a one-shot watch on `path`, which was asked for in the generation `asked`.
    pub(super) fn once_is_set(&mut self, path: &str, kind: Kind, asked: Generation) {
        let place = self.places.entry(path.to_owned()).or_default();
        if place.displaced <= asked {
            *place.sources(kind) += 1;
        }
    }

    /// Notes that the server was asked for a lasting watch on `path`, which it may have by now.
    ///
    /// Who came while it was asked may have read before it was set: those are told to read again.
    pub(super) fn lasting_was_asked(&mut self, path: &str) {
        if let Some(place) = self.places.get_mut(path) {
            place.lasting_asked = place.lasting_asked.saturating_sub(1);
            place.fire_once_where(&missed(path), |waiter| waiter.is_unsure);
        }
        self.forget_closed(path);
    }

    /// Whether the lasting watch of the server on `path` is still `generation`.
    pub(super) fn is_current(&self, path: &str, generation: Generation) -> bool {
        let source = self.places.get(path).and_then(|place| place.lasting_source);
        source.is_some_and(|(_, current)| current == generation)
    }

    /// Begins with a client of whom the server has no watches: waiters for one event are told that
    /// they missed something, the lasting watches to be set are returned.
    pub(super) fn restart(&mut self) -> Vec<(String, WatchMode)> {
        let mut wanted = Vec::new();
        self.places.retain(|path, place| {
            (place.node_sources, place.children_sources) = (0, 0);
            place.lasting_source = None;
            place.drop_closed();
            place.fire_once(&missed(path));
            let recursive = WatchMode::PersistentRecursive;
            let is_recursive = place.lasting.iter().any(|(mode, _)| *mode == recursive);
            if !place.lasting.is_empty() {
                let mode = if is_recursive { recursive } else { WatchMode::Persistent };
                wanted.push((path.clone(), mode));
            }
            !place.is_unused()
        });
        wanted
    }

    /// Tells every lasting waiter of `path` that it missed something.
    pub(super) fn has_missed(&mut self, path: &str) {
        if let Some(place) = self.places.get_mut(path) {
            place.fire_once(&missed(path));
            place.fire_lasting(WatchMode::Persistent, &missed(path));
            place.fire_lasting(WatchMode::PersistentRecursive, &missed(path));
        }
    }

    /// Notes that the server has a lasting watch on `path`, in place of any that was there.
    pub(super) fn lasting_is_set(&mut self, path: &str, mode: WatchMode) -> Generation {
        self.generation.0 += 1;
        let generation = self.generation;
        let place = self.places.entry(path.to_owned()).or_default();
        (place.node_sources, place.children_sources) = (0, 0);
        place.displaced = generation;
        place.lasting_source = Some((mode, generation));
        generation
    }

    /// Hands on what a one-shot watch of the server on `path` said.
    pub(super) fn fire_once(&mut self, path: &str, kind: Kind, event: &WatchEvent) {
        if let Some(place) = self.places.get_mut(path) {
            let sources = place.sources(kind);
            *sources = sources.saturating_sub(1);
            place.fire_once(event);
        }
        self.forget_closed(path);
    }

    /// Hands on what a lasting watch of the server on `path` said; false when it is not wanted any
    /// more.
    pub(super) fn fire_lasting(
        &mut self,
        path: &str,
        generation: Generation,
        event: &WatchEvent,
    ) -> bool {
        let Some(place) = self.places.get_mut(path) else { return false };
        let Some((mode, current)) = place.lasting_source else { return false };
        if current != generation {
            return false;
        }
        if event.path == path {
            place.fire_once(event);
            place.fire_lasting(WatchMode::Persistent, event);
        }
        if mode == WatchMode::PersistentRecursive {
            place.fire_lasting(mode, event);
            let came_or_went = matches!(event.kind, EventKind::Created | EventKind::Deleted);
            if came_or_went && is_child(&event.path, path) {
                let path = path.to_owned();
                let of_parent = WatchEvent { kind: EventKind::ChildrenChanged, path };
                place.fire_once(&of_parent);
                place.fire_lasting(WatchMode::Persistent, &of_parent);
            }
        }
        place.drop_closed();
        let wanted = place.has_waiters();
        if !wanted {
            place.lasting_source = None;
        }
        self.forget_closed(path);
        wanted
    }

    /// Drops every waiter: each sees that the session is over.
    pub(super) fn end(&mut self) {
        self.places.clear();
    }
}

fn missed(path: &str) -> WatchEvent {
    WatchEvent { kind: EventKind::Missed, path: path.to_owned() }
}

fn is_child(path: &str, parent: &str) -> bool {
    let rest = if parent == "/" { path.strip_prefix('/') } else { below(path, parent) };
    rest.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

fn below<'a>(path: &'a str, parent: &str) -> Option<&'a str> {
    path.strip_prefix(parent)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, path: &str) -> WatchEvent {
        WatchEvent { kind, path: path.to_owned() }
    }

    fn kinds(events: &mut UnboundedReceiver<WatchEvent>) -> Vec<EventKind> {
        std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.kind).collect()
    }

    /// While the server has a recursive watch, all other waiters of the path live from it.
    #[test]
    fn a_recursive_watch_feeds_every_waiter_of_its_path() {
        use EventKind::{ChildrenChanged, Created, DataChanged};
        let mut hub = Hub::default();
        let (mut below, asks) = hub.lasting("/a", WatchMode::PersistentRecursive);
        assert!(asks);
        let generation = hub.lasting_is_set("/a", WatchMode::PersistentRecursive);
        let (mut itself, asks) = hub.lasting("/a", WatchMode::Persistent);
        assert!(!asks);
        let (mut children, asks) = hub.once("/a", Kind::Children);
        assert!(asks.is_none());
        let (mut node, asks) = hub.once("/a", Kind::Node);
        assert!(asks.is_none());
        let said =
            [event(Created, "/a/b"), event(Created, "/a/b/c"), event(EventKind::DataChanged, "/a")];
        for event in &said {
            assert!(hub.fire_lasting("/a", generation, event));
        }
        assert_eq!(kinds(&mut below), [Created, Created, DataChanged]);
        assert_eq!(kinds(&mut itself), [ChildrenChanged, DataChanged]);
        assert_eq!(kinds(&mut children), [ChildrenChanged]);
        assert_eq!(kinds(&mut node), [DataChanged]);
    }

    /// The server is asked once until it has fired, and a watch that nobody wants is given back.
    #[test]
    fn the_server_is_asked_once() {
        let mut hub = Hub::default();
        let (mut first, asks) = hub.once("/a", Kind::Node);
        hub.once_is_set("/a", Kind::Node, asks.unwrap());
        let (mut second, asks) = hub.once("/a", Kind::Node);
        assert!(asks.is_none());
        let (_children, asks) = hub.once("/a", Kind::Children);
        assert!(asks.is_some());
        hub.fire_once("/a", Kind::Node, &event(EventKind::DataChanged, "/a"));
        assert_eq!(kinds(&mut first), [EventKind::DataChanged]);
        assert_eq!(kinds(&mut second), [EventKind::DataChanged]);
        assert!(hub.once("/a", Kind::Node).1.is_some());

        let (lasting, asks) = hub.lasting("/b", WatchMode::Persistent);
        assert!(asks);
        let old = hub.lasting_is_set("/b", WatchMode::Persistent);
        hub.lasting_was_asked("/b");
        let (recursive, asks) = hub.lasting("/b", WatchMode::PersistentRecursive);
        assert!(asks, "a recursive watch says more");
        let new = hub.lasting_is_set("/b", WatchMode::PersistentRecursive);
        hub.lasting_was_asked("/b");
        let changed = event(EventKind::DataChanged, "/b");
        assert!(!hub.fire_lasting("/b", old, &changed));
        assert!(hub.fire_lasting("/b", new, &changed));
        drop((lasting, recursive));
        assert!(!hub.fire_lasting("/b", new, &changed));
        assert!(!hub.places.contains_key("/b"));
    }

    /// A client that takes over begins without watches: all that is waited for is asked for again.
    #[test]
    fn a_new_client_watches_what_is_waited_for() {
        let mut hub = Hub::default();
        let (mut once, asks) = hub.once("/a", Kind::Node);
        hub.once_is_set("/a", Kind::Node, asks.unwrap());
        let (mut lasting, _) = hub.lasting("/b", WatchMode::Persistent);
        let old = hub.lasting_is_set("/b", WatchMode::Persistent);
        hub.lasting_was_asked("/b");
        let (mut below, _) = hub.lasting("/b", WatchMode::PersistentRecursive);
        assert_eq!(hub.restart(), [("/b".to_owned(), WatchMode::PersistentRecursive)]);
        assert_eq!(kinds(&mut once), [EventKind::Missed]);
        assert!(hub.once("/a", Kind::Node).1.is_some(), "the server is asked anew");
        assert!(!hub.is_current("/b", old));
        hub.has_missed("/b");
        assert_eq!(kinds(&mut lasting), [EventKind::Missed]);
        assert_eq!(kinds(&mut below), [EventKind::Missed]);
    }

    /// A one-shot watch must not reach the server behind a lasting one: it waits for that one's events.
    #[test]
    fn a_one_shot_watch_waits_for_a_lasting_one_on_its_way() {
        let mut hub = Hub::default();
        let (_lasting, _) = hub.lasting("/a", WatchMode::Persistent);
        let (mut once, asks) = hub.once("/a", Kind::Node);
        assert!(asks.is_none());
        hub.lasting_is_set("/a", WatchMode::Persistent);
        hub.lasting_was_asked("/a");
        assert_eq!(kinds(&mut once), [EventKind::Missed], "it may have read before");
    }

    /// A lasting watch may have taken the place of one-shot ones that never fire then: when it is given
    /// back, nobody waits for those, whether their answer came before it was set or after.
    #[test]
    fn a_one_shot_watch_does_not_outlive_a_lasting_one() {
        let mut hub = Hub::default();
        let (mut children, asks_children) = hub.once("/a", Kind::Children);
        hub.once_is_set("/a", Kind::Children, asks_children.unwrap());
        let (mut node, asks_node) = hub.once("/a", Kind::Node);
        let (lasting, asks) = hub.lasting("/a", WatchMode::PersistentRecursive);
        assert!(asks);
        let generation = hub.lasting_is_set("/a", WatchMode::PersistentRecursive);
        hub.lasting_was_asked("/a");
        hub.once_is_set("/a", Kind::Node, asks_node.unwrap());
        drop(lasting);
        assert!(hub.fire_lasting("/a", generation, &event(EventKind::Created, "/a/b")));
        assert_eq!(kinds(&mut children), [EventKind::ChildrenChanged]);
        assert!(!hub.fire_lasting("/a", generation, &event(EventKind::DataChanged, "/a")));
        assert_eq!(kinds(&mut node), [EventKind::DataChanged]);

        assert!(hub.once("/a", Kind::Children).1.is_some());
        assert!(hub.once("/a", Kind::Node).1.is_some());
    }

    /// After the end there is nobody left: a receiver sees its channel closed.
    #[test]
    fn the_end_of_the_session_reaches_every_waiter() {
        let mut hub = Hub::default();
        let (mut once, _) = hub.once("/a", Kind::Node);
        let (mut lasting, _) = hub.lasting("/", WatchMode::PersistentRecursive);
        hub.end();
        let closed = Err(tokio::sync::mpsc::error::TryRecvError::Disconnected);
        assert_eq!(once.try_recv(), closed);
        assert_eq!(lasting.try_recv(), closed);
    }
}
