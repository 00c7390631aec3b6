//! Topics are made, grown, configured and deleted; brokers are configured, cordoned and forgotten.

use std::collections::{BTreeMap, HashMap};

use broker_admin::v1::{
    CheckTopicRequest, CheckTopicResponse, ConfigureBrokersRequest, ConfigureTopicRequest,
    CreateTopicRequest, DeleteTopicRequest, Fence, GrowTopicRequest, Problem, ReplicaList,
};
use broker_config::key::{self, Scope};
use tonic::Status;

use super::state::State;
use super::tree::{Partition, Topic};

impl State {
    /// Finds a topic by its name and id.
    pub(crate) fn topic(&self, name: &str, id: &str) -> Result<&Topic, Status> {
        let found = self.tree.topics.get(name).filter(|topic| topic.id == id);
        found.ok_or_else(|| Status::not_found(format!("no topic {name} with the id {id}")))
    }

    /// Refuses replicas on brokers that get none.
    pub(crate) fn can_place(&self, brokers: &[i32]) -> Result<(), Status> {
        for broker in brokers {
            if self.tree.cordoned.contains(broker) {
                return Err(Status::failed_precondition(format!("broker {broker} is cordoned")));
            }
            if self.epoch(*broker).is_none() {
                let words = format!("broker {broker} is not registered");
                return Err(Status::failed_precondition(words));
            }
        }
        Ok(())
    }

    pub(crate) fn create(&mut self, asked: CreateTopicRequest) -> Result<(), Status> {
        let CreateTopicRequest { fence, name, topic_id, assignment, configuration } = asked;
        if let Some(there) = self.tree.topics.get(&name) {
            let is_same = there.id == topic_id && there.deleting.is_none();
            let other = || Status::already_exists(format!("there is another topic {name}"));
            return is_same.then_some(()).ok_or_else(other);
        }
        if topic_id.len() != 22 || self.tree.ids.contains(&topic_id) {
            return Err(Status::invalid_argument(format!("topic_id: {topic_id} is no new id")));
        }
        check_assignment(&assignment)?;
        check_settings(&configuration)?;
        for replicas in &assignment {
            self.can_place(&replicas.brokers)?;
        }
        let size = self.pace.partition_size;
        let partitions =
            assignment.iter().map(|replicas| Partition::new(&replicas.brokers, size)).collect();
        let topic = Topic {
            id: topic_id.clone(),
            partitions,
            settings: configuration.into_iter().collect(),
            author: author(fence.as_ref()),
            deleting: None,
            changed: 0,
        };
        self.tree.ids.insert(topic_id);
        self.tree.topics.insert(name.clone(), topic);
        self.change_topic(&name, |_| {});
        self.replicate(std::time::Duration::ZERO);
        Ok(())
    }

    pub(crate) fn grow(&mut self, asked: &GrowTopicRequest) -> Result<(), Status> {
        let topic = self.topic(&asked.name, &asked.topic_id)?;
        check_assignment(&asked.assignment)?;
        let from = usize::try_from(asked.from).unwrap_or_default();
        let wanted: Vec<Vec<i32>> =
            asked.assignment.iter().map(|replicas| replicas.brokers.clone()).collect();
        let there: Vec<Vec<i32>> =
            topic.partitions.iter().skip(from).map(|one| one.replicas.clone()).collect();
        if topic.partitions.len() >= from && there == wanted {
            return Ok(());
        }
        if topic.partitions.len() != from {
            let words = format!("{} has {} partitions", asked.name, topic.partitions.len());
            return Err(Status::failed_precondition(words));
        }
        if topic.partitions.iter().any(Partition::moves) || topic.deleting.is_some() {
            let words = format!("replicas of {} move, or it goes", asked.name);
            return Err(Status::failed_precondition(words));
        }
        for replicas in &wanted {
            self.can_place(replicas)?;
        }
        let size = self.pace.partition_size;
        self.change_topic(&asked.name, |topic| {
            topic.partitions.extend(wanted.iter().map(|replicas| Partition::new(replicas, size)));
        });
        self.replicate(std::time::Duration::ZERO);
        Ok(())
    }

    pub(crate) fn configure_topic(&mut self, asked: ConfigureTopicRequest) -> Result<(), Status> {
        let ConfigureTopicRequest { fence, name, topic_id, set, reset } = asked;
        let mut settings = self.topic(&name, &topic_id)?.settings.clone();
        check_settings(&set)?;
        let before = settings.clone();
        settings.extend(set);
        settings.retain(|key, _| !reset.contains(key));
        if settings != before {
            let author = author(fence.as_ref());
            self.change_topic(&name, |topic| (topic.settings, topic.author) = (settings, author));
        }
        Ok(())
    }

