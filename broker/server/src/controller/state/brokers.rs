//! Brokers that come, go, restart, or do not answer at their port.
//!
//! A broker that restarted between two readings (its epoch grew) failed and started: what its
//! earlier life was in is taken from it first. A refused port is a hint: leadership moves off that
//! broker where somebody in sync can take it, and it leaves ISRs that others lead; it stays
//! registered, nothing else follows, and its next successful connection ends the suspicion.
//! Source: Kafka 3.9 `processBrokerChange`, `onBrokerFailure`, `onBrokerStartup`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::quantity::BrokerId;

use super::effect::Effect;
use super::event::LiveBroker;
use super::story::Cause;
use super::{State, named};

/// How a reading of the brokers differs from what was known.
#[derive(Debug, Default)]
struct Difference {
    gone: BTreeSet<BrokerId>,
    bounced: BTreeSet<BrokerId>,
    new: BTreeSet<BrokerId>,
    has_moved: bool,
}

impl State {
    /// The registered brokers were read.
    pub(super) fn brokers_read(&mut self, mut read: BTreeMap<BrokerId, LiveBroker>) {
        let mut difference = Difference::default();
        for (id, known) in self.brokers.iter() {
            match read.get(id) {
                None => {
                    difference.gone.insert(*id);
                }
                Some(now) if now.epoch > known.epoch => {
                    difference.bounced.insert(*id);
                }
                Some(now) if now.epoch < known.epoch => {
                    // An older reading than the one before.
                    read.insert(*id, known.clone());
                }
                Some(now) => {
                    difference.has_moved |=
                        now.endpoints != known.endpoints || now.rack != known.rack;
                }
            }
        }
        let is_new = |id: &&BrokerId| !self.brokers.contains_key(*id);
        difference.new = read.keys().filter(is_new).copied().collect();
        self.brokers = Arc::new(read);
        self.tell_of(&difference);
        self.lives_ended(&difference);
        self.lives_begun(&difference);
        let has_changed = difference.has_moved
            || !difference.gone.is_empty()
            || !difference.bounced.is_empty()
            || !difference.new.is_empty();
        if has_changed {
            self.turn.effect(Effect::Brokers(Arc::clone(&self.brokers)));
        }
    }

    fn tell_of(&mut self, difference: &Difference) {
        let causes = [
            (Cause::Gone, &difference.gone),
            (Cause::Restarted, &difference.bounced),
            (Cause::Came, &difference.new),
        ];
        for (cause, brokers) in causes {
            for broker in brokers {
                self.story.broker(cause, *broker);
            }
        }
    }

    fn lives_ended(&mut self, difference: &Difference) {
        let ended: BTreeSet<_> = difference.gone.union(&difference.bounced).copied().collect();
        for broker in &ended {
            self.shutting_down.remove(broker);
            self.suspects.remove(broker);
            self.facts.unproven.remove(broker);
            self.facts.refusals.remove(broker);
        }
        if ended.is_empty() {
            return;
        }
        for failed in self.facts.failed.values_mut() {
            failed.retain(|broker| !ended.contains(broker));
        }
        self.facts.failed.retain(|_, failed| !failed.is_empty());
        self.facts.swept.retain(|(broker, _)| !ended.contains(broker));
        for bounced in self.facts.bounced.values_mut() {
            bounced.retain(|broker| !difference.gone.contains(broker));
        }
        for (name, topic) in &self.topics {
            for (number, partition) in &topic.partitions {
                let Some(view) = &partition.view else { continue };
                let was_in = |broker: &&BrokerId| {
                    view.isr.contains(*broker) || view.leader == Some(**broker)
                };
                let members: Vec<_> = difference.bounced.iter().filter(was_in).copied().collect();
                if !members.is_empty() {
                    let bounced = self.facts.bounced.entry(named(name, *number)).or_default();
                    bounced.extend(members);
                }
            }
        }
        self.replicas_gone(&ended);
        self.forget_answers(&ended);
        self.doubt_replicas_of(&ended);
    }

    fn lives_begun(&mut self, difference: &Difference) {
        let begun: BTreeSet<_> = difference.new.union(&difference.bounced).copied().collect();
        let brokers = Arc::clone(&self.brokers);
        for (id, broker) in brokers.iter() {
            if begun.contains(id) {
                self.facts.unproven.insert(*id, BTreeSet::clone(&broker.unproven));
                self.turn.tell_all(*id);
            } else {
                self.doubts_cleared(*id, &broker.unproven);
            }
        }
        if !begun.is_empty() {
            self.doubt_replicas_of(&begun);
        }
    }

    /// Has every partition decided again that one of `brokers` holds.
    pub(super) fn doubt_replicas_of(&mut self, brokers: &BTreeSet<BrokerId>) {
        let held = self.partitions_where(|partition| {
            partition.assignment.replicas.iter().any(|replica| brokers.contains(replica))
        });
        for partition in held {
            self.turn.doubt(partition);
        }
        self.turn.presence_changed();
    }

    /// A broker's port refuses connections.
    pub(super) fn refused(&mut self, broker: BrokerId, epoch: i64) {
        if self.is_current(broker, epoch) && self.suspects.insert(broker) {
            self.story.broker(Cause::Refuses, broker);
            self.doubt_replicas_of(&BTreeSet::from([broker]));
        }
    }

    /// A broker that refused can be reached: it may have missed anything.
    pub(super) fn reached(&mut self, broker: BrokerId, epoch: i64) {
        if self.is_current(broker, epoch) && self.suspects.remove(&broker) {
            self.story.broker(Cause::Reached, broker);
            self.turn.tell_all(broker);
            self.doubt_replicas_of(&BTreeSet::from([broker]));
        }
    }
}
