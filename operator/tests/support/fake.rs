//! A Kubernetes API server in this process, with as much of a cluster around it as an operator notices.
//!
//! A [`kube::Client`] talks to it without a socket; under tokio's paused clock every run is the same run. Whoever tests
//! an operator kills it at any call, loses calls or answers, lets its caches grow stale, and compares the ends of two
//! runs.
//!
//! ```text
//! client -> connection (faults) -> request -> serve -> state -> store -> watch -> client
//!                                               cluster (controllers, nodes) -^
//! ```
//!
//! Concurrency: one lock around the whole state, never held over an `await`; each call is one transaction. What a test
//! says of pods runs under it and must not call the fake.
//! Authorization is that of whom the test names ([`Fake::restrict`]), by resource and verb.
//! Not here: CEL, patterns of schemas, strategic merge patches, pages of a list, discovery.

pub(crate) mod admit;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod deletion;
mod eviction;
pub(crate) mod exhaustive;
mod fields;
pub(crate) mod json;
mod json_patch;
pub(crate) mod kind;
mod merge;
pub(crate) mod moment;
mod owners;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod rights;
mod schema;
mod selector;
mod serve;
mod shape;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod store;
mod watch;
pub(crate) mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::http::request::Parts;
use serde_json::{Value, json};
use tokio::sync::watch as channel;

use clock::Clock;
use connection::{Connection, Fault, Line};
use deletion::Deletion;
use json::{put, text};
use moment::Moment;
use record::Call;
use refusal::Refusal;
use request::Request;
use rights::Rights;
use serve::{Answer, serve};
use snapshot::Snapshot;
use state::{State, Who};
use store::Key;
use world::{Companion, PodIs};

/// Half of what a call takes.
const ONE_WAY: Duration = Duration::from_millis(1);
/// How often the cluster looks at what no change tells of: time, and what the test says of pods.
const TICK: Duration = Duration::from_secs(1);
/// Who writes for the test.
const USER: &str = "user";
/// Written all the time, and no progress.
const RESTLESS: [&str; 3] = ["leases.coordination.k8s.io", "events.events.k8s.io", "events"];

/// The server and its cluster.
#[derive(Clone)]
pub(crate) struct Fake {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    calls: Mutex<Vec<Call>>,
    /// The revision, for whoever waits for a change.
    revision: channel::Sender<u64>,
    connections: Mutex<u64>,
    /// Clients that may not do everything: how their names begin, and what they may do.
    restricted: Mutex<Vec<(String, Rights)>>,
}