    pub(crate) fn delete(&mut self, asked: &DeleteTopicRequest) -> Result<(), Status> {
        if self.refused_deletions.contains(&asked.name) {
            return Err(Status::failed_precondition("delete.topic.enable is false"));
        }
        let now = self.now;
        let is_there = self.topic(&asked.name, &asked.topic_id);
        if is_there.is_ok_and(|topic| topic.deleting.is_none()) {
            self.change_topic(&asked.name, |topic| topic.deleting = Some(now));
        }
        Ok(())
    }

    pub(crate) fn check(&self, asked: &CheckTopicRequest) -> CheckTopicResponse {
        let mut problems = Vec::new();
        let mut say = |field: &str, message: String| {
            problems.push(Problem { field: field.to_owned(), message });
        };
        for (name, value) in asked.configuration.iter().collect::<BTreeMap<_, _>>() {
            if let Err(error) = key::topic(name).and_then(|key| key.accept(value)) {
                say(&format!("configuration.{name}"), error.to_string());
            }
        }
        let up = self.processes.values().filter(|process| process.is_up()).count();
        if asked.assignment.is_empty() && asked.replication_factor > up as i32 {
            say("replication_factor", format!("{up} brokers are there"));
        }
        for replicas in &asked.assignment {
            if let Err(status) = self.can_place(&replicas.brokers) {
                say("assignment", status.message().to_owned());
            }
        }
        let there = self.tree.topics.get(&asked.name);
        let factor =
            there.and_then(|topic| topic.partitions.iter().map(|one| one.target().len()).min());
        CheckTopicResponse {
            problems,
            existing_topic_id: there.map(|topic| topic.id.clone()).unwrap_or_default(),
            existing_partitions: there.map_or(0, |topic| topic.partitions.len() as u32),
            existing_replication_factor: factor.unwrap_or_default() as u32,
        }
    }

    pub(crate) fn configure_brokers(
        &mut self,
        asked: &ConfigureBrokersRequest,
    ) -> Result<(), Status> {
        for (name, value) in asked.set.iter().collect::<BTreeMap<_, _>>() {
            let key = key::broker(name).and_then(|key| key.accept(value).map(|()| key));
            let scope = key.map_err(|error| Status::invalid_argument(error.to_string()))?.scope;
            let is_dynamic = match scope {
                Scope::ClusterWide => true,
                Scope::PerBroker => asked.broker_id.is_some(),
                Scope::ReadOnly | Scope::Topic => false,
            };
            if !is_dynamic {
                return Err(Status::invalid_argument(format!("{name} needs a restart")));
            }
        }
        let place = match asked.broker_id {
            Some(broker) => self.tree.broker_settings.entry(broker).or_default(),
            None => &mut self.tree.settings,
        };
        let before = place.clone();
        place.extend(asked.set.clone());
        place.retain(|key, _| !asked.reset.contains(key));
        if *place != before {
            self.touch();
        }
        self.tree.broker_settings.retain(|_, settings| !settings.is_empty());
        Ok(())
    }

    pub(crate) fn cordon(&mut self, broker: i32, is_cordoned: bool) -> Vec<i32> {
        let has_changed = if is_cordoned {
            self.tree.cordoned.insert(broker)
        } else {
            self.tree.cordoned.remove(&broker)
        };
        if has_changed {
            self.touch();
        }
        self.tree.cordoned.iter().copied().collect()
    }

    pub(crate) fn forget(&mut self, broker: i32) -> Result<(), Status> {
        let held = self.tree.replicas_of(broker);
        if self.epoch(broker).is_some() || held > 0 {
            let words = format!("broker {broker} is registered, or has {held} replicas");
            return Err(Status::failed_precondition(words));
        }
        let had = self.tree.broker_settings.remove(&broker).is_some();
        if self.tree.cordoned.remove(&broker) || had {
            self.touch();
        }
        Ok(())
    }
}

/// Who changes something, in words.
fn author(fence: Option<&Fence>) -> String {
    let fence = fence.cloned().unwrap_or_default();
    format!("operator {} in term {}", fence.holder, fence.term)
}

fn check_assignment(assignment: &[ReplicaList]) -> Result<(), Status> {
    let is_set = |list: &ReplicaList| {
        let mut brokers = list.brokers.clone();
        brokers.sort_unstable();
        brokers.dedup();
        !brokers.is_empty() && brokers.len() == list.brokers.len()
    };
    if assignment.is_empty() || !assignment.iter().all(is_set) {
        return Err(Status::invalid_argument("assignment: each partition has brokers, each once"));
    }
    Ok(())
}

fn check_settings(settings: &HashMap<String, String>) -> Result<(), Status> {
    for (name, value) in settings {
        let checked = key::topic(name).and_then(|key| key.accept(value));
        checked.map_err(|error| Status::invalid_argument(format!("{name}: {error}")))?;
    }
    Ok(())
}
