//! The controller's writes against the embedded tree, with and without lost answers.

use std::collections::BTreeMap;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::faulty::{Faults, FaultyStore};
use broker_zookeeper::store::CreateMode;

use super::*;
use crate::controller::membership::ensure_paths;
use crate::controller::read::{self, StateReading};
use crate::controller::state::assignment::Assignment;
use crate::controller::state::effect::StateWrite;
use crate::controller::state::request::Guard;
use crate::membership::controller_election::stand;

const ID: Uuid = Uuid::from_bytes([7; 16]);

fn name(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

fn state(leader: i32, leader_epoch: i32) -> StateWrite {
    StateWrite {
        leader: Some(BrokerId(leader)),
        leader_epoch: LeaderEpoch(leader_epoch),
        isr: vec![BrokerId(leader)],
        recovering: false,
    }
}

fn create(partition: i32, is_first: bool) -> Change {
    Change::CreateState { partition: name(partition), state: state(1, 0), is_first }
}

fn set(partition: i32, version: i32, leader_epoch: i32) -> Change {
    Change::SetState { partition: name(partition), version, state: state(2, leader_epoch) }
}

async fn cluster() -> (EmbeddedTree, Arc<dyn Store>, Term) {
    let tree = EmbeddedTree::in_memory();
    let store: Arc<dyn Store> = Arc::new(tree.session().await);
    ensure_paths(&*store).await.unwrap();
    store.create("/brokers/topics/t", b"{}", CreateMode::Persistent).await.unwrap();
    let term = stand(&*store, BrokerId(1), 0).await.unwrap().unwrap();
    (tree, store, term)
}

async fn versions(store: &dyn Store, count: i32) -> Vec<Option<(i32, i32)>> {
    let all = (0..count).map(name).collect();
    let states = read::states(store, &all).await.unwrap();
    let said = |state| match state {
        StateReading::Is(state) => Some((state.version, state.leader_epoch.0)),
        StateReading::Missing | StateReading::Unreadable => None,
    };
    states.into_iter().map(|(_, state)| said(state)).collect()
}

/// One that conflicts, one that is there already and one without its topic do not keep the others
/// from being made; parents are made where they are missing, whoever is said to be first.
#[tokio::test]
async fn each_change_is_made_or_not_by_itself() {
    let (_tree, store, term) = cluster().await;
    let tree = Tree::new(Arc::clone(&store), term);
    assert_eq!(tree.write(&[create(0, false), create(1, false)]).await.unwrap(), [Ok(0), Ok(0)]);
    let other = TopicPartition { topic: "gone".into(), partition: 0 };
    let changes = [
        set(0, 0, 1),
        set(1, 5, 1),
        create(1, true),
        create(2, false),
        Change::CreateState { partition: other, state: state(1, 0), is_first: true },
    ];
    let made = tree.write(&changes).await.unwrap();
    let expected = [
        Ok(1),
        Err(WriteError::Conflict),
        Err(WriteError::Exists),
        Ok(0),
        Err(WriteError::Missing),
    ];
    assert_eq!(made, expected);
    assert_eq!(versions(&*store, 3).await, [Some((1, 1)), Some((0, 0)), Some((0, 0))]);
}

/// Each of many says that it may be the first: the parent is made once, and is there for all.
#[tokio::test]
async fn the_first_states_of_a_topic_share_a_parent() {
    let (_tree, store, term) = cluster().await;
    let tree = Tree::new(Arc::clone(&store), term);
    let changes: Vec<_> = (0..600).map(|partition| create(partition, true)).collect();
    for again in [Ok(0), Err(WriteError::Exists)] {
        assert_eq!(tree.write(&changes).await.unwrap(), vec![again; 600]);
    }
}

#[tokio::test]
async fn a_controller_that_was_followed_by_another_writes_nothing() {
    let (embedded, store, term) = cluster().await;
    let next = embedded.session().await;
    store.delete(path::CONTROLLER, None).await.unwrap();
    stand(&next, BrokerId(2), 0).await.unwrap().unwrap();
    let tree = Tree::new(Arc::clone(&store), term);
    assert!(matches!(tree.write(&[create(0, true)]).await, Err(Ended::Fenced)));
    assert_eq!(versions(&*store, 1).await, [None]);
}

/// A deletion leaves nothing, whatever others have put below the topic, and a part that is gone
/// already is no failure.
#[tokio::test]
async fn a_topic_is_deleted_with_all_that_is_below_it() {
    let (_tree, store, term) = cluster().await;
    let tree = Tree::new(Arc::clone(&store), term);
    for partition in 0..600 {
        assert_eq!(tree.write(&[create(partition, true)]).await.unwrap(), [Ok(0)]);
    }
    for foreign in ["/brokers/topics/t/x", "/brokers/topics/t/x/y", "/admin/delete_topics/t"] {
        store.create(foreign, b"", CreateMode::Persistent).await.unwrap();
    }
    let delete = Change::DeleteTopic { topic: "t".into(), partitions: (0..601).collect() };
    assert_eq!(tree.write(&[delete]).await.unwrap(), [Ok(0)]);
    assert!(store.children(path::TOPICS).await.unwrap().is_empty());
    assert!(store.children(path::DELETE_TOPICS).await.unwrap().is_empty());
}

/// Answers that are lost, whether the write was done or not, leave what was asked for: made once.
#[tokio::test]
async fn lost_answers_lose_and_double_nothing() {
    for seed in 0..50 {
        let (_tree, store, term) = cluster().await;
        let faults = Faults { seed, lost_answers: 0.3, ..Faults::NONE };
        let lossy: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&store), faults));
        let tree = Tree::new(lossy, term);
        let made = tree.write(&[create(0, true), create(1, false)]).await.unwrap();
        assert_eq!(made, [Ok(0), Ok(0)], "seed {seed}");
        for round in 0..5 {
            let made = tree.write(&[set(0, round, round + 1), set(1, 77, 9)]).await.unwrap();
            assert_eq!(made, [Ok(round + 1), Err(WriteError::Conflict)], "seed {seed}");
        }
        let topic = Change::SetTopic {
            topic: "t".into(),
            version: 0,
            id: ID,
            partitions: BTreeMap::from([(0, Assignment::default()), (1, Assignment::default())]),
            guards: BTreeSet::new(),
        };
        assert_eq!(tree.write(&[topic]).await.unwrap(), [Ok(1)], "seed {seed}");
        assert_eq!(versions(&*store, 2).await, [Some((5, 5)), Some((0, 0))], "seed {seed}");
    }
}

