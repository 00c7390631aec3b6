//! Random events: everything that happens to a cluster, in any order, with writes that are
//! overtaken or misread, brokers that die, restart and lose their tails, and leaders that are late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::world::{Asking, Faults, World};
use crate::controller::state::assignment::Assignment;
use crate::controller::state::event::Event;
use crate::controller::state::named;
use crate::controller::state::request::{ElectionKind, IsrProposal, Request, TopicRef};

/// How many brokers there are.
pub(super) const BROKERS: i32 = 4;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What the controller has not read yet.
#[derive(Debug, Default)]
pub(super) struct Unread {
    topics: BTreeSet<Arc<str>>,
    marks: bool,
    notified: BTreeMap<Arc<str>, TopicPartition>,
    failed: BTreeMap<Arc<str>, BrokerId>,
}

/// A cluster and its random life.
pub(super) struct Life {
    pub(super) world: World,
    pub(super) unread: Unread,
}

impl Life {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = World::new(BROKERS, seed);
        world.faults = Faults { overtaken: 3, misread: 2, refused: 2 };
        Self { world, unread: Unread::default() }
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.world.random.u8(..bound)
    }

    fn broker(&mut self) -> BrokerId {
        BrokerId(self.world.random.i32(1..=BROKERS))
    }

    fn partition(&mut self) -> Option<TopicPartition> {
        let partitions = self.world.tree.partitions();
        self.world.random.choice(partitions)
    }

    fn some_brokers(&mut self) -> Vec<BrokerId> {
        let mut all: Vec<_> = (1..=BROKERS).map(BrokerId).collect();
        self.world.random.shuffle(&mut all);
        let count = self.world.random.usize(1..=3);
        all.truncate(count);
        all
    }

    /// Lets one thing happen.
    pub(super) fn act(&mut self) {
        match self.below(100) {
            0..25 => self.brokers_work(),
            25..35 => {
                self.world.deliver();
            }
            35..60 => self.a_leader_works(),
            60..68 => self.a_proposal_arrives(),
            68..76 => self.a_broker_changes(),
            76..82 => self.world.brokers_seen(),
            82..88 => self.the_controller_reads(),
            88..92 => self.a_topic_changes(),
            92..96 => self.a_client_asks(),
            96 if self.below(2) == 0 => self.a_port_refuses(),
            96 => self.the_deposed_reads(),
            97 | 98 => self.something_rare(),
            _ => {
                let by = Duration::from_millis(self.world.random.u64(..8_000));
                self.world.tick(by);
            }
        }
    }

    fn brokers_work(&mut self) {
        let id = self.broker();
        for _ in 0..self.below(12) {
            self.world.step(id);
        }
    }

    fn a_leader_works(&mut self) {
        let led = self.world.led();
        let Some((leader, partition)) = self.world.random.choice(led) else { return };
        match self.below(10) {
            0..4 => {
                let followers = self.world.random.u8(..);
                let chosen = |id: BrokerId| followers >> (id.0 % 8) & 1 == 1;
                self.world.replicate(leader, &partition, chosen);
            }
            4..6 => self.world.produce(leader, &partition),
            6..9 => {
                let drops = self.below(4) == 0;
                self.propose(leader, &partition, drops);
            }
            _ => {
                if self.world.leader_writes(&partition) {
                    self.notify(partition);
                }
            }
        }
    }

    fn notify(&mut self, partition: TopicPartition) {
        self.world.records += 1;
        let path: Arc<str> = format!("/isr/{}", self.world.records).into();
        self.world.tree.notifications.insert(Arc::clone(&path));
        self.unread.notified.insert(path, partition);
    }

    /// A leader asks for another ISR, or again for what it has had no answer to.
    pub(super) fn propose(&mut self, leader: BrokerId, partition: &TopicPartition, drops: bool) {
        let world = &mut self.world;
        let Some(replica) = world.replica(leader, partition).cloned() else { return };
        let Some(told) = &replica.told else { return };
        let broker_epoch = world.processes[&leader].epoch;
        let is_ready = |id: &&BrokerId| {
            let follower = world.replica(**id, partition);
            follower.is_some_and(|follower| {
                follower.is_caught_up
                    && follower.told.as_ref().map(|t| t.leader_epoch) == Some(told.leader_epoch)
                    && follower.log == replica.log
            })
        };
        let epoch_of = |id: BrokerId| (id, world.processes.get(&id).map_or(-1, |p| p.epoch));
        let isr = if let Some(proposed) = &replica.proposed {
            proposed.clone()
        } else if drops {
            vec![epoch_of(leader)]
        } else {
            let ready = told.assignment.replicas.iter().filter(is_ready);
            let new = ready.filter(|id| !replica.isr.contains(id));
            replica.isr.iter().chain(new).copied().map(epoch_of).collect()
        };
        if isr.iter().map(|(id, _)| id).eq(&replica.isr) {
            return;
        }
        let by_name = world.random.bool();
        let proposal = IsrProposal {
            topic: if by_name {
                TopicRef::Name(Arc::clone(&partition.topic))
            } else {
                TopicRef::Id(replica.topic_id)
            },
            partition: partition.partition,
            leader_epoch: told.leader_epoch,
            partition_epoch: replica.partition_epoch,
            isr: isr.clone(),
            recovering: false,
        };
        let asking = Asking { leader, partition: partition.clone(), proposal, broker_epoch };
        world.in_flight.push(asking);
        let process = world.processes.get_mut(&leader);
        if let Some(replica) = process.and_then(|p| p.replicas.get_mut(partition)) {
            replica.proposed = Some(isr);
        }
    }

    /// A proposal comes to the controller: late, and perhaps with a copy of the one before it.
    pub(super) fn a_proposal_arrives(&mut self) {
        let count = self.world.in_flight.len();
        if count == 0 {
            return;
        }
        let chosen = self.world.random.usize(..count);
        let asking = self.world.in_flight.remove(chosen);
        let partition = asking.partition.clone();
        let before = self.world.granted.get(&partition).cloned();
        self.world.alter(asking);
        if let Some(before) = before.filter(|_| self.below(3) == 0) {
            // A copy of what was granted before, that was long on its way.
            self.world.alter(before);
        }
    }

    fn a_broker_changes(&mut self) {
        let id = self.broker();
        let is_alive = self.world.processes.contains_key(&id);
        let tree = &self.world.tree;
        let is_registered = tree.brokers.contains_key(&id) || tree.hidden.contains_key(&id);
        match (is_alive, is_registered, self.below(4)) {
            (_, true, 0) => self.world.expire(id),
            (true, true, 1) => self.world.kill(id),
            (true, true, _) => {}
            // Its session is over, and it hears of it: it stops leading and registers again.
            (true, false, _) => self.world.register_again(id),
            (false, ..) => self.restart(id),
        }
    }

    /// Starts a broker: after a power cut, without what it had not synced.
    fn restart(&mut self, id: BrokerId) {
        let mut unproven = BTreeSet::new();
        let has_lost_power = self.below(4) == 0;
        let world = &mut self.world;
        if let Some(disk) = world.disks.get_mut(&id) {
            for (partition, replica) in &mut disk.replicas {
                replica.has_failed = false;
                // What could not be proven once cannot be proven by another restart.
                if has_lost_power || replica.is_cut {
                    unproven.insert(partition.clone());
                }
                if has_lost_power && !replica.log.is_empty() {
                    let kept = world.random.usize(..=replica.log.len());
                    replica.is_cut |= kept < replica.log.len();
                    replica.log.truncate(kept);
                }
            }
        }
        self.world.start(id, unproven);
    }

    fn the_controller_reads(&mut self) {
        match self.below(4) {
            0 | 1 => {
                if let Some(name) = self.unread.topics.pop_first() {
                    self.world.topic_seen(&name);
                }
            }
            2 if self.unread.marks => {
                self.unread.marks = false;
                let marks = self.world.tree.marks.clone();
                self.world.apply(Event::DeletionsAsked(marks));
            }
            _ => {
                self.read_notifications();
            }
        }
    }

    fn read_notifications(&mut self) {
        let notified = std::mem::take(&mut self.unread.notified);
        if !notified.is_empty() {
            let read = |name: &TopicPartition| (name.clone(), self.world.tree.reading(name));
            let states = notified.values().map(read).collect();
            let notifications = notified.keys().cloned().collect();
            self.world.apply(Event::IsrChanged { notifications, states });
        }
        let failed = std::mem::take(&mut self.unread.failed);
        if !failed.is_empty() {
            let notifications = failed.keys().cloned().collect();
            let brokers = failed.values().copied().collect();
            self.world.apply(Event::LogDirFailed { notifications, brokers });
        }
    }

    fn a_topic_changes(&mut self) {
        let name = NAMES[usize::from(self.below(NAMES.len() as u8))];
        let name: Arc<str> = name.into();
        let choice = self.below(10);
        let Some(node) = self.world.tree.topics.get_mut(&name) else {
            let count = self.world.random.usize(1..=3);
            let replicas: Vec<Vec<i32>> =
                (0..count).map(|_| self.some_brokers().iter().map(|id| id.0).collect()).collect();
            let replicas: Vec<&[i32]> = replicas.iter().map(Vec::as_slice).collect();
            self.world.create(&name, &replicas, choice > 2);
            self.unread.topics.insert(name);
            return;
        };
        match choice {
            0..4 if node.partitions.len() < 5 => {
                // A tool of before 2.4 knows neither ids nor what is being moved.
                let forgets = choice == 0;
                if forgets {
                    node.id = None;
                }
                for assignment in node.partitions.values_mut().filter(|_| forgets) {
                    (assignment.adding, assignment.removing) = (Vec::new(), Vec::new());
                }
                node.version += 1;
                let number = node.partitions.len() as i32;
                let assignment = Assignment::settled(self.some_brokers());
                if let Some(node) = self.world.tree.topics.get_mut(&name) {
                    node.partitions.insert(number, assignment);
                }
                self.unread.topics.insert(name);
            }
            4..7 => {
                self.world.tree.marks.insert(name);
                self.unread.marks = true;
            }
            _ => {}
        }
    }

    fn a_client_asks(&mut self) {
        let Some(partition) = self.partition() else { return };
        let request = match self.below(8) {
            0..4 => {
                let target = (self.below(5) > 0).then(|| self.some_brokers());
                match target {
                    Some(target) if target.len() == 2 => {
                        // What is not written at once is not to be written later.
                        let guard = self.world.tree.guard;
                        let asked = BTreeMap::from([(partition, target)]);
                        self.world.ask(Request::ReassignGuarded(asked, guard));
                        self.world.tree.guard.operator += 1;
                        return;
                    }
                    target => Request::Reassign(BTreeMap::from([(partition, target)])),
                }
            }
            4 => Request::ElectLeaders { kind: ElectionKind::Preferred, partitions: None },
            5 => {
                let kind = ElectionKind::Preferred;
                Request::ElectLeaders { kind, partitions: Some(vec![partition]) }
            }
            6 => {
                let broker = self.broker();
                let broker_epoch = self.world.tree.known.get(&broker).copied().unwrap_or(0);
                Request::AllocateProducerIds { broker, broker_epoch }
            }
            _ => {
                let broker = self.broker();
                let Some(process) = self.world.processes.get(&broker) else { return };
                let broker_epoch = process.epoch;
                if self.world.tree.known.get(&broker).is_none_or(|known| *known > broker_epoch) {
                    return;
                }
                Request::ControlledShutdown { broker, broker_epoch }
            }
        };
        self.world.ask(request);
    }

    fn a_port_refuses(&mut self) {
        let broker = self.broker();
        let Some(epoch) = self.world.tree.known.get(&broker).copied() else { return };
        let event = match self.below(2) {
            0 => Event::Refused { broker, epoch },
            _ => Event::Reached { broker, epoch },
        };
        self.world.apply(event);
    }

    /// A controller that does not know that it is none any more sees what there is, or time pass.
    fn the_deposed_reads(&mut self) {
        let event = match self.below(4) {
            0 | 1 => Event::Brokers(self.world.tree.brokers.clone()),
            2 => Event::Tick(self.world.now),
            _ => {
                let Some(partition) = self.partition() else { return };
                let read = self.world.tree.read_topic(&partition.topic);
                Event::Topics(read.into_iter().collect())
            }
        };
        self.world.deposed_hears(event);
    }

    fn something_rare(&mut self) {
        match self.below(10) {
            0 => self.fail_over(),
            1 => self.a_directory_fails(),
            2 => self.an_old_tool_writes(),
            3 => self.loss_is_allowed(),
            4 => {
                self.world.tree.next_producer_id += 1000;
                self.world.tree.producer_ids_version += 1;
            }
            5 => self.a_node_is_spoilt(),
            6 | 7 => self.a_node_is_mended(),
            8 => self.a_registration_is_spoilt(),
            _ => self.a_topic_is_made_again(),
        }
    }

    /// Another broker is elected: it reads everything.
    pub(super) fn fail_over(&mut self) {
        self.unread = Unread::default();
        self.world.fail_over();
    }

    fn a_directory_fails(&mut self) {
        let id = self.broker();
        let fails = self.world.random.u8(..);
        let Some(process) = self.world.processes.get_mut(&id) else { return };
        for (number, replica) in process.replicas.values_mut().enumerate() {
            replica.has_failed |= fails >> (number % 8) & 1 == 1;
        }
        self.world.records += 1;
        let path: Arc<str> = format!("/dir/{}", self.world.records).into();
        self.world.tree.notifications.insert(Arc::clone(&path));
        self.unread.failed.insert(path, id);
    }

    fn an_old_tool_writes(&mut self) {
        let Some(partition) = self.partition() else { return };
        if self.below(2) == 0 {
            let asked = BTreeSet::from([partition]);
            self.world.tree.preferred = Some(asked.clone());
            self.world.apply(Event::PreferredAsked(asked));
        } else {
            let target = self.some_brokers();
            self.world.tree.reassignments.insert(partition, target);
            let asked = self.world.tree.reassignments.clone();
            self.world.apply(Event::ReassignmentsAsked(asked));
        }
    }

    fn loss_is_allowed(&mut self) {
        let Some(partition) = self.partition() else { return };
        let name = partition.topic;
        if self.below(2) == 0 {
            let numbers = self.world.tree.topics[&name].partitions.keys();
            let partitions: Vec<_> = numbers.map(|number| named(&name, *number)).collect();
            let kind = ElectionKind::Unclean;
            self.world.ask(Request::ElectLeaders { kind, partitions: Some(partitions) });
        } else {
            let is_on = self.below(2) == 0;
            self.world.tree.unclean.insert(Arc::clone(&name), is_on);
            self.world.apply(Event::Unclean(name, Some(is_on)));
        }
    }

    /// A hand in the tree leaves what nobody can read.
    fn a_node_is_spoilt(&mut self) {
        let Some(partition) = self.partition() else { return };
        let topic = Arc::clone(&partition.topic);
        let is_state = self.below(2) == 0;
        let tree = &mut self.world.tree;
        if is_state && let Some(state) = tree.state_mut(&partition) {
            state.version += 1;
            tree.unreadable.insert(partition);
        } else if let Some(node) = tree.topics.get_mut(&topic) {
            node.version += 1;
            tree.unread.insert(Arc::clone(&topic));
        }
        self.unread.topics.insert(topic);
    }

    /// It is put back; of a state nobody is told before all is read again.
    fn a_node_is_mended(&mut self) {
        let (topics, states) = (self.world.tree.unread.clone(), self.world.tree.unreadable.clone());
        if self.below(2) == 0 {
            let Some(name) = self.world.random.choice(topics) else { return };
            self.world.tree.mend_topic(&name);
            self.unread.topics.insert(name);
        } else {
            let Some(name) = self.world.random.choice(states) else { return };
            self.world.tree.mend_state(&name);
            if self.below(2) == 0 {
                self.unread.topics.insert(name.topic);
            }
        }
    }

    /// A broker that lives and does its work seems to be gone, and to be back in the same life.
    fn a_registration_is_spoilt(&mut self) {
        let id = self.broker();
        let tree = &mut self.world.tree;
        if tree.hidden.contains_key(&id) {
            tree.mend_broker(id);
        } else if let Some(broker) = tree.brokers.remove(&id) {
            tree.hidden.insert(id, broker);
        }
    }

    /// Gone from the tree and there again, before the controller has looked.
    fn a_topic_is_made_again(&mut self) {
        let name: Arc<str> = NAMES[usize::from(self.below(NAMES.len() as u8))].into();
        if !self.world.tree.remove_topic(&name) {
            return;
        }
        if self.below(2) == 0 {
            self.world.create(&name, &[&[1, 2, 3]], true);
        }
        self.unread.topics.insert(name);
    }

    /// Reads everything again, as the slow pass does.
    pub(super) fn full_pass(&mut self) {
        self.world.brokers_seen();
        let mut names: BTreeSet<_> = self.world.tree.topics.keys().cloned().collect();
        names.extend(self.world.state.topics.keys().cloned());
        names.extend(self.world.state.unread.iter().cloned());
        for name in names {
            self.world.topic_seen(&name);
        }
        self.unread.topics.clear();
        self.unread.marks = false;
        let marks = self.world.tree.marks.clone();
        self.world.apply(Event::DeletionsAsked(marks));
        let asked = self.world.tree.reassignments.clone();
        self.world.apply(Event::ReassignmentsAsked(asked));
        self.read_notifications();
    }
}
