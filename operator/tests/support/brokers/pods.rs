//! Processes come and go with their pods; and what must never happen to pods is noticed here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_admin::v1::Accept;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::files::{self, Files};
use super::process::Process;
use super::state::{Past, State};
use crate::support::fake::cluster::condition;
use crate::support::fake::json::{items, text};
use crate::support::fake::store::{Key, Store};
use crate::support::fake::world::PodIs;

const CLUSTER_LABEL: &str = "/metadata/labels/ottla.dev~1cluster";
const BROKER_LABEL: &str = "/metadata/labels/ottla.dev~1broker";
const REVISION: &str = "/metadata/annotations/ottla.dev~1revision";

impl State {
    /// Looks at the pods, sets and claims, and moves on to `now`.
    pub(crate) fn look(&mut self, store: &Store, now: Duration) {
        self.advance(now);
        self.is_dismissed = self.is_dismissed_in(store);
        let namespace = self.namespace.clone();
        let pods: BTreeMap<String, &Value> = store
            .list("pods", &namespace)
            .filter_map(|(_, pod)| Some((text(pod, "/metadata/uid").to_owned(), self.own(pod)?)))
            .collect();
        self.end_what_is_gone(&pods);
        for (uid, pod) in &pods {
            if is_going(pod) {
                self.stop(uid, pod);
            } else if !text(pod, "/spec/nodeName").is_empty() {
                self.start(store, uid, pod);
            }
        }
        self.waiting.retain(|uid, _| pods.contains_key(uid));
        self.look_at_disks(store);
        self.advance(now);
    }

