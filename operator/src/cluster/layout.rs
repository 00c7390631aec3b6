//! What lies on the brokers of a cluster: partitions, their replicas, and what moves. Pure.
//!
//! A partition that moves is taken for what it leads to (`targets`): whoever looks again finds what it decided before.
//! Sizes are bytes; where nobody knows one, a batch counts a stand-in for it, and a plan says that it is missing.

use std::collections::BTreeSet;

/// All that lies on brokers, as it stands in the coordination tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Brokers that are registered, and those that replicas are assigned to, by id.
    pub brokers: Vec<Broker>,
    /// Topics, by name.
    pub topics: Vec<Topic>,
    /// Whether there are throttles of moves, of brokers or of topics.
    pub is_throttled: bool,
}

/// A broker in the coordination tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Where it says that it runs.
    pub rack: Option<String>,
    /// Whether it is registered.
    pub is_registered: bool,
    /// Whether no new replicas are placed on it.
    pub is_cordoned: bool,
    /// Replicas that are assigned to it, as the tree counts them.
    pub replicas: u64,
}

/// A topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; `None` until the controller has given it one.
    pub id: Option<String>,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
    /// Whether somebody else decides where its replicas are: an assignment is given, or it is being changed.
    pub is_fixed: bool,
    /// Whether it is marked for deletion.
    pub is_going: bool,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// Brokers that hold it, those that come and those that go among them; the preferred leader first.
    pub replicas: Vec<i32>,
    /// Of them, those that come.
    pub adding: Vec<i32>,
    /// Of them, those that go.
    pub removing: Vec<i32>,
    /// Of them, those in sync.
    pub in_sync: Vec<i32>,
    /// Bytes of its log, if somebody knows.
    pub size: Option<u64>,
}

impl Topic {
    /// Whether the size of every log is known.
    pub fn is_measured(&self) -> bool {
        self.partitions.iter().all(|partition| partition.size.is_some())
    }
}

impl Partition {
    /// Whether replicas come or go.
    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Its replicas once what moves is there.
    pub fn targets(&self) -> Vec<i32> {
        self.replicas.iter().copied().filter(|id| !self.removing.contains(id)).collect()
    }
}

/// Other replicas for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The topic's name.
    pub topic: String,
    /// The topic's id.
    pub topic_id: String,
    /// The partition's number.
    pub partition: usize,
    /// Its replicas now, or once what moves is there.
    pub from: Vec<i32>,
    /// Its replicas then.
    pub to: Vec<i32>,
    /// Bytes of its log, if somebody knows.
    pub size: Option<u64>,
}

impl Move {
    /// Brokers that get a replica.
    pub fn added(&self) -> impl Iterator<Item = i32> + '_ {
        self.to.iter().copied().filter(|id| !self.from.contains(id))
    }

    fn is_of_the_partition_of(&self, other: &Self) -> bool {
        (&self.topic, self.partition) == (&other.topic, other.partition)
    }

    /// Bytes that are copied, if somebody knows.
    pub fn bytes(&self) -> Option<u64> {
        let copies = u64::try_from(self.added().count()).unwrap_or(u64::MAX);
        self.size.map(|size| size.saturating_mul(copies))
    }
}

impl Layout {
    /// A broker.
    pub fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }

    /// Every partition of topics that stay, with its topic and number.
    pub fn partitions(&self) -> impl Iterator<Item = (&Topic, usize, &Partition)> {
        let staying = self.topics.iter().filter(|topic| !topic.is_going);
        staying.flat_map(|topic| {
            topic.partitions.iter().enumerate().map(move |(number, one)| (topic, number, one))
        })
    }

    /// Whether any replica comes or goes.
    pub fn is_moving(&self) -> bool {
        self.topics.iter().flat_map(|topic| &topic.partitions).any(Partition::is_moving)
    }
}

/// What is moved at a time: a change of mind waits for no more than this.
const BATCH_PARTITIONS: usize = 100;
const BATCH_BYTES: u64 = 10 << 30;
/// What is taken for the size of a partition that nobody knows.
const UNKNOWN_SIZE: u64 = 512 << 20;

