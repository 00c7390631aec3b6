//! What calls write that meet each other, and whose answers are lost.

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::faulty::{Faults, FaultyStore};
use broker_zookeeper::path;
use broker_zookeeper::sessions::{Origin, Sessions};
use broker_zookeeper::store::CreateMode;

use super::*;
use crate::controller::membership;
use crate::metadata::Broker;

/// How many ways a thing goes wrong are tried.
const SEEDS: u64 = 200;

fn faults(seed: u64) -> Faults {
    Faults { seed, lost_answers: 0.4, ..Faults::NONE }
}

/// A session of another broker.
async fn session(tree: &EmbeddedTree, faults: Faults) -> FaultyStore {
    FaultyStore::new(Arc::new(tree.session().await), faults)
}

/// A tree that has the topic `t` of one partition.
async fn with_topic(id: Uuid) -> EmbeddedTree {
    let tree = EmbeddedTree::in_memory();
    let store = tree.session().await;
    membership::ensure_paths(&store).await.unwrap();
    store.create(&path::topic("t"), &node(id).encode(), CreateMode::Persistent).await.unwrap();
    tree
}

fn node(id: Uuid) -> topic::Topic {
    let partitions = BTreeMap::from([(0, vec![1, 2])]);
    topic::Topic { partitions, topic_id: Some(id.to_string()), ..topic::Topic::default() }
}

async fn written(tree: &EmbeddedTree) -> topic::Topic {
    let (data, _) = tree.session().await.get(&path::topic("t")).await.unwrap();
    topic::Topic::decode("/t", &data).unwrap()
}

/// Gives `t` a second partition with these replicas.
async fn grow(store: &FaultyStore, replicas: [i32; 2]) -> Result<(), AdminError> {
    let mut open = Open::default();
    for id in [1, 2, 3].map(BrokerId) {
        open.brokers.insert(id, Broker { rack: None, endpoints: Vec::new() });
    }
    let chosen = [replicas.to_vec()];
    let growth = Growth { topic: "t", wanted: 2, chosen: Some(&chosen), start: 0 };
    write::grow(store, "t", |node| growth.of(node, &open), &[]).await
}

/// Asserts that one of two calls was done, and the other refused as `refused` says; returns the former's
/// position.
fn done(
    outcomes: &[Result<(), AdminError>; 2],
    refused: impl Fn(&AdminError) -> bool,
    seed: u64,
) -> usize {
    let first = usize::from(outcomes[0].is_err());
    assert!(outcomes[first].is_ok(), "seed {seed}: {outcomes:?}");
    let other = outcomes[1 - first].as_ref();
    assert!(other.is_err_and(refused), "seed {seed}: {outcomes:?}");
    first
}

/// A broker that has not heard yet that the topic has grown is asked too: its records are where the tree says.
#[tokio::test]
async fn partitions_that_exist_keep_their_replicas() {
    let tree = with_topic(fresh_id()).await;
    let store = session(&tree, Faults::NONE).await;
    grow(&store, [1, 2]).await.unwrap();
    let again = grow(&store, [2, 3]).await;
    assert_eq!(written(&tree).await.partitions, BTreeMap::from([(0, vec![1, 2]), (1, vec![1, 2])]));
    assert!(matches!(again, Err(AdminError::NotMore { current: 2, .. })), "{again:?}");
}

/// Of a topic whose replicas are moved it is open how many new partitions are to have.
/// A row is (replicas of the partitions from 3 on, what is said of the first that cannot be now).
#[test]
fn a_broker_that_gets_no_replicas_is_named_with_its_partition() {
    let mut open = Open::default();
    open.brokers.extend([1, 2].map(|id| (BrokerId(id), Broker { rack: None, endpoints: vec![] })));
    open.cordoned.insert(BrokerId(3));
    let rows: [([[i32; 2]; 2], &str); 2] = [
        ([[1, 2], [2, 9]], "partition 4 is to be on broker 9, which is not alive"),
        ([[1, 3], [2, 9]], "partition 3 is to be on broker 3, which is cordoned: it is being"),
    ];
    for (replicas, words) in rows {
        let chosen = (3..).zip(replicas.map(Vec::from)).collect();
        let said = assignment::check(&chosen, 3, &open).unwrap_err().to_string();
        assert!(said.starts_with(words), "{said}");
    }
}

