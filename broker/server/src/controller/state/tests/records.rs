//! Records: replicated, acknowledged, and looked for in every log that is elected.

use std::cmp::Ordering;
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::brokers::{Process, Record, Replica};
use super::world::World;
use crate::controller::partition_election::Presence;
use crate::controller::state::effect::{Directive, StateWrite, View};
use crate::controller::state::event::{LiveBroker, Said, StateRead};

fn leads(replica: &Replica, me: BrokerId) -> bool {
    replica.told.as_ref().is_some_and(|told| told.leader == Some(me)) && !replica.has_failed
}

/// Whether `replica` follows `leader` in the epoch that it leads in.
fn follows(replica: &Replica, leader: BrokerId, leading: &Replica) -> bool {
    let (Some(told), Some(leading_told)) = (&replica.told, &leading.told) else { return false };
    told.leader == Some(leader)
        && told.leader_epoch == leading_told.leader_epoch
        && replica.topic_id == leading.topic_id
        && !replica.has_failed
}

/// What a broker says that is asked where the log of a replica ends.
pub(super) fn said(replica: Option<&Replica>, leader_epoch: LeaderEpoch) -> Said {
    let is_any = leader_epoch.0 < 0;
    let Some(replica) = replica else {
        let nothing = Replica::default().end();
        return if is_any { Said::End(nothing) } else { Said::NotYet };
    };
    let known = replica.told.as_ref().map_or(LeaderEpoch(-1), |told| told.leader_epoch);
    match known.cmp(&leader_epoch) {
        _ if replica.has_failed => Said::Silence,
        Ordering::Less if !is_any => Said::NotYet,
        Ordering::Greater if !is_any => Said::Silence,
        Ordering::Less | Ordering::Equal | Ordering::Greater => Said::End(replica.end()),
    }
}

impl World {
    /// Every partition that a broker believes it leads.
    pub(super) fn led(&self) -> Vec<(BrokerId, TopicPartition)> {
        let of = |(id, process): (&BrokerId, &Process)| {
            let led = process.replicas.iter().filter(|(_, replica)| leads(replica, *id));
            led.map(|(partition, _)| (*id, partition.clone())).collect::<Vec<_>>()
        };
        self.processes.iter().flat_map(of).collect()
    }

    /// Has those of `followers` that follow in this epoch copy their leader's log.
    pub(super) fn replicate(
        &mut self,
        leader: BrokerId,
        partition: &TopicPartition,
        followers: impl Fn(BrokerId) -> bool,
    ) {
        let Some(leading) = self.replica(leader, partition).cloned() else { return };
        for (id, process) in &mut self.processes {
            let Some(replica) = process.replicas.get_mut(partition) else { continue };
            if *id != leader && followers(*id) && follows(replica, leader, &leading) {
                replica.log.clone_from(&leading.log);
                replica.is_caught_up = true;
                replica.is_cut = false;
            }
        }
    }

    /// A producer's record: acknowledged once the whole of the maximal ISR has it.
    pub(super) fn produce(&mut self, leader: BrokerId, partition: &TopicPartition) {
        self.records += 1;
        let number = self.records;
        let process = self.processes.get_mut(&leader);
        let Some(replica) = process.and_then(|process| process.replicas.get_mut(partition)) else {
            return;
        };
        let Some(told) = &replica.told else { return };
        let leader_epoch = told.leader_epoch.0;
        replica.log.push((leader_epoch, number));
        let (log, topic_id) = (replica.log.clone(), replica.topic_id);
        let isr = replica.maximal_isr();
        let key = (topic_id, partition.partition);
        let place = (key, leader_epoch, log.len());
        assert!(
            self.written.insert(place),
            "{partition}: {leader} writes a second record at {} of epoch {leader_epoch}",
            log.len()
        );
        self.replicate(leader, partition, |id| isr.contains(&id));
        let has = |id: &BrokerId| {
            *id == leader
                || self.replica(*id, partition).is_some_and(|replica| {
                    replica.log == log
                        && self
                            .replica(leader, partition)
                            .is_some_and(|leading| follows(replica, leader, leading))
                })
        };
        // What a leader acknowledges that does not know that it was given up goes with it.
        let is_given_up = self.given_up.get(&key).is_some_and(|since| leader_epoch < *since);
        if !is_given_up && isr.iter().all(has) {
            let extends = self.committed.get(&key).is_none_or(|known| log.starts_with(known));
            assert!(extends, "{partition}: {leader} diverges");
            self.committed.insert(key, log);
        }
    }

    pub(super) fn replica(&self, id: BrokerId, partition: &TopicPartition) -> Option<&Replica> {
        self.processes.get(&id)?.replicas.get(partition)
    }

    /// The topic's id: a tool may have taken it out of the node.
    fn key(&self, partition: &TopicPartition) -> Option<(Uuid, i32)> {
        let known = self.state.topics.get(&partition.topic).map(|topic| topic.id);
        let id = self.tree.topics.get(&partition.topic)?.id.or(known)?;
        Some((id, partition.partition))
    }

    /// Whether somebody has said that this partition may lose records rather than wait.
    fn may_lose(&self, partition: &TopicPartition) -> bool {
        self.tree.unclean.get(&partition.topic) == Some(&true)
            || self.asked_unclean.contains_key(partition)
    }

