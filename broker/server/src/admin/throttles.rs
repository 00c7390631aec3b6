//! What slows moves down: settings that are set for their sake, and are taken away once they are over.
//!
//! What was set is noted in the tree before it is: so whoever clears them knows them from a person's own, which stay. Sets
//! and clears may cross: nothing is set but under the note that says so, and what is cleared leaves the note with it.
//! All replicas of a topic that moves are named, for only those that are not in sync are slowed down.

use std::collections::{BTreeMap, BTreeSet};

use broker_admin::v1::{ClearThrottlesRequest, ClearThrottlesResponse};
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::throttles::{Set, Throttles};
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Op};
use tonic::Status;
use tracing::info;

use super::configure::Settings;
use super::fence::Admitted;
use super::refusal::of_transaction;
use super::{tree, unavailable};
use crate::context::Context;
use crate::dynamic_config::{Entity, Terms};

const REPLICAS: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
const RATES: [&str; 2] =
    ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];

/// Which moves are slowed down, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    /// Whose replicas move.
    pub topics: &'a BTreeSet<String>,
    /// Who takes part.
    pub brokers: &'a BTreeSet<i32>,
    /// What each of them copies, and gives, at most.
    pub bytes_per_second: u64,
}

impl Bound<'_> {
    /// What is set for it: each entity, its keys, and their value.
    fn wanted(self) -> Vec<(Entity, [&'static str; 2], String)> {
        let rate = self.bytes_per_second.min(i64::MAX as u64 - 1).to_string();
        let topics = self.topics.iter();
        let topics = topics.map(|topic| (Entity::Topic(topic.clone()), REPLICAS, "*".to_owned()));
        let brokers = self.brokers.iter();
        let brokers = brokers.map(|broker| (Entity::Broker(*broker), RATES, rate.clone()));
        topics.chain(brokers).collect()
    }
}

/// What was noted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Note {
    /// What was set, by entity.
    settings: BTreeMap<String, Set>,
    /// The version of the node, if it exists.
    version: Option<i32>,
}

impl Note {
    /// Holds while it is as it was read.
    fn is_this(&self) -> Option<Op> {
        let version = self.version?;
        Some(Op::Check { path: path::THROTTLES.to_owned(), version })
    }

    /// Replaces what was read.
    fn replaced(&self) -> Op {
        let path = path::THROTTLES.to_owned();
        let (data, version) = (Throttles::new(self.settings.clone()).encode(), self.version);
        match version {
            Some(_) => Op::Set { path, data, version },
            // Whoever passed the fence has made its parent.
            None => Op::Create { path, data, mode: CreateMode::Persistent },
        }
    }

    /// Says that it was replaced: the first version of a node is 0.
    fn is_written(&mut self) {
        self.version = Some(self.version.map_or(0, |version| version + 1));
    }
}

/// Bounds moves that are to begin.
pub(super) async fn set(
    context: &Context,
    operator: &Admitted,
    bound: Bound<'_>,
) -> Result<(), Status> {
    let wanted = bound.wanted();
    'looks: loop {
        let mut note = noted(context).await?;
        let (known, mut plan) = (note.settings.clone(), Vec::new());
        for (entity, keys, value) in &wanted {
            let below = entity.below();
            let read = context.dynamic_config.overrides(entity).await;
            let (current, _) = read.map_err(unavailable)?;
            let is_free = |key: &&str| {
                let ours = known.get(&below).and_then(|keys| keys.get(*key));
                current.get(*key).is_none_or(|value| ours.is_some_and(|ours| ours.contains(value)))
            };
            let free = keys.iter().filter(|key| is_free(key));
            let settings: Settings = free.map(|key| ((*key).to_owned(), value.clone())).collect();
            for (key, value) in &settings {
                let of_entity = note.settings.entry(below.clone()).or_default();
                of_entity.entry(key.clone()).or_default().insert(value.clone());
            }
            plan.push((entity, settings));
        }
        if note.settings != known && !write(context, operator, &mut note).await? {
            continue;
        }
        for (entity, settings) in plan {
            let with = (note.version, note.is_this());
            let set = |current: &mut Settings| current.extend(settings.clone());
            if !change(context, operator, entity, with, set).await? {
                continue 'looks;
            }
        }
        return Ok(());
    }
}

/// Bounds moves that have begun: what was set may have been cleared by then.
pub(super) async fn keep(
    context: &Context,
    operator: &Admitted,
    bound: Bound<'_>,
) -> Result<(), Status> {
    // Whoever has looked at what moves before these began clears nothing any more.
    loop {
        let mut note = noted(context).await?;
        if note.version.is_none() || write(context, operator, &mut note).await? {
            break;
        }
    }
    set(context, operator, bound).await
}

/// Takes throttles away, from topics of which nothing moves, and from brokers once nothing moves at all.
pub(super) async fn clear(
    context: &Context,
    operator: &Admitted,
    _: ClearThrottlesRequest,
) -> Result<ClearThrottlesResponse, Status> {
    tree::freshen(&**context.admin.store()).await.map_err(unavailable)?;
    let left = release(context, operator, Doomed::Over).await?;
    info!(left, "throttles of moves cleared");
    Ok(ClearThrottlesResponse { left })
}

