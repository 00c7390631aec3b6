//! Who leads, who is in sync, and how replicas are moved.

use std::time::Duration;

use super::state::State;
use super::tree::Partition;

/// Who serves, who has caught up, and who hands over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stand {
    up: Vec<i32>,
    caught_up: Vec<i32>,
    drained: Option<i32>,
}

impl State {
    /// Lets every partition go on that may, `passed` after the last time: of topics that were changed or move, or of all
    /// where brokers are not what they were.
    pub(crate) fn replicate(&mut self, passed: Duration) {
        let stand = self.stand();
        let names = std::mem::take(&mut self.restless);
        let names = if self.stood == stand {
            names
        } else {
            self.stood = stand;
            self.tree.topics.keys().cloned().collect()
        };
        for name in names {
            let Some(topic) = self.tree.topics.get(&name) else { continue };
            let before = topic.partitions.clone();
            let mut after = before.clone();
            for partition in &mut after {
                self.leave(partition);
                self.copy(partition, passed);
                self.join(partition);
                self.lead(partition);
                finish(partition);
            }
            let (mut is_same, mut is_placed) = (true, true);
            for (one, other) in before.iter().zip(&after) {
                is_placed &= one.replicas == other.replicas;
                is_same &= one.isr == other.isr
                    && one.leader == other.leader
                    && one.copied == other.copied;
            }
            if !is_placed || !is_same || after.iter().any(Partition::moves) {
                self.restless.insert(name.clone());
            }
            if !is_placed {
                self.change_topic(&name, |topic| topic.partitions = after);
            } else if !is_same {
                // Who watches topics hears nothing of that.
                self.touch();
                if let Some(topic) = self.tree.topics.get_mut(&name) {
                    topic.partitions = after;
                }
            }
        }
    }

    /// What replicas depend on besides themselves.
    fn stand(&self) -> Stand {
        let of = |is: &dyn Fn(i32) -> bool| {
            self.processes.keys().copied().filter(|id| is(*id)).collect()
        };
        let up = of(&|id| self.is_up(id));
        Stand { up, caught_up: of(&|id| self.is_caught_up(id)), drained: self.drained() }
    }

    /// Who is away is in sync no more, unless nobody else is.
    fn leave(&self, partition: &mut Partition) {
        let up: Vec<i32> =
            partition.isr.iter().copied().filter(|broker| self.is_up(*broker)).collect();
        if !up.is_empty() {
            partition.isr = up;
        }
    }

    fn is_caught_up(&self, broker: i32) -> bool {
        let registered = self.processes.get(&broker).and_then(|process| process.registered);
        self.is_up(broker)
            && registered.is_some_and(|since| self.now >= since + self.pace.catching_up)
    }

    fn copy(&self, partition: &mut Partition, passed: Duration) {
        let is_led = partition.isr.iter().any(|broker| self.is_up(*broker));
        for broker in partition.adding.iter().filter(|_| is_led) {
            let throttle = self.tree.broker_throttles.get(broker).copied();
            let rate = self.pace.copied_per_second.min(throttle.unwrap_or(u64::MAX));
            let bytes = (rate as f64 * passed.as_secs_f64()) as u64;
            if self.is_up(*broker) {
                let copied = partition.copied.entry(*broker).or_default();
                *copied = (*copied + bytes).min(partition.size);
            }
        }
    }

    fn join(&self, partition: &mut Partition) {
        if !partition.isr.iter().any(|broker| self.is_up(*broker)) {
            return;
        }
        let adding = partition.adding.clone();
        let has_all = |partition: &Partition, broker: &i32| {
            partition.copied.get(broker).is_some_and(|copied| *copied >= partition.size)
        };
        for broker in partition.replicas.clone() {
            let is_due = if adding.contains(&broker) {
                self.is_up(broker) && has_all(partition, &broker)
            } else {
                self.is_caught_up(broker)
            };
            if is_due && !partition.isr.contains(&broker) {
                partition.isr.push(broker);
            }
        }
        partition.isr.sort_unstable();
    }

    /// The preferred leader leads where it can; a broker that hands over leads nothing that another can.
    fn lead(&self, partition: &mut Partition) {
        let drained = self.drained();
        let able = |broker: &&i32| partition.isr.contains(broker) && self.is_up(**broker);
        let able: Vec<i32> = partition.replicas.iter().filter(able).copied().collect();
        let first = able.iter().find(|broker| Some(**broker) != drained);
        partition.leader = first.or(able.first()).copied();
    }
}

/// Ends a move whose new replicas are all in sync.
fn finish(partition: &mut Partition) {
    let is_done = partition.adding.iter().all(|broker| partition.isr.contains(broker));
    if !partition.moves() || !is_done {
        return;
    }
    let target = partition.target();
    partition.isr.retain(|broker| target.contains(broker));
    if partition.leader.is_some_and(|leader| !target.contains(&leader)) {
        partition.leader = target.iter().copied().find(|broker| partition.isr.contains(broker));
    }
    partition.replicas = target;
    partition.adding.clear();
    partition.removing.clear();
    partition.copied.clear();
}
