//! Whether a topic could be as it is described, in words, and all of it at once. Nothing is written.

use std::collections::BTreeMap;

use broker_config::topic::TopicConfig;
use broker_protocol::uuid::Uuid;

use super::assignment;
use super::cordon::Open;
use super::error::AdminError;
use super::{Admin, NewTopic};
use crate::controller::topic_name;
use crate::metadata::Metadata;
use crate::request_time::RequestTime;

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The part of it.
    pub field: Field,
    /// What is wrong with it, and what would not be.
    pub message: String,
}

/// A part of a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The name.
    Name,
    /// The number of partitions.
    Partitions,
    /// The replication factor.
    ReplicationFactor,
    /// The replicas that were chosen.
    Assignment,
    /// This setting.
    Config(String),
}

/// What there is of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Existing {
    /// Its id.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: usize,
    /// The replicas of the partition that has fewest.
    pub replication_factor: usize,
}

impl Admin {
    /// Checks whether a topic could be made, or changed, as it is described.
    ///
    /// # Errors
    /// Where the tree does not say which brokers are cordoned.
    pub async fn check_topic(
        &self,
        new: &NewTopic,
        time: &mut RequestTime,
    ) -> Result<(Vec<Problem>, Option<Existing>), AdminError> {
        let snapshot = self.metadata.load();
        let open = self.open(time, &snapshot).await?;
        let existing = existing(&snapshot, &new.name);
        let mut problems = Vec::new();
        let mut add = |field, error: &dyn std::fmt::Display| {
            problems.push(Problem { field, message: error.to_string() });
        };
        if let Err(error) = name(&snapshot, &new.name) {
            add(Field::Name, &error);
        }
        if let Err(error) = partitions(new, existing) {
            add(Field::Partitions, &error);
        }
        if let Some(chosen) = &new.assignment {
            if let Err(error) = assignment::check(chosen, 0, &open) {
                add(Field::Assignment, &error);
            }
        } else if let Err(error) = self.replicas(new, existing, &open) {
            add(Field::ReplicationFactor, &error);
        }
        for (key, error) in self.wrong_settings(&new.config) {
            add(Field::Config(key), &error);
        }
        Ok((problems, existing))
    }

    fn replicas(
        &self,
        new: &NewTopic,
        existing: Option<Existing>,
        open: &Open,
    ) -> Result<(), AdminError> {
        let is_unchanged = existing.is_some_and(|existing| {
            new.replication_factor.is_none_or(|asked| asked as usize == existing.replication_factor)
        });
        if is_unchanged {
            return Ok(());
        }
        // One partition shows what any number of them needs.
        let one = NewTopic { partitions: Some(1), ..new.clone() };
        self.assign(&one, open).map(drop)
    }

    /// Says of each setting that cannot be what is wrong with it.
    pub(super) fn wrong_settings(
        &self,
        settings: &BTreeMap<String, String>,
    ) -> Vec<(String, String)> {
        let config = self.config.load();
        let refused = |settings: &BTreeMap<String, String>| {
            TopicConfig::resolve(&config, settings).err().map(|error| error.to_string())
        };
        let each = settings.iter().filter_map(|(key, value)| {
            let alone = BTreeMap::from([(key.clone(), value.clone())]);
            Some((key.clone(), refused(&alone)?))
        });
        let mut found: Vec<_> = each.collect();
        // Settings that are right alone can contradict each other.
        if found.is_empty()
            && let Some(error) = refused(settings)
        {
            let first = settings.keys().next().cloned().unwrap_or_default();
            found.push((first, error));
        }
        found
    }
}

fn existing(snapshot: &Metadata, name: &str) -> Option<Existing> {
    let topic = snapshot.topic(name)?;
    let factors = topic.partitions.iter().map(|partition| partition.replicas.len());
    Some(Existing {
        id: topic.id,
        partitions: topic.partitions.len(),
        replication_factor: factors.min().unwrap_or_default(),
    })
}

fn name(snapshot: &Metadata, name: &str) -> Result<(), AdminError> {
    topic_name::check(name)?;
    let others = snapshot.topics.keys().filter(|other| ***other != *name);
    match others.into_iter().find(|other| topic_name::collide(other, name)) {
        Some(with) => Err(AdminError::Collision { name: name.to_owned(), with: with.clone() }),
        None => Ok(()),
    }
}

fn partitions(new: &NewTopic, existing: Option<Existing>) -> Result<(), AdminError> {
    let Some(asked) = new.partitions else { return Ok(()) };
    let count = assignment::partition_count(asked)?;
    if let Some(existing) = existing
        && count < existing.partitions
    {
        let (topic, current) = (new.name.clone(), existing.partitions);
        return Err(AdminError::Fewer { topic, current, asked });
    }
    if let Some(chosen) = new.assignment.as_ref().filter(|chosen| chosen.len() != count) {
        return Err(AdminError::AssignmentCount { asked, named: chosen.len() });
    }
    Ok(())
}