impl Fake {
    /// Starts a cluster of three nodes in two zones, with the namespace `default` and the class `standard`, whose
    /// volumes can grow. Must be called in a runtime.
    pub(crate) fn new() -> Self {
        let fake = Self::of(State::new(Clock::start()));
        fake.create(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" },
        }));
        fake.create(json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": { "name": "standard" },
            "provisioner": "fake.csi.k8s.io",
            "reclaimPolicy": "Delete",
            "allowVolumeExpansion": true,
            "volumeBindingMode": "WaitForFirstConsumer",
        }));
        for (node, zone, address) in
            [("node-1", "a", "10.0.0.1"), ("node-2", "b", "10.0.0.2"), ("node-3", "a", "10.0.0.3")]
        {
            fake.create(json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": { "name": node, "labels": {
                    "kubernetes.io/hostname": node,
                    "topology.kubernetes.io/zone": zone,
                } },
            }));
            fake.set_node(node, true);
            let key = fake.key("nodes", "", node);
            let told = fake.with(|state| {
                state.update(&key, Who::status("kubelet"), |node| {
                    let addresses = json!([{ "type": "InternalIP", "address": address }]);
                    put(node, "/status/addresses", addresses);
                    Ok(())
                })
            });
            told.unwrap();
        }
        fake
    }

    /// Starts where `moment` was. Must be called in a runtime.
    pub(crate) fn at(moment: &Moment) -> Self {
        Self::of(moment.state())
    }

    /// Keeps what there is now, for others to start there.
    pub(crate) fn moment(&self) -> Moment {
        self.with(|state| Moment::of(state))
    }

    fn of(state: State) -> Self {
        let shared = Shared {
            state: Mutex::new(state),
            calls: Mutex::default(),
            revision: channel::Sender::new(0),
            connections: Mutex::default(),
            restricted: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Opens a connection for one client.
    pub(crate) fn connect(&self, name: &str) -> Connection {
        let mut connections = self.shared.connections.lock().unwrap();
        *connections += 1;
        Connection::new(self.clone(), *connections, name)
    }

    /// Does something with the state alone; watches are told after it.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.shared.state.lock().unwrap();
        let result = act(&mut state);
        let State { watches, store, .. } = &mut *state;
        watches.tell(store);
        let revision = store.revision;
        drop(state);
        self.shared.revision.send_if_modified(|known| {
            let has_moved = *known != revision;
            *known = revision;
            has_moved
        });
        result
    }

    /// Returns the clock of the server.
    pub(crate) fn clock(&self) -> Clock {
        self.with(|state| state.clock)
    }

    async fn travel(&self) {
        Clock::pass(ONE_WAY).await;
    }

    /// Does what a call asks, unless `fault` keeps it from arriving, and records it.
    fn receive(
        &self,
        line: &Line,
        head: &Parts,
        body: &[u8],
        fault: Option<Fault>,
    ) -> Result<Answer, Refusal> {
        self.with(|state| {
            let request = Request::read(&state.kinds, head, body);
            let before = state.store.revision;
            let answer = match (&request, fault) {
                (_, Some(Fault::Code(code))) => Err(Refusal::planted(code)),
                (_, Some(Fault::Refused)) => Err(Refusal::planted(503)),
                (Ok(request), _) => {
                    self.authorize(state, line, request).and_then(|()| serve(state, request))
                }
                (Err(refusal), _) => Err(refusal.clone()),
            };
            let code = match &answer {
                Ok(Answer::Object(code, _)) => *code,
                Ok(Answer::Watch(_)) => 200,
                Err(refusal) => refusal.code,
            };
            let request = request.ok();
            let of = |part: fn(&Request) -> &str| request.as_ref().map_or("", part).to_owned();
            let sent = request.as_ref().map_or(Value::Null, |request| request.body.clone());
            let call = Call {
                at: state.clock.elapsed(),
                client: line.name.clone(),
                verb: request.as_ref().map_or("", |request| request.verb),
                resource: request
                    .as_ref()
                    .map_or_else(String::new, |request| request.kind.resource()),
                namespace: of(|request| &request.namespace),
                name: of(|request| &request.name),
                subresource: of(|request| &request.subresource),
                target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                manager: of(Request::manager),
                content_type: of(|request| &request.content_type),
                body: sent,
                code: (fault != Some(Fault::Refused)).then_some(code),
                is_answer_lost: matches!(fault, Some(Fault::AnswerLost | Fault::KilledAfter)),
                has_changed: state.store.revision != before,
            };
            self.shared.calls.lock().unwrap().push(call);
            answer
        })
    }

    /// Holds clients whose names begin with `name` to `rights`, from now on; others may do everything.
    pub(crate) fn restrict(&self, name: &str, rights: Rights) {
        let mut restricted = self.shared.restricted.lock().unwrap();
        restricted.retain(|(other, _)| other != name);
        restricted.push((name.to_owned(), rights));
    }

    fn authorize(&self, state: &State, line: &Line, request: &Request) -> Result<(), Refusal> {
        let restricted = self.shared.restricted.lock().unwrap();
        let Some((_, rights)) = restricted.iter().find(|(name, _)| line.name.starts_with(name))
        else {
            return Ok(());
        };
        let resource = request.kind.resource();
        let key = Key::new(&resource, &request.namespace, &request.name);
        let is_apply = request.content_type.starts_with("application/apply-patch");
        let is_new = is_apply && state.store.get(&key).is_none();
        let asked = rights::asked(request.verb, &resource, &request.subresource, is_new);
        rights.missing(asked).map_or(Ok(()), |missing| {
            let why = format!("User \"{}\" may not {missing}", line.name);
            Err(Refusal::forbidden(&request.kind, &request.name, &why))
        })
    }

    /// Returns every call so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Returns the calls that asked the server for a change so far.
    pub(crate) fn writes(&self) -> Vec<Call> {
        let is_ours = |call: &Call| call.is_write() && call.verb != record::TELL;
        self.calls().into_iter().filter(is_ours).collect()
    }

    /// Whether a call was refused for want of a right.
    pub(crate) fn has_forbidden(&self) -> bool {
        self.shared.calls.lock().unwrap().iter().any(|call| call.code == Some(403))
    }

    /// Forgets the calls so far.
    pub(crate) fn forget_calls(&self) {
        self.shared.calls.lock().unwrap().clear();
    }

    /// Lets one step of every controller and node happen; returns whether anything changed.
    pub(crate) fn step(&self) -> bool {
        self.with(cluster::step)
    }

    /// Lets controllers and nodes move until they rest.
    pub(crate) fn settle(&self) {
        self.with(cluster::settle);
    }

    /// Moves the cluster after every change, and as time passes, for as long as it is polled.
    pub(crate) async fn run(&self) {
        let mut revision = self.shared.revision.subscribe();
        loop {
            self.settle();
            revision.mark_unchanged();
            let _ = tokio::time::timeout(TICK, revision.changed()).await;
        }
    }

    /// Returns once nothing has changed for `quiet` but leases and events.
    ///
    /// # Panics
    /// Where there is no such time within a day, and shows the last calls.
    pub(crate) async fn rest(&self, quiet: Duration) {
        let start = self.clock().elapsed();
        let (mut before, mut since) = (self.mark(), start);
        loop {
            Clock::pass(TICK.min(quiet)).await;
            let now = self.mark();
            if now != before {
                (before, since) = (now, self.clock().elapsed());
            }
            if self.clock().elapsed() >= since + quiet {
                return;
            }
            if self.clock().elapsed() > start + Duration::from_hours(24) {
                let calls = self.calls();
                let last: Vec<String> = calls.iter().rev().take(20).map(Call::to_string).collect();
                panic!("no rest within a day; the last calls:\n{}", last.join("\n"));
            }
        }
    }

    /// Stands for everything, and the second that it is.
    fn mark_all(&self) -> Vec<u64> {
        self.with(|state| {
            let companions = state.world.companions.iter().map(|companion| companion.revision());
            let own = [state.store.revision, state.clock.elapsed().as_secs()];
            own.into_iter().chain(companions).collect()
        })
    }

    /// Stands for everything that is progress.
    fn mark(&self) -> (usize, Vec<u64>) {
        self.with(|state| {
            let counted =
                state.store.all().filter(|(key, _)| !RESTLESS.contains(&key.resource.as_str()));
            let mut versions: Vec<u64> = counted
                .map(|(_, object)| text(object, "/metadata/resourceVersion").parse().unwrap_or(0))
                .collect();
            versions.extend(state.world.companions.iter().map(|companion| companion.revision()));
            (versions.len(), versions)
        })
    }

    /// Lets `companion` say what some pods are, from now on.
    pub(crate) fn accompany(&self, companion: impl Companion + 'static) {
        self.with(|state| state.world.companions.push(Box::new(companion)));
    }

    /// Records a call to somebody else than the server, so that it stands among the others.
    pub(crate) fn record(&self, call: Call) {
        self.shared.calls.lock().unwrap().push(call);
    }

    /// Says what pods are, from now on.
    pub(crate) fn pods(&self, pods: impl FnMut(&Value) -> PodIs + Send + 'static) {
        self.with(|state| state.world.pods = Box::new(pods));
    }

    /// Says whether a pod that is asked to end has done so, from now on; its grace ends it at last.
    pub(crate) fn ends(&self, ends: impl FnMut(&Value) -> bool + Send + 'static) {
        self.with(|state| state.world.ends = Box::new(ends));
    }

    /// Says whether volumes grow as soon as their claims ask for it.
    pub(crate) fn set_volumes_grow(&self, do_grow: bool) {
        self.with(|state| state.world.volumes_grow = do_grow);
    }

    /// Lets controllers and nodes stand still, or go on.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.with(|state| state.world.is_frozen = is_frozen);
    }

    /// Says whether a node is there; one that is lost leaves its pods as they are, and unready.
    pub(crate) fn set_node(&self, node: &str, is_there: bool) {
        let key = self.key("nodes", "", node);
        self.with(|state| {
            let now = state.clock.now();
            let said = state.update(&key, Who::status("kubelet"), |node| {
                cluster::condition::say(node, "Ready", is_there, "Kubelet", &now);
                Ok(())
            });
            said.unwrap();
        });
    }

    /// Returns the key of an object; `resource` is a plural that one group alone has, or `plural.group`.
    pub(crate) fn key(&self, resource: &str, namespace: &str, name: &str) -> Key {
        let full = self.with(|state| {
            let exact = state.kinds.get(resource);
            let mut named = state.kinds.all().filter(|kind| kind.plural == resource);
            exact.or_else(|| named.next().cloned()).map(|kind| kind.resource())
        });
        Key::new(&full.unwrap_or_else(|| panic!("no resource {resource}")), namespace, name)
    }

    /// Creates an object as a user.
    pub(crate) fn create(&self, object: Value) -> Value {
        self.try_create(object).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    /// Creates an object as a user.
    ///
    /// # Errors
    /// Where the server refuses it.
    pub(crate) fn try_create(&self, object: Value) -> Result<Value, Refusal> {
        self.with(|state| {
            let kind = state.kinds.of(&object).ok_or_else(Refusal::no_such_resource)?;
            let namespace = text(&object, "/metadata/namespace");
            let namespace = if namespace.is_empty() { "default" } else { namespace }.to_owned();
            let namespace = if kind.namespaced { namespace } else { String::new() };
            let made = state.create(&kind, &namespace, object, Who::whole(USER))?;
            Ok((*made).clone())
        })
    }

    /// Returns an object.
    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = self.key(resource, namespace, name);
        self.with(|state| state.store.get(&key).cloned())
    }

    /// Returns the objects of a resource in a namespace, or in all where it is empty.
    pub(crate) fn list(&self, resource: &str, namespace: &str) -> Vec<Value> {
        let key = self.key(resource, namespace, "");
        self.with(|state| {
            let listed = state.store.list(&key.resource, namespace);
            listed.map(|(_, object)| object.clone()).collect()
        })
    }

    /// Puts `value` at `pointer` of an object's spec or metadata, as a user.
    ///
    /// # Errors
    /// Where the server refuses it.
    pub(crate) fn edit(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        pointer: &str,
        value: impl Into<Value>,
    ) -> Result<Value, Refusal> {
        let key = self.key(resource, namespace, name);
        self.with(|state| {
            let edited = state.update(&key, Who::whole(USER), |object| {
                put(object, pointer, value);
                Ok(())
            })?;
            Ok((*edited).clone())
        })
    }

    /// Deletes an object as a user, with the default of its kind for everything.
    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.delete_with(resource, namespace, name, &Deletion::default())
    }

    /// Deletes an object as a user; returns it where it stays for now.
    pub(crate) fn delete_with(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        how: &Deletion,
    ) -> Option<Value> {
        let key = self.key(resource, namespace, name);
        let left = self.with(|state| state.delete(&key, how, false));
        let left = left.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        left.map(|object| (*object).clone())
    }

    /// Forgets the past: watches from before are told that they are too old.
    pub(crate) fn compact(&self) {
        self.with(|_| {});
        self.with(|state| state.store.compact());
    }

    /// Tells every watch how far it is.
    pub(crate) fn bookmark(&self) {
        self.with(|state| state.watches.bookmark());
    }

    /// Returns how many watches are open.
    pub(crate) fn watches(&self) -> usize {
        self.with(|state| state.watches.count())
    }

    /// Returns everything but `ignored` resources, without what differs from run to run.
    pub(crate) fn snapshot(&self, ignored: &[&str]) -> Snapshot {
        self.with(|state| Snapshot::of(&state.store, &state.world.companions, ignored))
    }
}
