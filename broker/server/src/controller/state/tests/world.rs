//! The world around the controller: carries out its effects, and lets time pass for brokers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;

use super::brokers::{Process, Record};
use super::tree::{TopicNode, Tree};
use crate::controller::state::effect::{Change, Effect, What};
use crate::controller::state::event::{Assignment, Event, LiveBroker, ReplicaEnd, WriteError};
use crate::controller::state::request::{Altered, Reply, Request, Token};
use crate::controller::state::{Balance, Settings, State};

/// What goes wrong, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// A leader of an old version writes first.
    pub(super) overtaken: u8,
    /// A write is made and called a conflict.
    pub(super) misread: u8,
    /// A reading is delivered late.
    pub(super) late: u8,
}

/// An AlterPartition on its way.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) leader: BrokerId,
    pub(super) partition: TopicPartition,
    pub(super) proposal: crate::controller::state::request::IsrProposal,
    pub(super) broker_epoch: i64,
}

/// Everything.
pub(super) struct World {
    pub(super) state: State,
    pub(super) tree: Tree,
    pub(super) processes: BTreeMap<BrokerId, Process>,
    /// What disks hold while no process runs.
    pub(super) disks: BTreeMap<BrokerId, Process>,
    pub(super) replies: BTreeMap<Token, Reply>,
    pub(super) asking: BTreeMap<Token, Asking>,
    /// What the controller will be told, in order for each source.
    pub(super) events: VecDeque<Event>,
    pub(super) effects: Vec<Effect>,
    pub(super) writes: usize,
    pub(super) committed: BTreeMap<TopicPartition, Vec<Record>>,
    pub(super) faults: Faults,
    pub(super) random: fastrand::Rng,
    pub(super) now: Duration,
    pub(super) tokens: u64,
    pub(super) records: u64,
    /// Partitions that an unclean election was ever allowed for.
    pub(super) is_loss_allowed: BTreeSet<TopicPartition>,
}

pub(super) fn settings() -> Settings {
    Settings {
        balance: Some(Balance { percent: 10, interval: Duration::from_mins(5) }),
        elects_uncleanly: false,
        deletes_topics: true,
        marks_recovery: true,
    }
}

