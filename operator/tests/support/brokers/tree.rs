//! What stands in the coordination tree of the model: topics, settings, cordons, the operator's term, the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The tree of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// By name.
    pub(crate) topics: BTreeMap<String, Topic>,
    /// Ids that topics have or had.
    pub(crate) ids: BTreeSet<String>,
    /// Settings of all brokers that were changed without a restart.
    pub(crate) settings: BTreeMap<String, String>,
    /// The same of single brokers.
    pub(crate) broker_settings: BTreeMap<i32, BTreeMap<String, String>>,
    pub(crate) cordoned: BTreeSet<i32>,
    /// The highest term of an operator, and its holder.
    pub(crate) fence: Option<(u64, String)>,
    pub(crate) controller: Option<Controller>,
    /// What moves may copy in a second, by topic and by broker, where a call has bounded it.
    pub(crate) topic_throttles: BTreeSet<String>,
    pub(crate) broker_throttles: BTreeMap<i32, u64>,
}

/// Who is the controller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Controller {
    pub(crate) broker: i32,
    /// The first one has 1.
    pub(crate) epoch: i32,
    pub(crate) since: Duration,
}

/// One topic.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) id: String,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) settings: BTreeMap<String, String>,
    /// Who changed the settings last, in words.
    pub(crate) author: String,
    /// Since when it is marked for deletion.
    pub(crate) deleting: Option<Duration>,
    /// The change of the model that changed it last.
    pub(crate) changed: u64,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partition {
    /// The first is the preferred leader; those that come and those that go are among them.
    pub(crate) replicas: Vec<i32>,
    pub(crate) adding: Vec<i32>,
    pub(crate) removing: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    pub(crate) leader: Option<i32>,
    /// Bytes of its log.
    pub(crate) size: u64,
    /// Bytes that each replica that comes has of them.
    pub(crate) copied: BTreeMap<i32, u64>,
}

impl Partition {
    /// A new one, with all its replicas in sync.
    pub(crate) fn new(replicas: &[i32], size: u64) -> Self {
        Self { replicas: replicas.to_vec(), isr: replicas.to_vec(), size, ..Self::default() }
    }

    /// Whether its replicas are being changed.
    pub(crate) fn moves(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas that there are once nothing moves any more.
    pub(crate) fn target(&self) -> Vec<i32> {
        let stays = |id: &&i32| !self.removing.contains(id);
        self.replicas.iter().filter(stays).copied().collect()
    }

    /// Bytes that its new replicas lack.
    pub(crate) fn bytes_left(&self) -> u64 {
        let has = |id| self.copied.get(id).copied().unwrap_or_default();
        self.adding.iter().map(|id| self.size.saturating_sub(has(id))).sum()
    }
}

impl Tree {
    /// Every partition, with the names of its topic and its number.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&str, usize, &Partition)> {
        self.topics.iter().flat_map(|(name, topic)| {
            let numbered = topic.partitions.iter().enumerate();
            numbered.map(|(number, partition)| (name.as_str(), number, partition))
        })
    }

    /// How many replicas a broker has, those that come among them.
    pub(crate) fn replicas_of(&self, broker: i32) -> usize {
        let held = self.partitions().filter(|(_, _, one)| one.replicas.contains(&broker));
        held.count()
    }

    /// Whether any replicas are being changed.
    pub(crate) fn moves(&self) -> bool {
        self.partitions().any(|(_, _, one)| one.moves())
    }
}