#[tokio::test]
async fn a_topic_that_moves_does_not_grow() {
    let tree = with_topic(fresh_id()).await;
    let store = session(&tree, Faults::NONE).await;
    let mut moving = written(&tree).await;
    moving.partitions.insert(0, vec![1, 2, 3]);
    moving.adding_replicas.insert(0, vec![3]);
    store.set(&path::topic("t"), &moving.encode(), None).await.unwrap();
    let refused = grow(&store, [1, 2]).await;
    assert!(matches!(refused, Err(AdminError::Moving(_))), "{refused:?}");
    assert_eq!(written(&tree).await, moving);
}

#[tokio::test]
async fn of_two_calls_at_once_one_grows_a_topic_whatever_answers_are_lost() {
    for seed in 0..SEEDS {
        let tree = with_topic(fresh_id()).await;
        let one = session(&tree, faults(seed)).await;
        let other = session(&tree, faults(seed + SEEDS)).await;
        let chosen = [[1, 2], [2, 3]];
        let outcomes = tokio::join!(grow(&one, chosen[0]), grow(&other, chosen[1])).into();
        let done = done(&outcomes, |error| matches!(error, AdminError::NotMore { .. }), seed);
        assert_eq!(written(&tree).await.partitions[&1], chosen[done], "seed {seed}");
    }
}

#[tokio::test]
async fn of_two_calls_at_once_one_makes_a_topic_whatever_answers_are_lost() {
    for seed in 0..SEEDS {
        let tree = EmbeddedTree::in_memory();
        membership::ensure_paths(&tree.session().await).await.unwrap();
        let one = session(&tree, faults(seed)).await;
        let other = session(&tree, faults(seed + SEEDS)).await;
        let nodes = [node(fresh_id()), node(fresh_id())];
        let make = |store, node| write::make(store, "t", node, b"{}", &[]);
        let outcomes = tokio::join!(make(&one, &nodes[0]), make(&other, &nodes[1])).into();
        let done = done(&outcomes, |error| matches!(error, AdminError::Exists(_)), seed);
        assert_eq!(written(&tree).await, nodes[done], "seed {seed}");
    }
}

/// The next session says what became of a write.
#[tokio::test]
async fn a_session_that_ends_refuses_no_call() {
    let tree = with_topic(fresh_id()).await;
    let sessions = Sessions::begin(Origin::Embedded(tree.clone())).await.unwrap();
    let live = sessions.live();
    tree.expire(live.session_id()).await;
    let new = node(fresh_id());
    let (made, _) = tokio::join!(write::make(&*live, "u", &new, b"{}", &[]), sessions.renew());
    made.unwrap();
    assert!(live.exists(&path::topic("u")).await.unwrap().is_some());
}

/// The deletion is done while its answer is lost, and somebody makes a topic of that name.
#[tokio::test]
async fn a_topic_that_is_made_anew_is_not_deleted_by_the_call_before() {
    for seed in 0..SEEDS {
        let (old, new) = (fresh_id(), fresh_id());
        let tree = with_topic(old).await;
        let store = session(&tree, faults(seed)).await;
        let others = tree.session().await;
        let (topic, marker) = (path::topic("t"), path::delete_topic("t"));
        let controller = async {
            loop {
                let (found, mut changes) = others.exists_and_watch(&marker).await.unwrap();
                if found.is_some() {
                    others.delete(&topic, None).await.unwrap();
                    others.delete(&marker, None).await.unwrap();
                    let data = node(new).encode();
                    return others.create(&topic, &data, CreateMode::Persistent).await.unwrap();
                }
                changes.next().await;
            }
        };
        let delete = async {
            write::mark(&store, "t", old, &[]).await?;
            write::unmarked(&store, "t").await
        };
        let (gone, _) = tokio::join!(delete, controller);
        assert!(gone.is_ok(), "seed {seed}: {gone:?}");
        assert_eq!(others.exists(&marker).await, Ok(None), "seed {seed}");
        assert_eq!(written(&tree).await.topic_id, Some(new.to_string()), "seed {seed}");
        let late = write::mark(&store, "t", old, &[]).await;
        assert!(matches!(late, Err(AdminError::Unknown(_))), "seed {seed}: {late:?}");
    }
}