    /// Returns `pod` where it is a broker's of this cluster.
    fn own<'a>(&self, pod: &'a Value) -> Option<&'a Value> {
        let is_here = text(pod, "/metadata/namespace") == self.namespace;
        let is_own = text(pod, CLUSTER_LABEL) == self.name && broker_of(pod).is_some();
        (is_here && is_own).then_some(pod)
    }

    /// What the node shows of a pod; `None` for a pod of others.
    pub(crate) fn pod_is(&self, pod: &Value) -> Option<PodIs> {
        self.own(pod)?;
        let uid = text(pod, "/metadata/uid");
        if let Some(process) = self.processes.values().find(|process| process.uid == uid) {
            return Some(if process.is_up() { PodIs::Ready } else { PodIs::Running });
        }
        Some(self.waiting.get(uid).cloned().unwrap_or(PodIs::Waiting("ContainerCreating")))
    }

    /// Whether the process of a pod has ended; `None` for a pod of others.
    pub(crate) fn has_ended(&self, pod: &Value) -> Option<bool> {
        self.own(pod)?;
        let uid = text(pod, "/metadata/uid");
        Some(!self.processes.values().any(|process| process.uid == uid))
    }

    fn is_dismissed_in(&self, store: &Store) -> bool {
        let key = Key::new("clusters.ottla.dev", &self.namespace, &self.name);
        match store.get(&key) {
            Some(cluster) => is_going(cluster),
            // Tests of the model alone have no such object at all.
            None => store.list(&key.resource, "").next().is_some() || self.is_dismissed,
        }
    }

    fn end_what_is_gone(&mut self, pods: &BTreeMap<String, &Value>) {
        let gone = self.processes.values().filter(|process| !pods.contains_key(&process.uid));
        let gone: Vec<i32> = gone.map(|process| process.broker).collect();
        for broker in gone {
            let was_asked = self.processes[&broker].stopping.is_some();
            if !was_asked {
                self.judge_end(broker, "was removed without being asked to stop");
            }
            self.end(broker);
        }
    }

    /// Ends a process: it is registered no more, and its connections break.
    pub(crate) fn end(&mut self, broker: i32) {
        if let Some(process) = self.processes.remove(&broker) {
            process.end.cancel();
            self.touch();
        }
    }

    fn stop(&mut self, uid: &str, pod: &Value) {
        let now = self.now;
        let found = self.processes.values().find(|process| process.uid == uid);
        let Some(Process { broker, stopping, .. }) = found else { return };
        let (broker, stopping) = (*broker, *stopping);
        match stopping {
            None => {
                self.note_past(broker, pod);
                self.judge_end(broker, "was deleted");
                if let Some(process) = self.processes.get_mut(&broker) {
                    process.stopping = Some(now);
                }
                self.touch();
            }
            Some(since) if now >= since + self.pace.stop => self.end(broker),
            Some(_) => {}
        }
    }

    fn note_past(&mut self, broker: i32, pod: &Value) {
        let was_ended = self.is_up(broker) && !self.excused.contains(&broker);
        self.past.insert(broker, Past { made_of: made_of(pod), was_ended });
    }

    /// Says what is wrong with the end of a broker that somebody has asked for.
    fn judge_end(&mut self, broker: i32, how: &str) {
        if self.is_dismissed || self.excused.remove(&broker) || !self.is_up(broker) {
            return;
        }
        let held = self.tree.replicas_of(broker);
        if held == 0 {
            return;
        }
        let permit = self.permit.as_ref().filter(|permit| {
            permit.broker == broker && self.lives(permit) && !self.is_over(permit)
        });
        let accept = permit.map(|permit| permit.accept);
        let harm = self.harm(broker);
        let named = |blocked: &[broker_admin::v1::BlockedPartition]| {
            let names = blocked.iter().map(|one| format!("{}-{}", one.topic, one.partition));
            names.collect::<Vec<_>>().join(", ")
        };
        let (falls, anyway) = (named(&harm.falls), named(&harm.falls_anyway));
        let mut wrong = Vec::new();
        if accept.is_none() {
            wrong.push(format!("broker {broker} {how} without a permit, with {held} replicas"));
        }
        if !falls.is_empty() && accept != Some(Accept::Everything) {
            wrong.push(format!("broker {broker} {how}: {falls} fall below min.insync.replicas"));
        }
        if !anyway.is_empty() && !matches!(accept, Some(Accept::Everything | Accept::Unavoidable)) {
            wrong.push(format!("broker {broker} {how}: {anyway} have too few replicas"));
        }
        for other in self.restarting.iter().filter(|other| **other != broker) {
            wrong.push(format!("broker {broker} {how} while broker {other} is not back"));
        }
        for words in wrong {
            self.violate(&words);
        }
        self.restarting.insert(broker);
    }

    fn start(&mut self, store: &Store, uid: &str, pod: &Value) {
        let Some(broker) = broker_of(pod) else { return };
        let node = Key::new("nodes", "", text(pod, "/spec/nodeName"));
        let has_node = store.get(&node).is_some_and(|node| condition::is(node, "Ready"));
        if let Some(process) = self.processes.get(&broker) {
            if process.uid != uid {
                self.violate(&format!("broker {broker} runs twice"));
            } else if !has_node {
                self.end(broker);
            }
            return;
        }
        if !has_node {
            return;
        }
        let (settings, version) = match self.wants(store, pod) {
            Ok(wanted) => wanted,
            Err(is) => {
                if self.waiting.insert(uid.to_owned(), is.clone()) != Some(is) {
                    self.touch();
                }
                return;
            }
        };
        self.look_at_restart(broker, pod);
        self.waiting.remove(uid);
        *self.starts.entry(broker).or_default() += 1;
        self.touch();
        let process = Process {
            broker,
            pod: text(pod, "/metadata/name").to_owned(),
            uid: uid.to_owned(),
            id: self.revision,
            version,
            settings,
            started: self.now,
            stopping: None,
            registered: None,
            epoch: None,
            end: CancellationToken::new(),
        };
        self.processes.insert(broker, process);
    }

    /// What the process is started with, and its release; or what the pod is instead.
    fn wants(
        &self,
        store: &Store,
        pod: &Value,
    ) -> Result<(BTreeMap<String, String>, String), PodIs> {
        if broker_of(pod).is_some_and(|broker| self.broken.contains(&broker)) {
            return Err(PodIs::Waiting("CrashLoopBackOff"));
        }
        let release = release_of(pod);
        if self.missing_releases.contains(&release) {
            return Err(PodIs::Waiting("ImagePullBackOff"));
        }
        match files::read(store, pod) {
            Files::Missing => Err(PodIs::Waiting("ContainerCreating")),
            Files::Refused(_) => Err(PodIs::Waiting("CrashLoopBackOff")),
            Files::Settings(settings) => {
                let is_refused =
                    |(name, value): (&String, &String)| settings.get(name) == Some(value);
                if self.refused_settings.iter().any(is_refused) {
                    return Err(PodIs::Waiting("CrashLoopBackOff"));
                }
                Ok((settings, release))
            }
        }
    }

    fn look_at_restart(&mut self, broker: i32, pod: &Value) {
        let Some(past) = self.past.remove(&broker) else { return };
        if past.was_ended && past.made_of == made_of(pod) && !self.is_dismissed {
            let words = format!("broker {broker} was restarted and is made of the same");
            self.violate(&words);
        }
    }

    /// A broker that holds replicas keeps its set and its disks.
    fn look_at_disks(&mut self, store: &Store) {
        if self.is_dismissed {
            return;
        }
        let namespace = self.namespace.clone();
        let ids: BTreeSet<i32> = self.disks.keys().chain(self.processes.keys()).copied().collect();
        let claims = |broker: i32| -> Vec<String> {
            let suffix = format!("-{}-{broker}-0", self.name);
            let all = store.list("persistentvolumeclaims", &namespace);
            let own = all.filter(|(key, _)| key.name.ends_with(&suffix));
            own.map(|(_, claim)| text(claim, "/metadata/uid").to_owned()).collect()
        };
        let has_set = |broker: i32| {
            let key = Key::new("statefulsets.apps", &namespace, &format!("{}-{broker}", self.name));
            store.get(&key).is_some_and(|set| {
                !is_going(set) && set.pointer("/spec/replicas").is_none_or(|count| *count == 1)
            })
        };
        let mut now = BTreeMap::new();
        let mut wrong = Vec::new();
        for broker in ids {
            let (held, claims) = (self.tree.replicas_of(broker), claims(broker));
            let before = self.disks.get(&broker);
            let is_lost = before.is_some_and(|uids| uids.iter().any(|uid| !claims.contains(uid)));
            let is_there = has_set(broker);
            if held > 0 && is_lost {
                wrong.push(format!("a disk of broker {broker} is gone, with {held} replicas"));
            }
            // A set may be made anew around a pod that runs on: it is judged when that ends.
            let runs_on = self.processes.get(&broker).is_some_and(|one| one.stopping.is_none());
            if held > 0 && !is_there && !runs_on && before.is_some() {
                wrong.push(format!("broker {broker} was taken away with {held} replicas"));
            }
            if is_there || (runs_on && before.is_some()) {
                now.insert(broker, claims);
            }
        }
        for words in wrong {
            self.violate(&words);
        }
        self.disks = now;
    }
}

fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn broker_of(pod: &Value) -> Option<i32> {
    text(pod, BROKER_LABEL).parse().ok()
}

/// What a pod is made of: its revision, and its image.
fn made_of(pod: &Value) -> String {
    format!("{} {}", text(pod, REVISION), image_of(pod))
}

fn image_of(pod: &Value) -> String {
    let image = items(pod, "/spec/containers").iter().find(|one| one["name"] == "broker");
    image.map_or("", |container| text(container, "/image")).to_owned()
}

/// The tag of the image.
fn release_of(pod: &Value) -> String {
    let image = image_of(pod);
    let name = image.split('@').next().unwrap_or_default();
    name.rsplit_once(':').map_or("", |(_, tag)| tag).to_owned()
}
