//! Replicas that are moved: asked for, measured, throttled.

use broker_admin::v1::{MeasureMovesRequest, MeasureMovesResponse, ReassignPartitionsRequest};
use tonic::Status;

use super::state::State;
use super::tree::Partition;

impl State {
    /// Gives partitions other replicas; all of them or none.
    pub(crate) fn reassign(&mut self, asked: &ReassignPartitionsRequest) -> Result<(), Status> {
        for one in &asked.moves {
            let topic = self.topic(&one.topic, &one.topic_id)?;
            let number = usize::try_from(one.partition).unwrap_or(usize::MAX);
            let Some(partition) = topic.partitions.get(number) else {
                let words = format!("{} has no partition {}", one.topic, one.partition);
                return Err(Status::not_found(words));
            };
            if topic.deleting.is_some() {
                return Err(Status::not_found(format!("{} is being deleted", one.topic)));
            }
            let mut once = one.replicas.clone();
            once.sort_unstable();
            once.dedup();
            if once.is_empty() || once.len() != one.replicas.len() {
                return Err(Status::invalid_argument("replicas: brokers, each once"));
            }
            let is_new = |id: &&i32| !partition.replicas.contains(id);
            let new: Vec<i32> = one.replicas.iter().filter(is_new).copied().collect();
            self.can_place(&new)?;
        }
        for one in &asked.moves {
            self.change_topic(&one.topic, |topic| {
                let partition = &mut topic.partitions[one.partition as usize];
                let adding = partition.adding.clone();
                let origin = partition.replicas.iter().filter(|id| !adding.contains(id));
                let origin: Vec<i32> = origin.copied().collect();
                let is_added = |id: &&i32| !origin.contains(id);
                partition.adding = one.replicas.iter().filter(is_added).copied().collect();
                let is_removed = |id: &&i32| !one.replicas.contains(id);
                partition.removing = origin.iter().filter(is_removed).copied().collect();
                partition.replicas.clone_from(&one.replicas);
                partition.replicas.extend(&partition.removing);
                let (replicas, adding) = (&partition.replicas, &partition.adding);
                partition.isr.retain(|id| replicas.contains(id));
                partition.copied.retain(|id, _| adding.contains(id));
            });
            if asked.throttle_bytes_per_second > 0 {
                self.tree.topic_throttles.insert(one.topic.clone());
            }
        }
        if asked.throttle_bytes_per_second > 0 {
            for broker in self.processes.keys() {
                self.tree.broker_throttles.insert(*broker, asked.throttle_bytes_per_second);
            }
        }
        self.replicate(std::time::Duration::ZERO);
        Ok(())
    }

    /// What is still to be copied of what `broker` leads.
    pub(crate) fn measure(&self, broker: i32, asked: &MeasureMovesRequest) -> MeasureMovesResponse {
        let mut all = MeasureMovesResponse::default();
        for (topic, _, one) in self.tree.partitions() {
            let is_meant = (asked.topic.is_empty() || asked.topic == topic)
                && asked.from_broker_id.is_none_or(|from| one.removing.contains(&from));
            if one.moves() && one.leader == Some(broker) && is_meant {
                all.partitions += 1;
                all.bytes_total += one.size * one.adding.len() as u64;
                all.bytes_left += one.bytes_left();
            }
        }
        all
    }

    /// Takes throttles away where nothing moves; returns how many are left.
    pub(crate) fn clear_throttles(&mut self) -> u32 {
        let topics = &self.tree.topics;
        let moves = |name: &String| {
            topics.get(name).is_some_and(|topic| topic.partitions.iter().any(Partition::moves))
        };
        let before = self.tree.topic_throttles.len() + self.tree.broker_throttles.len();
        self.tree.topic_throttles.retain(moves);
        if !self.tree.moves() {
            self.tree.broker_throttles.clear();
        }
        let left = self.tree.topic_throttles.len() + self.tree.broker_throttles.len();
        if left != before {
            self.touch();
        }
        left as u32
    }
}
