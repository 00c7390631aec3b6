//! One cluster of brokers as the model sees it: its tree, its processes, and what must never happen.
//!
//! Synchronous: a call, or a look at the pods, is one change under one lock. Time is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::permit::Permit;
use super::process::Process;
use super::replication::Stand;
use super::tree::{Controller, Topic, Tree};
use crate::support::fake::world::PodIs;

/// How fast things go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// From a pod's start to the open admin port, and to the registration.
    pub(crate) port: Duration,
    pub(crate) registration: Duration,
    /// From the registration to being in sync.
    pub(crate) catching_up: Duration,
    /// From the request to stop to the end of the process.
    pub(crate) stop: Duration,
    /// From the mark to the end of a topic.
    pub(crate) deletion: Duration,
    /// Bytes of each new partition, and how many a new replica copies in a second.
    pub(crate) partition_size: u64,
    pub(crate) copied_per_second: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            port: Duration::from_secs(1),
            registration: Duration::from_secs(3),
            catching_up: Duration::from_secs(6),
            stop: Duration::from_secs(2),
            deletion: Duration::from_secs(3),
            partition_size: 30 << 20,
            copied_per_second: 10 << 20,
        }
    }
}

/// One call of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The client's connection.
    pub(crate) client: String,
    /// Who was asked.
    pub(crate) broker: i32,
    /// `SetCordon`.
    pub(crate) call: &'static str,
    /// `Ok`, or the code of the refusal.
    pub(crate) code: tonic::Code,
    /// Whether anything was changed.
    pub(crate) has_changed: bool,
}

/// A broker's pod that has gone, or is going.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// The template's revision and image.
    pub(crate) made_of: String,
    /// Whether the operator ended it while it served.
    pub(crate) was_ended: bool,
}

/// The cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) pace: Pace,
    pub(crate) now: Duration,
    /// Counts changes.
    pub(crate) revision: u64,
    pub(crate) tree: Tree,
    /// Topics whose replicas may go on, and what brokers were when the others came to rest.
    pub(crate) restless: BTreeSet<String>,
    pub(crate) stood: Stand,
    /// By broker id.
    pub(crate) processes: BTreeMap<i32, Process>,
    /// What pods without a process are, by uid.
    pub(crate) waiting: BTreeMap<String, PodIs>,
    pub(crate) permit: Option<Permit>,
    pub(crate) last_epoch: i64,
    /// Releases whose images cannot be had, and settings with which a broker does not start.
    pub(crate) missing_releases: BTreeSet<String>,
    pub(crate) refused_settings: BTreeMap<String, String>,
    /// Brokers that do not start, whatever they are made of.
    pub(crate) broken: BTreeSet<i32>,
    /// Topics that brokers do not delete.
    pub(crate) refused_deletions: BTreeSet<String>,
    /// What each release speaks, where that is not the usual.
    pub(crate) protocols: BTreeMap<String, Vec<String>>,
    /// The claims that each broker's disks were, by uid.
    pub(crate) disks: BTreeMap<i32, Vec<String>>,
    /// The last pod of each broker that went.
    pub(crate) past: BTreeMap<i32, Past>,
    /// Brokers that the operator has taken down and that are not back yet.
    pub(crate) restarting: BTreeSet<i32>,
    /// Brokers whose pod the test ends, or their node: nobody is to blame.
    pub(crate) excused: BTreeSet<i32>,
    /// Whether the cluster's object is going or gone: then nothing is to be kept.
    pub(crate) is_dismissed: bool,
    /// How often each broker was started.
    pub(crate) starts: BTreeMap<i32, u32>,
    pub(crate) violations: Vec<String>,
    pub(crate) asked: Vec<Asked>,
}

impl State {
    /// Returns the same cluster for another run: nobody is connected.
    pub(crate) fn apart(&self) -> Self {
        let mut state = self.clone();
        for process in state.processes.values_mut() {
            process.end = CancellationToken::new();
        }
        state
    }

    /// Counts a change.
    pub(crate) fn touch(&mut self) {
        self.revision += 1;
    }

    /// Says that what must never happen has happened.
    pub(crate) fn violate(&mut self, words: &str) {
        self.violations.push(format!("{}: {words}", self.name));
    }

    /// Whether a broker is registered and does not stop.
    pub(crate) fn is_up(&self, broker: i32) -> bool {
        self.processes.get(&broker).is_some_and(Process::is_up)
    }

    /// The broker epoch of a registered broker.
    pub(crate) fn epoch(&self, broker: i32) -> Option<i64> {
        self.processes.get(&broker).and_then(|process| process.epoch)
    }

    /// `min.insync.replicas` of a topic.
    pub(crate) fn min_isr(&self, topic: &Topic) -> usize {
        const NAME: &str = "min.insync.replicas";
        let started_with = self.processes.values().find_map(|one| one.settings.get(NAME));
        let said = topic.settings.get(NAME).or_else(|| self.tree.settings.get(NAME));
        said.or(started_with).and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    /// Changes the topic `name`, and counts that.
    pub(crate) fn change_topic(&mut self, name: &str, change: impl FnOnce(&mut Topic)) {
        self.touch();
        self.restless.insert(name.to_owned());
        let revision = self.revision;
        if let Some(topic) = self.tree.topics.get_mut(name) {
            change(topic);
            topic.changed = revision;
        }
    }

    /// Moves on to `now`: brokers register and catch up, replicas are copied, topics go.
    pub(crate) fn advance(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now);
        self.now = now.max(self.now);
        self.register();
        self.elect_controller();
        self.replicate(passed);
        self.purge();
        self.see_who_is_back();
    }

    fn register(&mut self) {
        let (now, wait) = (self.now, self.pace.registration);
        for process in self.processes.values_mut() {
            let is_due = process.stopping.is_none() && now >= process.started + wait;
            if process.epoch.is_none() && is_due {
                self.last_epoch += 1;
                process.epoch = Some(self.last_epoch);
                process.registered = Some(now);
                self.revision += 1;
            }
        }
    }

    fn elect_controller(&mut self) {
        let present = self.tree.controller;
        if present.is_some_and(|controller| self.is_up(controller.broker)) {
            return;
        }
        let next = self.processes.keys().copied().find(|broker| self.is_up(*broker));
        let Some(broker) = next else { return };
        // The successor knows of no permit.
        self.permit = None;
        let epoch = present.map_or(1, |controller| controller.epoch + 1);
        self.tree.controller = Some(Controller { broker, epoch, since: self.now });
        self.touch();
    }

    fn purge(&mut self) {
        let is_over = |topic: &Topic| {
            topic.deleting.is_some_and(|since| self.now >= since + self.pace.deletion)
                && topic.partitions.iter().flat_map(|one| &one.replicas).all(|id| self.is_up(*id))
        };
        let over: Vec<String> = self
            .tree
            .topics
            .iter()
            .filter(|(_, topic)| is_over(topic))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            self.tree.topics.remove(&name);
            self.tree.topic_throttles.remove(&name);
            self.touch();
        }
    }

    /// A broker is back once it is in sync wherever it can be.
    fn see_who_is_back(&mut self) {
        let lacks = |broker: i32| {
            let mut partitions = self.tree.partitions();
            partitions.any(|(_, _, one)| {
                let is_due = one.replicas.contains(&broker) && !one.adding.contains(&broker);
                is_due && !one.isr.contains(&broker) && one.leader.is_some()
            })
        };
        let back: Vec<i32> =
            self.restarting.iter().copied().filter(|id| self.is_up(*id) && !lacks(*id)).collect();
        for broker in back {
            self.restarting.remove(&broker);
        }
    }
}
