//! What was read before anything is decided about a topic.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::{Broker, Load};
use crate::crd::topic::{TopicSpec, TopicStatus};

/// All that a decision looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The object.
    pub object: Object,
    /// The cluster that it names.
    pub cluster: Cluster,
    /// An id that no topic has: that of the topic if it is to be made.
    pub fresh_id: String,
}

/// The `Topic` object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Of the spec.
    pub generation: i64,
    /// Whether it is to be deleted.
    pub is_deleted: bool,
    /// Whether it waits for the operator before it goes.
    pub has_finalizer: bool,
    /// What is wanted.
    pub spec: TopicSpec,
    /// What was said last.
    pub status: TopicStatus,
    /// An older object of the same topic, by name.
    pub elder: Option<String>,
}

/// The cluster of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// There is no such object, or it is being deleted.
    Gone,
    /// It has not begun, or nobody answers: why, in words.
    Away(String),
    /// It answers.
    Here(Box<Here>),
}

/// What a cluster says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Whether the cluster's object says that nothing is to be done.
    pub is_paused: bool,
    /// The brokers that replicas may be placed on: registered, and not being emptied.
    pub brokers: Vec<Broker>,
    /// Brokers that belong to the cluster and are not registered just now: they keep what they have.
    pub away: Vec<Broker>,
    /// What brokers hold already, of all topics.
    pub load: Load,
    /// The topic of that name, if there is one.
    pub topic: Option<Existing>,
    /// What a broker finds wrong with the spec: the part of it, and what is wrong.
    pub problems: Vec<(String, String)>,
    /// Bytes that each broker may copy in a second for the sake of moves, as the cluster's object says it.
    pub throttle: String,
    /// Bytes of the topic that a reassignment has still to copy, if somebody knows.
    pub bytes_left: Option<u64>,
}

impl Here {
    /// The topic, if it has this id.
    pub fn of(&self, id: &str) -> Option<&Existing> {
        self.topic.as_ref().filter(|topic| topic.id.as_deref() == Some(id))
    }
}

/// A topic as it stands in the coordination tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Existing {
    /// Its id; `None` until the controller has given it one.
    pub id: Option<String>,
    /// The replicas of each partition, in order; those that come and those that go are among them.
    pub partitions: Vec<Vec<i32>>,
    /// Replicas that a reassignment adds, by partition.
    pub adding: BTreeMap<usize, Vec<i32>>,
    /// Replicas that a reassignment removes, by partition.
    pub removing: BTreeMap<usize, Vec<i32>>,
    /// Its settings.
    pub config: BTreeMap<String, String>,
    /// Who wrote them last, if that is known.
    pub config_author: Option<String>,
    /// Partitions that nobody leads.
    pub leaderless: BTreeSet<usize>,
    /// Whether it is marked for deletion.
    pub is_going: bool,
}

impl Existing {
    /// Whether replicas are being moved.
    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas of each partition once what moves is there.
    pub fn targets(&self) -> Vec<Vec<i32>> {
        self.without(&self.removing)
    }

    /// The replicas of each partition that were there before anything moved.
    pub fn origins(&self) -> Vec<Vec<i32>> {
        self.without(&self.adding)
    }

    fn without(&self, left_out: &BTreeMap<usize, Vec<i32>>) -> Vec<Vec<i32>> {
        let of = |(number, replicas): (usize, &Vec<i32>)| {
            let left_out = left_out.get(&number);
            let stays = |id: &i32| left_out.is_none_or(|left_out| !left_out.contains(id));
            replicas.iter().copied().filter(stays).collect()
        };
        self.partitions.iter().enumerate().map(of).collect()
    }
}