/// Takes the rates away: moves go as fast as they can.
pub(super) async fn lift(context: &Context, operator: &Admitted) -> Result<(), Status> {
    release(context, operator, Doomed::Rates).await.map(drop)
}

/// What is taken away.
#[derive(Debug, Clone, Copy)]
enum Doomed {
    /// What slows down what does not move any more.
    Over,
    /// The rates of brokers.
    Rates,
}

impl Doomed {
    /// Which of these it is, by what is in the tree now.
    async fn among(self, context: &Context, noted: Vec<Entity>) -> Result<Vec<Entity>, Status> {
        let is_rate = |entity: &Entity| matches!(entity, Entity::Broker(_));
        if let Self::Rates = self {
            return Ok(noted.into_iter().filter(is_rate).collect());
        }
        let topics = tree::all_topics(&**context.admin.store()).await.map_err(unavailable)?;
        let moves = |topic: &str| topics.get(topic).is_some_and(|(one, _)| tree::is_moving(one));
        let any_moves = topics.values().any(|(topic, _)| tree::is_moving(topic));
        let is_over = |entity: &Entity| match entity {
            Entity::Topic(topic) => !moves(topic),
            Entity::Broker(_) | Entity::AllBrokers => !any_moves,
        };
        Ok(noted.into_iter().filter(is_over).collect())
    }
}

/// Takes away what was set and is doomed, each entity's with the note of it; returns how many are left.
async fn release(context: &Context, operator: &Admitted, doomed: Doomed) -> Result<u32, Status> {
    'looks: loop {
        let mut note = noted(context).await?;
        if note.settings.is_empty() {
            return Ok(0);
        }
        let entities = note.settings.keys().filter_map(|below| Entity::at(below)).collect();
        for entity in doomed.among(context, entities).await? {
            let Some(ours) = note.settings.remove(&entity.below()) else { continue };
            let is_ours = |key: &String, value: &String| {
                ours.get(key).is_some_and(|values| values.contains(value))
            };
            let remove = |current: &mut Settings| current.retain(|key, value| !is_ours(key, value));
            let with = (note.version, Some(note.replaced()));
            if !change(context, operator, &entity, with, remove).await? {
                continue 'looks;
            }
            note.is_written();
        }
        return Ok(note.settings.len() as u32);
    }
}

/// Changes settings, and does `with` in the same transaction; who wrote the others is still their author. Returns `false`,
/// and does neither, where the note is of another version than `version`.
async fn change(
    context: &Context,
    operator: &Admitted,
    entity: &Entity,
    (version, with): (Option<i32>, Option<Op>),
    how: impl Fn(&mut Settings),
) -> Result<bool, Status> {
    let conditions: Vec<_> = with.into_iter().chain([operator.is_newest()]).collect();
    loop {
        let (node, at) = context.dynamic_config.node(entity).await.map_err(unavailable)?;
        let mut settings = node.config.clone();
        how(&mut settings);
        let written = if settings == node.config {
            if conditions.iter().all(|one| matches!(one, Op::Check { .. })) {
                return Ok(true);
            }
            let ops = [conditions.clone(), is_still(entity, at)].concat();
            context.admin.store().multi(ops).await.map(drop).map_err(TreeError::from)
        } else {
            let terms = Terms { author: node.author, conditions: conditions.clone() };
            context.dynamic_config.replace(entity, settings, at, &terms).await
        };
        let Err(error) = written else { return Ok(true) };
        if let Some(status) = of_transaction(&error) {
            return Err(status);
        }
        tree::freshen(&**context.admin.store()).await.map_err(unavailable)?;
        if noted(context).await?.version != version {
            return Ok(false);
        }
    }
}

/// Holds while the settings of an entity are as they were read at a version.
fn is_still(entity: &Entity, version: Option<i32>) -> Vec<Op> {
    let path = entity.path();
    match version {
        Some(version) => vec![Op::Check { path, version }],
        // That there is none is known to whoever can make one.
        None => vec![
            Op::Create { path: path.clone(), data: Vec::new(), mode: CreateMode::Persistent },
            Op::Delete { path, version: None },
        ],
    }
}

/// Reads the note.
async fn noted(context: &Context) -> Result<Note, Status> {
    let store = &**context.admin.store();
    let found = tree::nodes(store, &[path::THROTTLES.to_owned()]).await.map_err(unavailable)?;
    let Some((data, stat)) = found.into_iter().flatten().next() else {
        return Ok(Note::default());
    };
    let note = Throttles::decode(path::THROTTLES, &data).map_err(unavailable)?;
    Ok(Note { settings: note.settings, version: Some(stat.version) })
}

/// Writes the note; `false` where something was noted meanwhile.
async fn write(context: &Context, operator: &Admitted, note: &mut Note) -> Result<bool, Status> {
    let store = &**context.admin.store();
    let written = store.multi(vec![operator.is_newest(), note.replaced()]).await;
    let Err(error) = written.map_err(TreeError::from) else {
        note.is_written();
        return Ok(true);
    };
    if let Some(status) = of_transaction(&error) {
        return Err(status);
    }
    tree::freshen(store).await.map_err(unavailable)?;
    Ok(false)
}