/// A guard that does not hold keeps its own change from being made, and no other; one that holds keeps none, whatever
/// is lost.
#[tokio::test]
async fn a_topic_is_written_while_what_guards_it_is_as_it_was() {
    for seed in 0..20 {
        let (_tree, store, term) = cluster().await;
        store.create("/brokers/topics/u", b"{}", CreateMode::Persistent).await.unwrap();
        store.create("/ottla", b"", CreateMode::Persistent).await.unwrap();
        for path in [path::OPERATOR, path::CORDONED] {
            store.create(path, b"", CreateMode::Persistent).await.unwrap();
        }
        store.set(path::CORDONED, b"", None).await.unwrap();
        let set = |topic: &str, version, guards: &[(i32, Option<i32>)]| Change::SetTopic {
            topic: topic.into(),
            version,
            id: ID,
            partitions: BTreeMap::from([(0, Assignment::default())]),
            guards: guards
                .iter()
                .map(|(operator, cordoned)| Guard { operator: *operator, cordoned: *cordoned })
                .collect(),
        };
        let faults = Faults { seed, lost_answers: 0.3, ..Faults::NONE };
        let lossy: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&store), faults));
        let tree = Tree::new(lossy, term);
        for (version, stale) in [(0, (1, Some(1))), (1, (0, Some(0))), (2, (1, None))] {
            let both = [set("t", 0, &[(0, Some(1)), stale]), set("u", version, &[])];
            let made = tree.write(&both).await.unwrap();
            assert_eq!(made, [Err(WriteError::NotHeld), Ok(version + 1)], "seed {seed}");
        }
        let both = [set("t", 0, &[(0, Some(1))]), set("u", 3, &[(0, None)])];
        assert_eq!(tree.write(&both).await.unwrap(), [Ok(1), Ok(4)], "seed {seed}");
    }
}

/// States of many partitions take several transactions at once; each is replaced once, and those that
/// conflict keep none from it, whatever is lost.
#[tokio::test]
async fn many_states_are_replaced_at_once() {
    const COUNT: i32 = 2_600;
    for (seed, lost_answers) in [(1, 0.0), (2, 0.3), (3, 0.6)] {
        let (_tree, store, term) = cluster().await;
        let faults = Faults { seed, lost_answers, ..Faults::NONE };
        let lossy: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&store), faults));
        let tree = Tree::new(lossy, term);
        let all: Vec<_> = (0..COUNT).map(|partition| create(partition, partition == 0)).collect();
        assert_eq!(tree.write(&all).await.unwrap(), vec![Ok(0); COUNT as usize]);
        let is_wrong = |partition: i32| partition % 1_000 == 7;
        let version = |partition| if is_wrong(partition) { 5 } else { 0 };
        let sets: Vec<_> = (0..COUNT).map(|number| set(number, version(number), 1)).collect();
        let made = tree.write(&sets).await.unwrap();
        for (number, made) in (0..COUNT).zip(made) {
            let right = if is_wrong(number) { Err(WriteError::Conflict) } else { Ok(1) };
            assert_eq!(made, right, "partition {number}, seed {seed}");
        }
        let expected = |number| Some(if is_wrong(number) { (0, 0) } else { (1, 1) });
        assert_eq!(versions(&*store, COUNT).await, (0..COUNT).map(expected).collect::<Vec<_>>());
    }
}
