//! What slows moves down: settings that are set for their sake, and are taken away once they are over.
//!
//! What was set is noted in the tree before it is: so whoever clears them knows them from a person's own, which stay.
//! All replicas of a topic that moves are named, for only those that are not in sync are slowed down.

use std::collections::{BTreeMap, BTreeSet};

use broker_admin::v1::{ClearThrottlesRequest, ClearThrottlesResponse};
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::throttles::{Set, Throttles};
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Op};
use tonic::Status;
use tracing::info;

use super::configure::{Settings, edit};
use super::fence::Admitted;
use super::refusal::of_transaction;
use super::{tree, unavailable};
use crate::context::Context;
use crate::dynamic_config::{Entity, Terms};

const REPLICAS: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
const RATES: [&str; 2] =
    ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];

/// Bounds what these brokers copy and give, for the sake of moves of these topics.
pub(super) async fn set(
    context: &Context,
    operator: &Admitted,
    topics: &BTreeSet<String>,
    brokers: &BTreeSet<i32>,
    bytes_per_second: u64,
) -> Result<(), Status> {
    let rate = bytes_per_second.min(i64::MAX as u64 - 1).to_string();
    let topics = topics.iter().map(|topic| (Entity::Topic(topic.clone()), REPLICAS, "*"));
    let brokers = brokers.iter().map(|broker| (Entity::Broker(*broker), RATES, &*rate));
    let wanted: Vec<_> = topics.chain(brokers).collect();
    let plan = loop {
        let (known, version) = noted(context).await?;
        let (mut note, mut plan) = (known.clone(), Vec::new());
        for (entity, keys, value) in &wanted {
            let below = entity.below();
            let read = context.dynamic_config.overrides(entity).await;
            let (current, _) = read.map_err(unavailable)?;
            let is_free = |key: &&str| {
                let ours = known.get(&below).and_then(|keys| keys.get(*key));
                current.get(*key).is_none_or(|value| ours.is_some_and(|ours| ours.contains(value)))
            };
            let settings: Settings = keys
                .iter()
                .filter(|key| is_free(key))
                .map(|key| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            for (key, value) in &settings {
                let values = note.entry(below.clone()).or_default().entry(key.clone()).or_default();
                values.insert(value.clone());
            }
            plan.push((entity, settings));
        }
        if note == known || write_note(context, operator, note, version).await? {
            break plan;
        }
    };
    for (entity, settings) in plan {
        change(context, operator, entity, |current| current.extend(settings.clone())).await?;
    }
    Ok(())
}

/// Takes throttles away, from topics of which nothing moves, and from brokers once nothing moves at all.
pub(super) async fn clear(
    context: &Context,
    operator: &Admitted,
    _: ClearThrottlesRequest,
) -> Result<ClearThrottlesResponse, Status> {
    let store = &**context.admin.store();
    tree::freshen(store).await.map_err(unavailable)?;
    if noted(context).await?.0.is_empty() {
        return Ok(ClearThrottlesResponse { left: 0 });
    }
    let topics = tree::all_topics(store).await.map_err(unavailable)?;
    let moving: BTreeSet<_> = topics
        .into_iter()
        .filter(|(_, (topic, _))| tree::is_moving(topic))
        .map(|(name, _)| name)
        .collect();
    let is_over = |entity: &Entity| match entity {
        Entity::Topic(topic) => !moving.contains(topic),
        Entity::Broker(_) | Entity::AllBrokers => moving.is_empty(),
    };
    let left = release(context, operator, is_over).await?;
    info!(left, "throttles of moves cleared");
    Ok(ClearThrottlesResponse { left })
}

/// Takes the rates away: moves go as fast as they can.
pub(super) async fn lift(context: &Context, operator: &Admitted) -> Result<(), Status> {
    let is_rate = |entity: &Entity| matches!(entity, Entity::Broker(_));
    release(context, operator, is_rate).await.map(drop)
}

/// Takes away what was set where `is_over`; returns how many are left.
async fn release(
    context: &Context,
    operator: &Admitted,
    is_over: impl Fn(&Entity) -> bool,
) -> Result<u32, Status> {
    loop {
        let (known, version) = noted(context).await?;
        let mut note = known.clone();
        for (below, ours) in &known {
            let Some(entity) = Entity::at(below).filter(&is_over) else { continue };
            let is_ours = |key: &String, value: &String| {
                ours.get(key).is_some_and(|values| values.contains(value))
            };
            let remove = |current: &mut Settings| current.retain(|key, value| !is_ours(key, value));
            change(context, operator, &entity, remove).await?;
            note.remove(below);
        }
        let left = note.len() as u32;
        if note == known || write_note(context, operator, note, version).await? {
            return Ok(left);
        }
    }
}

/// Changes settings; who wrote the others is still their author.
async fn change(
    context: &Context,
    operator: &Admitted,
    entity: &Entity,
    how: impl Fn(&mut Settings),
) -> Result<(), Status> {
    loop {
        let (node, _) = context.dynamic_config.node(entity).await.map_err(unavailable)?;
        let terms = Terms { author: node.author, conditions: vec![operator.is_newest()] };
        let change = |settings: &mut Settings| {
            how(settings);
            Ok(())
        };
        if edit(context, entity, &terms, change).await?.is_some() {
            return Ok(());
        }
    }
}

/// Returns what was set, by entity, with the version of the node if it exists.
async fn noted(context: &Context) -> Result<(BTreeMap<String, Set>, Option<i32>), Status> {
    let store = &**context.admin.store();
    let found = tree::nodes(store, &[path::THROTTLES.to_owned()]).await.map_err(unavailable)?;
    let Some((data, stat)) = found.into_iter().flatten().next() else {
        return Ok((BTreeMap::new(), None));
    };
    let note = Throttles::decode(path::THROTTLES, &data).map_err(unavailable)?;
    Ok((note.settings, Some(stat.version)))
}

/// Notes what is set; `false` where something was noted meanwhile.
async fn write_note(
    context: &Context,
    operator: &Admitted,
    note: BTreeMap<String, Set>,
    version: Option<i32>,
) -> Result<bool, Status> {
    let store = &**context.admin.store();
    let (path, data) = (path::THROTTLES.to_owned(), Throttles::new(note).encode());
    // Whoever passed the fence has made its parent.
    let write = match version {
        Some(_) => Op::Set { path, data, version },
        None => Op::Create { path, data, mode: CreateMode::Persistent },
    };
    let written = store.multi(vec![operator.is_newest(), write]).await;
    let Err(error) = written.map_err(TreeError::from) else { return Ok(true) };
    if let Some(status) = of_transaction(&error) {
        return Err(status);
    }
    tree::freshen(store).await.map_err(unavailable)?;
    Ok(false)
}
