//! Topics made, grown and marked for deletion in the tree, each once.
//!
//! A lost answer leaves it open whether a write was done, and the next broker's call may come between a read and the
//! write after it. So every write here holds only for what was read before it, and is followed by another look
//! where it failed: what it would have left is known by the topic's fresh id, or by the replicas of its new
//! partitions. Ends with an answer, however long the tree gives none: the caller's patience bounds it.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_protocol::uuid::Uuid;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{CreateMode, Op, Stat, Store, StoreError};

use super::error::AdminError;

/// The pause before another look where the tree does not wait by itself.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the topic `name`; `node` has an id that no other call gives one.
pub(super) async fn make(
    store: &dyn Store,
    name: &str,
    node: &Topic,
    config: &[u8],
    conditions: &[Op],
) -> Result<(), AdminError> {
    let (topic, data) = (path::topic(name), node.encode());
    loop {
        match make_once(store, name, data.clone(), config.to_vec(), conditions).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                not_allowed(&error)?;
                if !is_to_be_read(&error).await {
                    return Err(error.into());
                }
            }
        }
        if let Some((found, _)) = current(store, &topic).await? {
            let found = Topic::decode(&topic, &found);
            let is_ours = found.is_ok_and(|found| found.topic_id == node.topic_id);
            return if is_ours { Ok(()) } else { Err(AdminError::Exists(name.to_owned())) };
        }
    }
}

async fn make_once(
    store: &dyn Store,
    name: &str,
    node: Vec<u8>,
    config: Vec<u8>,
    conditions: &[Op],
) -> Result<(), StoreError> {
    let (path, mode) = (path::topic_config(name), CreateMode::Persistent);
    // What an old tool left behind is replaced, as Kafka does.
    let config = match store.exists(&path).await? {
        Some(_) => Op::Set { path, data: config, version: None },
        None => Op::Create { path, data: config, mode },
    };
    let topic = Op::Create { path: path::topic(name), data: node, mode };
    let ops = [config, topic].into_iter().chain(conditions.iter().cloned()).collect();
    store.multi(ops).await.map(drop)
}

/// Gives the topic `name` the partitions that `lacks` says of its node, if there are any.
pub(super) async fn grow(
    store: &dyn Store,
    name: &str,
    lacks: impl Fn(&Topic) -> Result<BTreeMap<i32, Vec<i32>>, AdminError>,
    conditions: &[Op],
) -> Result<(), AdminError> {
    let path = path::topic(name);
    // What was written, unless its answer was lost before it was done.
    let mut asked = BTreeMap::new();
    loop {
        let (mut node, stat) = read(store, name).await?;
        let has = |(number, replicas)| node.partitions.get(number) == Some(replicas);
        if !asked.is_empty() && asked.iter().all(has) {
            return Ok(());
        }
        let new = lacks(&node)?;
        if new.is_empty() {
            return Ok(());
        }
        node.partitions.extend(new.clone());
        let (path, version) = (path.clone(), Some(stat.version));
        let set = Op::Set { path, data: node.encode(), version };
        let ops = [set].into_iter().chain(conditions.iter().cloned()).collect();
        match store.multi(ops).await {
            Ok(_) => return Ok(()),
            Err(error) if is_of_a_condition(&error) => return not_allowed(&error),
            // Not done, now.
            Err(StoreError::BadVersion { .. }) => {}
            Err(error) if is_to_be_read(&error).await => asked = new,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads the node of the topic `name`.
pub(super) async fn read(store: &dyn Store, name: &str) -> Result<(Topic, Stat), AdminError> {
    let path = path::topic(name);
    let Some((data, stat)) = current(store, &path).await? else {
        return Err(AdminError::Unknown(name.to_owned()));
    };
    Ok((Topic::decode(&path, &data).map_err(TreeError::from)?, stat))
}

/// Marks the topic `name` for deletion, as long as its id is `id`; a zero one is not compared.
pub(super) async fn mark(
    store: &dyn Store,
    name: &str,
    id: Uuid,
    conditions: &[Op],
) -> Result<(), AdminError> {
    let path = path::topic(name);
    let is_another = |data: &[u8]| {
        let found = Topic::decode(&path, data).ok().and_then(|found| found.topic_id);
        !id.is_zero() && found.is_some_and(|found| found != id.to_string())
    };
    let marker = path::delete_topic(name);
    let mut was_asked = false;
    loop {
        // Before the topic: were the deletion over by the time that this is read, the topic would be gone, or
        // another. A version alone does not tell two topics of one name apart.
        if was_asked && current(store, &marker).await?.is_some() {
            return Ok(());
        }
        let found = current(store, &path).await?;
        let Some((_, stat)) = found.filter(|(data, _)| !is_another(data)) else {
            // Deleted meanwhile: by what was asked, as far as anybody can tell.
            return if was_asked { Ok(()) } else { Err(AdminError::Unknown(name.to_owned())) };
        };
        let is_there = Op::Check { path: path.clone(), version: stat.version };
        let mode = CreateMode::Persistent;
        let mark = Op::Create { path: marker.clone(), data: Vec::new(), mode };
        let ops = conditions.iter().cloned().chain([is_there, mark]);
        match store.multi(ops.collect()).await {
            Ok(_) | Err(StoreError::NodeExists { .. }) => return Ok(()),
            Err(error) if is_of_a_condition(&error) => return not_allowed(&error),
            Err(error) if is_to_be_read(&error).await => was_asked = true,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the topic `name` is no longer marked for deletion.
pub(super) async fn unmarked(store: &dyn Store, name: &str) -> Result<(), AdminError> {
    let marker = path::delete_topic(name);
    loop {
        // Not by `exists_and_watch`: that leaves a watch on a marker that is gone, for as long as the session lives.
        match store.get_and_watch(&marker).await {
            Err(StoreError::NoNode { .. }) => return Ok(()),
            Ok((_, _, mut watch)) => drop(watch.next().await),
            Err(error) if is_to_be_read(&error).await => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a node, in the next session where this one is over.
pub(super) async fn current(
    store: &dyn Store,
    path: &str,
) -> Result<Option<(Vec<u8>, Stat)>, StoreError> {
    loop {
        match settle::current(store, path).await {
            Err(StoreError::SessionExpired) => tokio::time::sleep(PAUSE).await,
            answered => return answered,
        }
    }
}

/// Returns whether nothing was written because what must hold for it no longer does.
fn is_of_a_condition(error: &StoreError) -> bool {
    not_allowed(error).is_err()
}

/// Fails where nothing was written because what replicas were placed by no longer holds, or because who asks has
/// been replaced.
fn not_allowed(error: &StoreError) -> Result<(), AdminError> {
    let StoreError::BadVersion { path, .. } = error else { return Ok(()) };
    if path == path::CORDONED {
        return Err(AdminError::Cordoned);
    }
    if path == path::OPERATOR { Err(AdminError::Fenced) } else { Ok(()) }
}

/// Returns whether another look says what became of a write: its answer was lost, or the nodes are others than
/// those that it was made for.
async fn is_to_be_read(error: &StoreError) -> bool {
    if matches!(error, StoreError::SessionExpired | StoreError::NoNode { .. }) {
        tokio::time::sleep(PAUSE).await;
        return true;
    }
    matches!(
        error,
        StoreError::ConnectionLoss | StoreError::BadVersion { .. } | StoreError::NodeExists { .. }
    )
}
