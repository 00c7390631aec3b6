//! What an operator has made, grown and deleted: it says which topic it means by an id, and that it is the newest.
//!
//! A call whose answer was lost comes again, so what is as it was asked for is no error. Nothing waits for the
//! controller: what is written can be read by whoever reads the tree.

use std::collections::BTreeMap;

use broker_protocol::uuid::Uuid;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::store::Op;

use super::assignment::Growth;
use super::error::AdminError;
use super::{Admin, NewTopic, write};
use crate::controller::topic_name;
use crate::request_time::RequestTime;

/// More partitions, as an operator wants them.
#[derive(Debug, Clone)]
pub struct Addition {
    /// The topic.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub from: i32,
    /// The replicas of each new one.
    pub replicas: Vec<Vec<i32>>,
}

impl Admin {
    /// Makes a topic with this id while `is_newest` holds.
    ///
    /// # Errors
    /// `Exists` and `Going` for another topic of the name, `Fenced`, and what is wrong with the topic.
    pub async fn make_operated(
        &self,
        new: &NewTopic,
        id: Uuid,
        is_newest: &Op,
        time: &mut RequestTime,
    ) -> Result<(), AdminError> {
        topic_name::check(&new.name)?;
        let found = time.tree(self.look(&new.name)).await?;
        if time.tree(self.is_marked(&new.name)).await? {
            return Err(AdminError::Going(new.name.clone()));
        }
        if let Some(found) = found {
            let is_ours = is_of(&found, id);
            return if is_ours { Ok(()) } else { Err(AdminError::Exists(new.name.clone())) };
        }
        let snapshot = self.metadata.load();
        if let Some(other) = snapshot.topic_by_id(id).filter(|other| *other.name != *new.name) {
            return Err(AdminError::IdTaken { id, topic: other.name.clone() });
        }
        let mut others = snapshot.topics.keys();
        if let Some(with) = others.find(|with| topic_name::collide(with, &new.name)) {
            return Err(AdminError::Collision { name: new.name.clone(), with: with.clone() });
        }
        let wrong = self.wrong_settings(&new.config);
        if !wrong.is_empty() {
            let wrong: Vec<_> = wrong.into_iter().map(|(_, message)| message).collect();
            return Err(AdminError::Config(wrong.join("; ")));
        }
        loop {
            let mut open = self.open(time, &snapshot).await?;
            open.and(is_newest);
            let assignment = self.assign(new, &open)?;
            match time.tree(self.write_topic(new, assignment, id, open.conditions())).await {
                Err(AdminError::Cordoned) => {}
                written => return written,
            }
        }
    }

    /// Adds partitions while `is_newest` holds.
    ///
    /// # Errors
    /// `Unknown` where no topic of the name has the id, `Otherwise` where it has other partitions than was said,
    /// `Moving`, `Fenced`, and what is wrong with the replicas.
    pub async fn grow_operated(
        &self,
        addition: &Addition,
        is_newest: &Op,
        time: &mut RequestTime,
    ) -> Result<(), AdminError> {
        let Addition { name, id, from, replicas } = addition;
        let wanted = i32::try_from(replicas.len()).ok().and_then(|count| from.checked_add(count));
        let wanted = wanted.ok_or(AdminError::PartitionCount { asked: i32::MAX })?;
        let snapshot = self.metadata.load();
        loop {
            let mut open = self.open(time, &snapshot).await?;
            open.and(is_newest);
            let growth = Growth { topic: name, wanted, chosen: Some(replicas), start: 0 };
            let lacks = |node: &Topic| {
                if !is_of(node, *id) {
                    return Err(AdminError::Unknown(name.clone()));
                }
                let current = node.partitions.len();
                let has = |(number, replicas)| node.partitions.get(&number) == Some(replicas);
                if current == wanted as usize && (*from..).zip(replicas).all(has) {
                    return Ok(BTreeMap::new());
                }
                if i32::try_from(current) != Ok(*from) {
                    return Err(AdminError::Otherwise {
                        topic: name.clone(),
                        current,
                        said: *from,
                    });
                }
                growth.of(node, &open)
            };
            let grown = write::grow(&*self.store, name, lacks, open.conditions());
            match time.tree(grown).await {
                Err(AdminError::Cordoned) => {}
                grown => return grown,
            }
        }
    }

    /// Marks the topic with this id for deletion while `is_newest` holds. One that is gone, or another of its name, is
    /// no error.
    ///
    /// # Errors
    /// `DeletionDisabled`, `Fenced`.
    pub async fn mark_operated(
        &self,
        name: &str,
        id: Uuid,
        is_newest: &Op,
        time: &mut RequestTime,
    ) -> Result<(), AdminError> {
        let found = time.tree(self.look(name)).await?;
        if !found.is_some_and(|found| is_of(&found, id)) {
            return Ok(());
        }
        if !self.config.load().delete_topic_enable {
            return Err(AdminError::DeletionDisabled);
        }
        let conditions = [is_newest.clone()];
        match time.tree(write::mark(&*self.store, name, id, &conditions)).await {
            Err(AdminError::Unknown(_)) => Ok(()),
            marked => marked,
        }
    }

    async fn look(&self, name: &str) -> Result<Option<Topic>, AdminError> {
        let path = path::topic(name);
        let found = write::current(&*self.store, &path).await?;
        let found = found.map(|(data, _)| Topic::decode(&path, &data).map_err(TreeError::from));
        Ok(found.transpose()?)
    }

    async fn is_marked(&self, name: &str) -> Result<bool, AdminError> {
        Ok(write::current(&*self.store, &path::delete_topic(name)).await?.is_some())
    }
}

fn is_of(topic: &Topic, id: Uuid) -> bool {
    topic.topic_id.as_ref().is_some_and(|found| *found == id.to_string())
}
