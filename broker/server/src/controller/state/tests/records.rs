//! Records: replicated, acknowledged, and looked for in every log that is elected.

use std::sync::Arc;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::brokers::{Process, Replica};
use super::world::World;
use crate::controller::state::effect::{StateWrite, View};

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
        replica.log.push((told.leader_epoch.0, number));
        let (log, topic_id) = (replica.log.clone(), replica.topic_id);
        let isr = replica.maximal_isr();
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
        let key = (topic_id, partition.partition);
        let extends = self.committed.get(&key).is_none_or(|known| log.starts_with(known));
        if isr.iter().all(has) {
            assert!(
                extends || self.is_loss_allowed.contains(&key),
                "{partition}: {leader} diverges"
            );
            if extends {
                self.committed.insert(key, log);
            }
        }
    }

    pub(super) fn replica(&self, id: BrokerId, partition: &TopicPartition) -> Option<&Replica> {
        self.processes.get(&id)?.replicas.get(partition)
    }

    fn key(&self, partition: &TopicPartition) -> Option<(Uuid, i32)> {
        Some((self.tree.topics.get(&partition.topic)?.id?, partition.partition))
    }

    /// No election is written that loses what was acknowledged, unless nobody could know better.
    pub(super) fn audit_election(&self, partition: &TopicPartition, state: &StateWrite) {
        let (Some(former), Some(key)) = (self.tree.read_state(partition), self.key(partition))
        else {
            return;
        };
        let (Some(leader), Some(committed)) = (state.leader, self.committed.get(&key)) else {
            return;
        };
        if state.leader_epoch == former.leader_epoch || self.is_loss_allowed.contains(&key) {
            return;
        }
        let on = |id: &BrokerId| self.processes.get(id).or_else(|| self.disks.get(id));
        let held = on(&leader).and_then(|process| process.replicas.get(partition));
        let has_all =
            |replica: &Replica| replica.topic_id == key.0 && replica.log.starts_with(committed);
        if held.is_some_and(has_all) {
            return;
        }
        let is_known = |id: &BrokerId| {
            let process = self.processes.get(id);
            process.is_some_and(|process| self.tree.known.get(id) == Some(&process.epoch))
        };
        if !is_known(&leader) {
            // It has died or restarted since the registrations were read.
            return;
        }
        let could_lead = |id: &&BrokerId| {
            **id != leader
                && is_known(id)
                && !self.tree.leaving.contains(*id)
                && !self.state.suspects.contains(*id)
                && self.replica(**id, partition).is_some_and(|replica| {
                    has_all(replica) && !replica.is_cut && !replica.has_failed
                })
        };
        let better = former.isr.iter().find(could_lead);
        let is_cut = |replica: &Replica| replica.is_cut;
        let cut = |id: &BrokerId| {
            on(id).and_then(|process| process.replicas.get(partition)).is_some_and(is_cut)
        };
        let may_lack =
            if former.isr.contains(&leader) { cut(&leader) } else { former.isr.iter().all(cut) };
        assert!(
            may_lack && better.is_none(),
            "{partition}: {leader} is elected by {state:?} after {former:?} and lacks records; \
             {better:?} has them"
        );
    }

    /// A broker has begun to lead: what it has is the truth from now on.
    pub(super) fn begins_to_lead(&mut self, id: BrokerId, view: &Arc<View>) {
        let key = (view.topic_id, view.partition.partition);
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(replica) = process.replicas.get_mut(&view.partition) else { return };
        if let Some(committed) = self.committed.get_mut(&key)
            // One that hears late that it leads has been replaced by those who acknowledged.
            && committed.last().is_none_or(|record| record.0 <= view.leader_epoch.0)
            && !replica.log.starts_with(committed)
        {
            assert!(
                replica.is_cut || self.is_loss_allowed.contains(&key),
                "{id} leads {view:?} and lacks records"
            );
            let pairs = replica.log.iter().zip(committed.iter());
            let common = pairs.take_while(|(one, other)| one == other).count();
            committed.truncate(common);
        }
        replica.is_cut = false;
    }
}