/// Chooses of `moves` the first ones, which are begun now beside what moves already: one at least, once there is room.
///
/// Several moves of one partition, each from where the one before leads to, are begun as one. Those behind a partition
/// that moves already wait with it: what is left is then what was behind.
pub fn batch(layout: &Layout, moves: impl IntoIterator<Item = Move>) -> Vec<Move> {
    let mut busy = BTreeSet::new();
    let mut bytes = 0_u64;
    for (topic, number, partition) in layout.partitions() {
        if partition.is_moving() {
            busy.insert((topic.name.clone(), number));
            let copies = u64::try_from(partition.adding.len()).unwrap_or(u64::MAX);
            let size = partition.size.unwrap_or(UNKNOWN_SIZE);
            bytes = bytes.saturating_add(size.saturating_mul(copies));
        }
    }
    let mut begun: Vec<Move> = Vec::new();
    for one in moves {
        if busy.len() + begun.len() >= BATCH_PARTITIONS || bytes >= BATCH_BYTES {
            break;
        }
        if busy.contains(&(one.topic.clone(), one.partition)) {
            break;
        }
        let copies = u64::try_from(one.added().count()).unwrap_or(u64::MAX);
        let size = one.size.unwrap_or(UNKNOWN_SIZE);
        bytes = bytes.saturating_add(size.saturating_mul(copies));
        match begun.iter_mut().find(|begun| begun.is_of_the_partition_of(&one)) {
            Some(begun) => begun.to = one.to,
            None => begun.push(one),
        }
    }
    begun
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A topic of partitions that are at rest and in sync, each of so many bytes.
    pub(in crate::cluster) fn topic(name: &str, partitions: &[&[i32]], size: u64) -> Topic {
        let partition = |replicas: &&[i32]| Partition {
            replicas: replicas.to_vec(),
            in_sync: replicas.to_vec(),
            size: Some(size),
            ..Partition::default()
        };
        Topic {
            name: name.to_owned(),
            id: Some(format!("id-of-{name}")),
            partitions: partitions.iter().map(partition).collect(),
            ..Topic::default()
        }
    }

    /// Brokers that are registered, and what they hold.
    pub(in crate::cluster) fn layout(ids: &[i32], topics: Vec<Topic>) -> Layout {
        let broker = |id: &i32| Broker { id: *id, is_registered: true, ..Broker::default() };
        let mut layout =
            Layout { brokers: ids.iter().map(broker).collect(), topics, is_throttled: false };
        count(&mut layout);
        layout
    }

    /// Counts anew what brokers hold.
    pub(in crate::cluster) fn count(layout: &mut Layout) {
        let partitions = layout.topics.iter().flat_map(|topic| &topic.partitions);
        let held: Vec<i32> = partitions.flat_map(|one| one.replicas.clone()).collect();
        for broker in &mut layout.brokers {
            broker.replicas = held.iter().filter(|id| **id == broker.id).count() as u64;
        }
    }

    /// What a controller makes of moves: what comes and what goes is there until it is `finished`.
    pub(in crate::cluster) fn begin(layout: &mut Layout, moves: &[Move]) {
        for one in moves {
            let topic = layout.topics.iter_mut().find(|topic| topic.name == one.topic).unwrap();
            let partition = &mut topic.partitions[one.partition];
            let before: Vec<i32> = partition.in_sync.clone();
            partition.adding = one.to.iter().copied().filter(|id| !before.contains(id)).collect();
            partition.removing = before.iter().copied().filter(|id| !one.to.contains(id)).collect();
            partition.replicas = one.to.clone();
            partition.replicas.extend(&partition.removing);
        }
        count(layout);
    }

    /// Everything that moves is there.
    pub(in crate::cluster) fn finish(layout: &mut Layout) {
        for partition in layout.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.replicas = partition.targets();
            partition.in_sync.clone_from(&partition.replicas);
            (partition.adding, partition.removing) = (Vec::new(), Vec::new());
        }
        count(layout);
    }

    fn moved(topic: &str, partition: usize, size: Option<u64>) -> Move {
        let (from, to) = (vec![0], vec![1]);
        let (topic, topic_id) = (topic.to_owned(), String::new());
        Move { topic, topic_id, partition, from, to, size }
    }

    /// Bytes end a batch, or their number; what moves already counts, and is not moved again.
    #[test]
    fn a_batch_is_bounded() {
        let small = (0..500).map(|number| moved("t", number, Some(1)));
        assert_eq!(batch(&Layout::default(), small).len(), BATCH_PARTITIONS);
        let unknown = (0..500).map(|number| moved("t", number, None));
        assert_eq!(batch(&Layout::default(), unknown).len(), 20);
        let huge = [moved("t", 0, Some(1 << 50)), moved("t", 1, Some(1))];
        assert_eq!(batch(&Layout::default(), huge.clone()), huge[..1]);

        let mut moving = layout(&[0, 1], vec![topic("t", &[&[0], &[0]], 1)]);
        begin(&mut moving, &huge[1..]);
        assert_eq!(batch(&moving, huge.clone()), huge[..1]);
        assert_eq!(batch(&moving, [huge[1].clone(), huge[0].clone()]), []);
        moving.topics[0].partitions[1].size = Some(BATCH_BYTES);
        assert_eq!(batch(&moving, huge), []);
    }

    /// A partition that gets two other replicas is copied to both at once, and moves once.
    #[test]
    fn several_moves_of_a_partition_are_begun_as_one() {
        let one = |from: [i32; 3], to: [i32; 3]| Move {
            from: from.to_vec(),
            to: to.to_vec(),
            ..moved("t", 0, Some(7))
        };
        let moves = [one([0, 1, 2], [3, 1, 2]), one([3, 1, 2], [3, 1, 4]), moved("u", 0, None)];
        let begun = batch(&Layout::default(), moves.clone());
        assert_eq!(begun, [one([0, 1, 2], [3, 1, 4]), moves[2].clone()]);
        assert_eq!(begun[0].bytes(), Some(14));
    }

    /// A replica that is only in another order is copied by nobody.
    #[test]
    fn only_what_is_added_is_copied() {
        let one = Move { from: vec![0, 1, 2], to: vec![2, 0, 1], ..moved("t", 0, Some(7)) };
        assert_eq!(one.bytes(), Some(0));
        let two = Move { to: vec![3, 0, 4], ..one };
        assert_eq!((two.bytes(), two.added().collect::<Vec<_>>()), (Some(14), vec![3, 4]));
    }
}