pub(super) fn part(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

pub(super) fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

impl World {
    /// A cluster of `brokers` that are all registered, with a controller that has loaded it.
    pub(super) fn new(brokers: i32, seed: u64) -> Self {
        let mut world = Self {
            state: State::new(1, settings()),
            tree: Tree { controller_epoch: 1, ..Tree::default() },
            processes: BTreeMap::new(),
            disks: BTreeMap::new(),
            replies: BTreeMap::new(),
            asking: BTreeMap::new(),
            events: VecDeque::new(),
            effects: Vec::new(),
            writes: 0,
            committed: BTreeMap::new(),
            faults: Faults::default(),
            random: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            tokens: 0,
            records: 0,
            is_loss_allowed: BTreeSet::new(),
        };
        for id in 1..=brokers {
            world.start(BrokerId(id), BTreeSet::new());
        }
        world.load();
        world
    }

    /// Replaces the controller by one of the next term.
    pub(super) fn fail_over(&mut self) {
        self.tree.controller_epoch += 1;
        let settings = self.state.settings.clone();
        let planted = self.state.planted;
        self.state = State::new(self.tree.controller_epoch, settings);
        self.state.planted = planted;
        self.events.clear();
        self.asking.clear();
        self.tree.proposals.clear();
        self.tree.leaving.clear();
        for process in self.processes.values_mut() {
            // Requests of the last controller that are still on their way are refused.
            process.inbox.clear();
            for replica in process.replicas.values_mut() {
                replica.proposed = replica.proposed.take();
            }
        }
        self.load();
    }

    fn load(&mut self) {
        let snapshot = self.tree.snapshot();
        self.tree.known = epochs(&snapshot.brokers);
        self.apply(Event::Loaded(Box::new(snapshot)));
    }

    /// Starts a broker's process on its disk, and registers it.
    pub(super) fn start(&mut self, id: BrokerId, unproven: BTreeSet<TopicPartition>) {
        self.tree.zxid += 1;
        let epoch = self.tree.zxid;
        let mut process = self.disks.remove(&id).unwrap_or_default();
        process.resign();
        process.metadata.clear();
        process.epoch = epoch;
        self.processes.insert(id, process);
        let broker =
            LiveBroker { epoch, endpoints: Arc::new([]), rack: None, unproven: Arc::new(unproven) };
        self.tree.brokers.insert(id, broker);
    }

    /// Kills a broker's process; its registration stands until its session is over.
    pub(super) fn kill(&mut self, id: BrokerId) {
        if let Some(process) = self.processes.remove(&id) {
            self.disks.insert(id, process);
        }
    }

    pub(super) fn expire(&mut self, id: BrokerId) {
        self.tree.brokers.remove(&id);
    }

    /// Has the controller read the registrations.
    pub(super) fn brokers_seen(&mut self) {
        let brokers = self.tree.brokers.clone();
        let epochs = epochs(&brokers);
        let is_same = |id: &BrokerId| self.tree.known.get(id) == epochs.get(id);
        self.tree.leaving.retain(is_same);
        self.tree.known = epochs;
        self.apply(Event::Brokers(brokers));
    }

    /// Writes a topic's node as a client does; `id` is absent as old tools leave it.
    pub(super) fn create(&mut self, name: &str, replicas: &[&[i32]], with_id: bool) {
        let id = with_id.then(|| self.tree.fresh_id());
        let assignments = replicas.iter().map(|of| Assignment::settled(ids(of)));
        let node = TopicNode {
            version: 0,
            id,
            partitions: (0..).zip(assignments).collect(),
            states: BTreeMap::new(),
        };
        self.tree.topics.insert(name.into(), node);
    }

    pub(super) fn topic_seen(&mut self, name: &str) {
        let name: Arc<str> = name.into();
        let event = match self.tree.read_topic(&name) {
            Some(read) => Event::Topics(vec![read]),
            None => Event::TopicsGone(vec![name]),
        };
        self.apply(event);
    }

    pub(super) fn ask(&mut self, request: Request) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.apply(Event::Asked { token, request });
        token
    }

    /// Tells the controller, and carries out all that follows.
    pub(super) fn apply(&mut self, event: Event) {
        if let Event::Asked { request: Request::ControlledShutdown { broker, .. }, .. } = &event {
            self.tree.leaving.insert(*broker);
        }
        self.effects.clear();
        let mut effects = self.state.apply(event);
        loop {
            let mut answer = None;
            for (index, effect) in effects.iter().enumerate() {
                if let Effect::Write { batch, changes } = effect {
                    assert_eq!(index + 1, effects.len(), "a write is the last effect");
                    assert!(!changes.is_empty(), "a write changes something");
                    let outcome = changes.iter().map(|change| self.write(change)).collect();
                    answer = Some(Event::Written { batch: *batch, outcome });
                    self.writes += 1;
                }
            }
            for effect in effects.drain(..) {
                self.effects.push(effect.clone());
                self.carry_out(effect);
            }
            let Some(answer) = answer else { break };
            effects = self.state.apply(answer);
        }
    }

    fn write(&mut self, change: &Change) -> Result<i32, WriteError> {
        if let Change::SetState { partition, .. } = change
            && self.random.u8(..100) < self.faults.overtaken
        {
            self.leader_writes(partition);
        }
        let outcome = self.tree.change(change);
        let is_misread = self.random.u8(..100) < self.faults.misread;
        let can_be = matches!(change, Change::SetState { .. } | Change::SetTopic { .. });
        if can_be && is_misread { outcome.and(Err(WriteError::Conflict)) } else { outcome }
    }

    /// A leader of an old version takes a follower out of its ISR by itself.
    pub(super) fn leader_writes(&mut self, partition: &TopicPartition) -> bool {
        let Some(state) = self.tree.state_mut(partition) else { return false };
        let Some(leader) = state.leader else { return false };
        let Some(process) = self.processes.get_mut(&leader) else { return false };
        let Some(replica) = process.replicas.get_mut(partition) else { return false };
        let leads = replica.told.as_ref().is_some_and(|told| {
            told.leader == Some(leader) && told.leader_epoch == state.leader_epoch
        });
        if !leads || state.isr.len() < 2 || replica.partition_epoch != state.version {
            return false;
        }
        state.isr.retain(|member| *member == leader);
        state.version += 1;
        replica.isr.clone_from(&state.isr);
        replica.partition_epoch = state.version;
        true
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Write { .. } => {}
            Effect::Brokers(brokers) => {
                assert_eq!(epochs(&brokers), self.tree.known, "channels follow what was read");
                for (id, process) in &mut self.processes {
                    if brokers.get(id).is_none_or(|known| known.epoch != process.epoch) {
                        process.inbox.clear();
                    }
                }
            }
            Effect::Send { broker, whole, directives } => {
                let epoch = self.tree.known.get(&broker).copied();
                assert!(epoch.is_some(), "only who is registered is told");
                let Some(process) = self.processes.get_mut(&broker) else { return };
                if Some(process.epoch) == epoch {
                    if whole {
                        process.inbox.clear();
                    }
                    process.inbox.extend(directives);
                }
            }
            Effect::Reply { token, reply } => self.replied(token, reply),
            Effect::AskEnds(questions) => {
                let ends = questions.into_iter().map(|(broker, partition)| {
                    let epoch = self.tree.known.get(&broker).copied().unwrap_or(-1);
                    let process = self.processes.get(&broker).filter(|p| p.epoch == epoch);
                    let replica = process.and_then(|process| process.replicas.get(&partition));
                    let end = replica.map(super::brokers::Replica::end);
                    ReplicaEnd { broker, epoch, partition, end }
                });
                let ends = ends.collect();
                self.events.push_back(Event::Ends(ends));
            }
            Effect::Read(what) => self.read(what),
            Effect::Resign => panic!("nobody else has been elected"),
        }
    }

    fn read(&mut self, what: What) {
        let event = match what {
            What::States(states) => {
                let read = |name: TopicPartition| {
                    let state = self.tree.read_state(&name);
                    (name, state)
                };
                Event::States(states.into_iter().map(read).collect())
            }
            What::Topics(topics) => {
                let (there, gone): (Vec<_>, Vec<_>) =
                    topics.into_iter().partition(|name| self.tree.topics.contains_key(name));
                if !gone.is_empty() {
                    self.events.push_back(Event::TopicsGone(gone));
                }
                let tree = &mut self.tree;
                Event::Topics(there.iter().filter_map(|name| tree.read_topic(name)).collect())
            }
            What::ProducerIds => Event::ProducerIds(self.tree.producer_ids()),
        };
        self.events.push_back(event);
    }

    fn replied(&mut self, token: Token, reply: Reply) {
        if let Some(asking) = self.asking.remove(&token) {
            let of_it = |(leader, name, asked): &(BrokerId, TopicPartition, _)| {
                *leader == asking.leader && *name == asking.partition && *asked == asking.proposal
            };
            if let Some(index) = self.tree.proposals.iter().position(of_it) {
                self.tree.proposals.remove(index);
            }
            self.altered(&asking, &reply);
        }
        let is_new = self.replies.insert(token, reply).is_none();
        assert!(is_new, "a request is answered once");
    }

    /// A leader hears what became of its proposal.
    fn altered(&mut self, asking: &Asking, reply: &Reply) {
        let Some(process) = self.processes.get_mut(&asking.leader) else { return };
        let Some(replica) = process.replicas.get_mut(&asking.partition) else { return };
        let Reply::AlterPartition(Ok(results)) = reply else {
            replica.proposed = None;
            return;
        };
        for (_, result) in results {
            let told = replica.told.as_ref().map(|told| told.leader_epoch);
            if told != Some(asking.proposal.leader_epoch) {
                continue;
            }
            match result {
                Ok(Altered { isr, partition_epoch, .. })
                    if *partition_epoch >= replica.partition_epoch =>
                {
                    replica.isr.clone_from(isr);
                    replica.partition_epoch = *partition_epoch;
                    replica.proposed = None;
                }
                Ok(_) => {}
                Err(_) => replica.proposed = None,
            }
        }
    }

    /// Delivers one thing that is on its way to the controller; false if there is none.
    pub(super) fn deliver(&mut self) -> bool {
        let Some(event) = self.events.pop_front() else { return false };
        self.apply(event);
        true
    }

    /// Has a broker apply its next directive; false if it has none.
    pub(super) fn step(&mut self, id: BrokerId) -> bool {
        let Some(process) = self.processes.get_mut(&id) else { return false };
        if process.inbox.is_empty() {
            return false;
        }
        let epoch = process.epoch;
        if let Some(answer) = process.step(id) {
            self.events.push_back(Event::Answered { broker: id, epoch, answer });
        }
        true
    }

    /// Lets everybody do what there is to do, until nothing is on its way.
    pub(super) fn settle(&mut self) {
        for _ in 0..1_000_000 {
            let mut moved = self.deliver();
            for id in self.processes.keys().copied().collect::<Vec<_>>() {
                moved |= self.step(id);
            }
            if !moved {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub(super) fn tick(&mut self, by: Duration) {
        self.now += by;
        self.apply(Event::Tick(self.now));
    }

    /// Leader, leader epoch and ISR of a partition, as the tree has them.
    pub(super) fn state_of(&self, partition: &TopicPartition) -> (i32, i32, Vec<i32>) {
        let Some(state) = self.tree.read_state(partition) else { return (-2, -2, Vec::new()) };
        let isr = state.isr.iter().map(|id| id.0).collect();
        (state.leader.map_or(-1, |id| id.0), state.leader_epoch.0, isr)
    }

    pub(super) fn led_by(&self, partition: &TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        let state = self.tree.read_state(partition)?;
        Some((state.leader?, state.leader_epoch))
    }
}

pub(super) fn epochs(brokers: &BTreeMap<BrokerId, LiveBroker>) -> BTreeMap<BrokerId, i64> {
    brokers.iter().map(|(id, broker)| (*id, broker.epoch)).collect()
}
