//! The world around the controller: carries out its effects, and lets time pass for brokers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::brokers::{Process, Record};
use super::deposed::Deposed;
use super::tree::{TopicNode, Tree};
use crate::control::state::Sender;
use crate::controller::state::assignment::Assignment;
use crate::controller::state::effect::{Change, Directive, Effect, Extent, What};
use crate::controller::state::event::{
    Answer, Event, LiveBroker, Outcome, ReplicaEnd, Said, WriteError,
};
use crate::controller::state::request::{Altered, ElectionKind, Reply, Request, Token};
use crate::controller::state::story::Line;
use crate::controller::state::{Balance, Settings, State};

/// What goes wrong, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// A leader of an old version writes first.
    pub(super) overtaken: u8,
    /// A write is made and called a conflict.
    pub(super) misread: u8,
    /// A broker cannot obey just now, and says so.
    pub(super) refused: u8,
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
    /// The controller before, where it lives on.
    pub(super) deposed: Option<Deposed>,
    pub(super) tree: Tree,
    pub(super) processes: BTreeMap<BrokerId, Process>,
    /// What disks hold while no process runs.
    pub(super) disks: BTreeMap<BrokerId, Process>,
    pub(super) replies: BTreeMap<Token, Reply>,
    pub(super) asking: BTreeMap<Token, Asking>,
    /// What the controller will be told, in order for each source.
    pub(super) events: VecDeque<Event>,
    pub(super) effects: Vec<Effect>,
    /// What the last turn had to tell.
    pub(super) told: Vec<Line>,
    pub(super) writes: usize,
    pub(super) committed: BTreeMap<(Uuid, i32), Vec<Record>>,
    pub(super) faults: Faults,
    pub(super) random: fastrand::Rng,
    pub(super) now: Duration,
    pub(super) tokens: u64,
    pub(super) records: u64,
    /// Where records were written: no place is written to twice in one leader epoch.
    pub(super) written: BTreeSet<((Uuid, i32), i32, usize)>,
    /// The leader epoch since which an election was allowed to give up what leaders before it hold.
    pub(super) given_up: BTreeMap<(Uuid, i32), i32>,
    /// Partitions that an unclean election is asked for, and not done.
    pub(super) asked_unclean: BTreeMap<TopicPartition, Token>,
    /// The last proposal for each partition that was granted.
    pub(super) granted: BTreeMap<TopicPartition, Asking>,
    /// Proposals on their way to the controller.
    pub(super) in_flight: Vec<Asking>,
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
            deposed: None,
            tree: Tree { controller_epoch: 1, ..Tree::default() },
            processes: BTreeMap::new(),
            disks: BTreeMap::new(),
            replies: BTreeMap::new(),
            asking: BTreeMap::new(),
            events: VecDeque::new(),
            effects: Vec::new(),
            told: Vec::new(),
            writes: 0,
            committed: BTreeMap::new(),
            faults: Faults::default(),
            random: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            tokens: 0,
            records: 0,
            written: BTreeSet::new(),
            given_up: BTreeMap::new(),
            asked_unclean: BTreeMap::new(),
            granted: BTreeMap::new(),
            in_flight: Vec::new(),
        };
        for id in 1..=brokers {
            world.start(BrokerId(id), BTreeSet::new());
        }
        world.load();
        world
    }

    /// Replaces the controller by one of the next term, and does not tell it.
    pub(super) fn fail_over(&mut self) {
        self.tree.controller_epoch += 1;
        let settings = self.state.settings.clone();
        let planted = self.state.planted;
        let next = State::new(self.tree.controller_epoch, settings);
        let state = std::mem::replace(&mut self.state, next);
        self.deposed = Some(Deposed { state, known: self.tree.known.clone() });
        self.state.planted = planted;
        self.events.clear();
        self.asking.clear();
        self.tree.proposals.clear();
        self.tree.leaving.clear();
        self.tree.refusing.clear();
        self.load();
    }

    fn load(&mut self) {
        let snapshot = self.tree.snapshot();
        self.tree.known = epochs(&snapshot.brokers);
        self.apply(Event::Loaded(Box::new(snapshot)));
    }

    /// Registers a process that lives on after its session: it gave up what it did, and knows what it knew.
    pub(super) fn register_again(&mut self, id: BrokerId) {
        let metadata = self.processes.get(&id).map(|process| process.metadata.clone());
        self.kill(id);
        let doubted = self.disks.get(&id).into_iter().flat_map(|disk| &disk.replicas);
        let doubted = doubted.filter(|(_, replica)| replica.is_cut);
        let unproven = doubted.map(|(partition, _)| partition.clone()).collect();
        self.start(id, unproven);
        if let (Some(process), Some(metadata)) = (self.processes.get_mut(&id), metadata) {
            process.metadata = metadata;
        }
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
        self.tree.hidden.remove(&id);
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
        self.tree.hidden.remove(&id);
    }

    /// Has the controller read the registrations.
    pub(super) fn brokers_seen(&mut self) {
        let brokers = self.tree.brokers.clone();
        let epochs = epochs(&brokers);
        let is_same = |id: &BrokerId| self.tree.known.get(id) == epochs.get(id);
        self.tree.leaving.retain(is_same);
        self.tree.refusing.retain(is_same);
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
        if self.tree.unread.contains(&name) && self.tree.topics.contains_key(&name) {
            self.apply(Event::TopicsUnread(vec![name]));
            return;
        }
        let event = match self.tree.read_topic(&name) {
            Some(read) => Event::Topics(vec![read]),
            None => Event::TopicsGone(vec![name]),
        };
        self.apply(event);
    }

    pub(super) fn ask(&mut self, request: Request) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        if let Request::ElectLeaders { kind: ElectionKind::Unclean, partitions } = &request {
            let asked = partitions.iter().flatten().cloned();
            self.asked_unclean.extend(asked.map(|partition| (partition, token)));
        }
        self.apply(Event::Asked { token, request });
        token
    }

    /// Tells the controller, and carries out all that follows before anything else happens.
    pub(super) fn apply(&mut self, event: Event) {
        if let Event::Asked { request: Request::ControlledShutdown { broker, .. }, .. } = &event {
            self.tree.leaving.insert(*broker);
        }
        if let Event::Refused { broker, epoch } = &event
            && self.tree.known.get(broker) == Some(epoch)
        {
            self.tree.refusing.insert(*broker);
        }
        if let Event::Reached { broker, epoch } = &event
            && self.tree.known.get(broker) == Some(epoch)
        {
            self.tree.refusing.remove(broker);
        }
        self.effects.clear();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.state.apply(event);
            let count = effects.len();
            for (index, effect) in effects.into_iter().enumerate() {
                self.effects.push(effect.clone());
                match effect {
                    Effect::Write { batch, changes } => {
                        assert_eq!(index + 1, count, "a write is the last effect");
                        assert!(!changes.is_empty(), "a write changes something");
                        let outcome = changes.iter().map(|change| self.write(change)).collect();
                        events.push_front(Event::Written { batch, outcome });
                        self.writes += 1;
                    }
                    Effect::Read(what) => events.extend(self.read(what)),
                    Effect::Brokers(_)
                    | Effect::Send { .. }
                    | Effect::Reply { .. }
                    | Effect::AskEnds(_)
                    | Effect::Resign => self.carry_out(effect),
                }
            }
        }
        self.told = self.state.take_story();
        // Who was answered expects nothing more.
        self.asked_unclean.retain(|_, token| !self.replies.contains_key(token));
    }

    fn write(&mut self, change: &Change) -> Result<i32, WriteError> {
        if let Change::SetState { partition, .. } = change
            && self.random.u8(..100) < self.faults.overtaken
        {
            self.leader_writes(partition);
        }
        if let Change::SetState { partition, .. } | Change::CreateState { partition, .. } = change
            && !self.is_same_topic(&partition.topic)
        {
            // A topic that was made again unseen could be written by its name: nothing in the tree
            // tells, neither here nor for Kafka. It is left out.
            return Err(WriteError::Missing);
        }
        if let Change::SetTopic { topic, .. } = change
            && self.tree.topics.contains_key(topic)
            && !self.is_same_topic(topic)
        {
            // Likewise, where the node has the version of the one before.
            return Err(WriteError::Conflict);
        }
        if let Change::SetState { partition, version, state } = change
            && self.tree.read_state(partition).is_some_and(|former| former.version == *version)
        {
            self.audit_election(partition, state);
        }
        if let Change::SetTopic { topic, id, .. } = change {
            self.takes_id(topic, *id);
        }
        let outcome = self.tree.change(change);
        let is_misread = self.random.u8(..100) < self.faults.misread;
        let can_be = matches!(change, Change::SetState { .. } | Change::SetTopic { .. });
        if can_be && is_misread { outcome.and(Err(WriteError::Conflict)) } else { outcome }
    }

    /// A topic that was made again without an id, and of which another partition has a state by a write that was on
    /// its way, cannot be told from the one before: it takes its id. What was acknowledged went with the states.
    fn takes_id(&mut self, topic: &Arc<str>, id: Uuid) {
        let Some(node) = self.tree.topics.get(topic).filter(|node| node.id.is_none()) else {
            return;
        };
        let is_left = |(of, number): &(Uuid, i32)| *of != id || node.states.contains_key(number);
        self.committed.retain(|key, _| is_left(key));
        self.written.retain(|(key, ..)| is_left(key));
    }

    fn is_same_topic(&self, name: &Arc<str>) -> bool {
        let held = self.tree.topics.get(name).and_then(|node| node.id);
        held.is_none_or(|held| self.state.topics.get(name).is_some_and(|known| known.id == held))
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
            Effect::Write { .. } | Effect::Read(_) => {}
            Effect::Brokers(brokers) => {
                assert_eq!(epochs(&brokers), self.tree.known, "channels follow what was read");
                let epoch = self.state.controller_epoch;
                for (id, process) in &mut self.processes {
                    if brokers.get(id).is_none_or(|known| known.epoch != process.epoch) {
                        process.inbox.retain(|(sender, _)| sender.controller_epoch != epoch);
                    }
                }
            }
            Effect::Send { broker, extent, directives } => {
                let known = self.tree.known.get(&broker).copied();
                self.send((self.state.controller_epoch, known), broker, extent, directives);
            }
            Effect::Reply { token, reply } => self.replied(token, reply),
            Effect::AskEnds(questions) => {
                let ends = questions.into_iter().map(|(broker, partition, leader_epoch)| {
                    let epoch = self.tree.known.get(&broker).copied().unwrap_or(-1);
                    let process = self.processes.get(&broker).filter(|p| p.epoch == epoch);
                    let said = process.map_or(Said::Silence, |process| {
                        super::records::said(process.replicas.get(&partition), leader_epoch)
                    });
                    ReplicaEnd { broker, epoch, leader_epoch, partition, said }
                });
                let ends = ends.collect();
                self.events.push_back(Event::Ends(ends));
            }
            Effect::Resign => panic!("nobody else has been elected"),
        }
    }

    /// Sends what a controller of an epoch says to a broker that is registered as it knows. What says more than
    /// a part comes at once, by a connection of its own; the broker decides whom it obeys.
    pub(super) fn send(
        &mut self,
        (controller_epoch, known): (i32, Option<i64>),
        broker: BrokerId,
        extent: Extent,
        directives: Vec<Directive>,
    ) {
        let Some(broker_epoch) = known else { panic!("only who is registered is told") };
        let Some(process) = self.processes.get_mut(&broker) else { return };
        let sender = Sender { controller: BrokerId(0), controller_epoch, broker_epoch };
        if extent != Extent::Part {
            process.inbox.retain(|(other, _)| other.controller_epoch != controller_epoch);
            if process.control.admit(sender, process.epoch).is_err() {
                return;
            }
        }
        if extent == Extent::All {
            process.sweep(&directives);
        }
        process.inbox.extend(directives.into_iter().map(|directive| (sender, directive)));
    }

    pub(super) fn read(&mut self, what: What) -> Vec<Event> {
        match what {
            What::States(states) => {
                let read = |name: TopicPartition| {
                    let state = self.tree.reading(&name);
                    (name, state)
                };
                vec![Event::States(states.into_iter().map(read).collect())]
            }
            What::Topics(topics) => {
                let (there, gone): (Vec<_>, Vec<_>) =
                    topics.into_iter().partition(|name| self.tree.topics.contains_key(name));
                let (unread, there): (Vec<_>, Vec<_>) =
                    there.into_iter().partition(|name| self.tree.unread.contains(name));
                let tree = &mut self.tree;
                let there: Vec<_> = there.iter().filter_map(|name| tree.read_topic(name)).collect();
                let events = [
                    (!unread.is_empty()).then_some(Event::TopicsUnread(unread)),
                    (!gone.is_empty()).then_some(Event::TopicsGone(gone)),
                    (!there.is_empty()).then_some(Event::Topics(there)),
                ];
                events.into_iter().flatten().collect()
            }
            What::Unclean(topics) => {
                let read = |name: Arc<str>| {
                    let is_on = self.tree.unclean.get(&name).copied();
                    Event::Unclean(name, is_on)
                };
                topics.into_iter().map(read).collect()
            }
            What::ProducerIds => vec![Event::ProducerIds(self.tree.producer_ids())],
        }
    }

    /// Puts a leader's proposal to the controller.
    pub(super) fn alter(&mut self, asking: Asking) {
        let Asking { leader, partition, proposal, broker_epoch } = asking.clone();
        self.tree.proposals.push((leader, partition, proposal.clone()));
        self.tokens += 1;
        let token = Token(self.tokens);
        self.asking.insert(token, asking);
        let request = Request::AlterPartition {
            broker: leader,
            broker_epoch,
            knows_ineligible: true,
            partitions: vec![proposal],
        };
        self.apply(Event::Asked { token, request });
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
        let asked = &asking.proposal;
        let is_outstanding = replica.proposed.as_ref() == Some(&asked.isr)
            && replica.partition_epoch == asked.partition_epoch
            && replica.told.as_ref().map(|told| told.leader_epoch) == Some(asked.leader_epoch);
        let Reply::AlterPartition(Ok(results)) = reply else { return };
        for (_, result) in results.iter().filter(|_| is_outstanding) {
            match result {
                Ok(Altered { isr, partition_epoch, .. }) => {
                    self.granted.insert(asking.partition.clone(), asking.clone());
                    replica.isr.clone_from(isr);
                    replica.partition_epoch = *partition_epoch;
                    replica.proposed = None;
                }
                // The version was right, so nothing was ever written (`replica/isr/state.rs`).
                Err(ErrorCode::IneligibleReplica | ErrorCode::InvalidRequest) => {
                    replica.proposed = None;
                    // A leader that is refused has nothing else on its way.
                    self.in_flight.retain(|other| {
                        other.leader != asking.leader || other.partition != asking.partition
                    });
                }
                // It may have been written all the same: it counts until the leader is told anew.
                Err(_) => {}
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
        let Some((sender, directive)) = process.inbox.pop_front() else { return false };
        let epoch = process.epoch;
        if process.control.admit(sender, epoch).is_err() {
            return true;
        }
        // The controller before hears what it wants to; only the present one's answers are looked at.
        let is_heard = sender.controller_epoch == self.state.controller_epoch;
        let leads = if let Directive::Lead { view, .. } = &directive {
            if self.random.u8(..100) < self.faults.refused {
                let (partition, topic_id) = (view.partition.clone(), view.topic_id);
                let error = ErrorCode::UnknownServerError;
                let answer = Answer::Led(vec![Outcome { partition, topic_id, error }]);
                if is_heard {
                    self.events.push_back(Event::Answered { broker: id, epoch, answer });
                }
                return true;
            }
            Some(Arc::clone(view)).filter(|view| view.leader == Some(id))
        } else {
            None
        };
        if let Some(answer) = process.take(id, directive) {
            let is_done = matches!(&answer, Answer::Led(led) if led[0].error == ErrorCode::None);
            if is_heard {
                self.events.push_back(Event::Answered { broker: id, epoch, answer });
            }
            if let Some(view) = leads.filter(|_| is_done) {
                self.begins_to_lead(id, &view);
            }
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

    /// As [`World::settle`], each time by whomever chance says.
    pub(super) fn settle_in_any_order(&mut self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..1_000_000 {
            let busy = self.processes.iter().filter(|(_, process)| !process.inbox.is_empty());
            let mut movers: Vec<_> = busy.map(|(id, _)| Some(*id)).collect();
            movers.extend((!self.events.is_empty()).then_some(None));
            match random.choice(movers) {
                Some(Some(id)) => _ = self.step(id),
                Some(None) => _ = self.deliver(),
                None => return,
            }
        }
        panic!("it never comes to rest");
    }

    pub(super) fn tick(&mut self, by: Duration) {
        // Where logs end is answered within a second, or not at all (`controller/ends.rs`).
        let (ends, others): (VecDeque<_>, _) =
            self.events.drain(..).partition(|event| matches!(event, Event::Ends(_)));
        self.events = others;
        for end in ends {
            self.apply(end);
        }
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