    /// Nobody leads from outside of the ISR while a proven member could.
    fn audit_outsider(&self, partition: &TopicPartition, leader: BrokerId, former: &StateRead) {
        if former.isr.contains(&leader) {
            return;
        }
        let replicas = self.tree.assignment(partition).map(|of| of.replicas.clone());
        let can_lead = |id: &&BrokerId| {
            let proven = Presence::Up { proven: true };
            replicas.as_ref().is_some_and(|replicas| replicas.contains(id))
                && self.state.presence(**id, partition) == proven
        };
        let could = former.isr.iter().find(can_lead);
        assert_eq!(could, None, "{partition}: {leader} is elected out of {former:?}");
    }

    /// No election is written that loses what was acknowledged, unless that is allowed, or all who
    /// were in sync have lost some of it and nobody who is here has more than who is elected.
    ///
    /// What is lost is lost from then on, and only here.
    pub(super) fn audit_election(&mut self, partition: &TopicPartition, state: &StateWrite) {
        let (Some(former), Some(key)) = (self.tree.read_state(partition), self.key(partition))
        else {
            return;
        };
        let Some(leader) = state.leader else { return };
        if state.leader_epoch == former.leader_epoch {
            return;
        }
        let may_lose = self.may_lose(partition);
        let is_doubted = |broker: &LiveBroker| broker.unproven.contains(partition);
        if may_lose
            && (!former.isr.contains(&leader)
                || self.tree.brokers.get(&leader).is_some_and(is_doubted))
        {
            self.given_up.insert(key, state.leader_epoch.0);
        }
        self.audit_outsider(partition, leader, &former);
        let Some(committed) = self.committed.get(&key) else { return };
        let on = |id: BrokerId| self.processes.get(&id).or_else(|| self.disks.get(&id));
        let kept = |id: BrokerId| {
            let replica = on(id).and_then(|process| process.replicas.get(partition));
            let log = replica.filter(|replica| replica.topic_id == key.0).map(|r| &r.log);
            let both = log.into_iter().flatten().zip(committed);
            both.take_while(|(one, other)| one == other).count()
        };
        // It may have been told to delete its replica when it was none, and not have heard that yet.
        let deletes = |process: &Process| {
            let mut orders = process.inbox.iter().map(|(_, order)| order);
            orders.any(|order| {
                matches!(order, Directive::Stop { partition: of, delete: true, .. } if of == partition)
            })
        };
        let is_going = self.processes.get(&leader).is_some_and(deletes);
        let kept_by_leader = if may_lose && is_going { 0 } else { kept(leader) };
        if kept_by_leader == committed.len() {
            return;
        }
        if !may_lose {
            let whole = former.isr.iter().find(|id| kept(**id) == committed.len());
            let assigned = self.tree.assignment(partition).map(|of| of.replicas.clone());
            let question = self.state.facts.questions.get(partition);
            let could_say = |id: &BrokerId| {
                let replica = self.replica(*id, partition);
                // One that says half a minute long that it knows nothing of the epoch is left out.
                question.is_none_or(|question| question.waits_for(*id))
                    && self.is_known(*id)
                    && !self.tree.leaving.contains(id)
                    && !self.state.suspects.contains(id)
                    && replica.is_some_and(|replica| !replica.has_failed)
            };
            let others = assigned.into_iter().flatten().filter(could_say);
            let better = others.into_iter().find(|id| kept(*id) > kept_by_leader);
            let must_lose = whole.is_none() && better.is_none();
            if !must_lose && !self.is_known(leader) {
                // It has died or restarted since the registrations were read: it does not begin to lead
                // by this, and is judged again.
                return;
            }
            assert!(
                must_lose,
                "{partition}: {leader} is elected by {state:?} after {former:?} and lacks records; \
                 {whole:?} has all of them, {better:?} has more"
            );
        }
        if let Some(committed) = self.committed.get_mut(&key) {
            committed.truncate(kept_by_leader);
        }
    }

    /// Whether a broker lives in the life that the controller knows.
    fn is_known(&self, id: BrokerId) -> bool {
        let process = self.processes.get(&id);
        process.is_some_and(|process| self.tree.known.get(&id) == Some(&process.epoch))
    }

    /// A broker has begun to lead: it has all that was acknowledged and not lost by an election.
    pub(super) fn begins_to_lead(&mut self, id: BrokerId, view: &Arc<View>) {
        let key = (view.topic_id, view.partition.partition);
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(replica) = process.replicas.get_mut(&view.partition) else { return };
        let leader_epoch = view.leader_epoch.0;
        // One that hears late that it leads has been replaced by those who acknowledged.
        let is_late = |log: &&Vec<Record>| log.last().is_some_and(|record| record.0 > leader_epoch);
        if let Some(committed) = self.committed.get(&key).filter(|log| !is_late(log))
            && self.given_up.get(&key).is_none_or(|since| *since <= leader_epoch)
        {
            let has_all = replica.log.starts_with(committed);
            assert!(has_all, "{id} leads {view:?} with {:?} of {committed:?}", replica.log);
        }
        replica.is_cut = false;
    }
}
