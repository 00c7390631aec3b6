//! Replicas given to other brokers for the newest operator, by the controller.
//!
//! All moves of a call are looked at before the first is begun. That the operator is the newest, and that nobody was
//! cordoned meanwhile, is checked by the transaction in which the controller writes the assignment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_admin::v1::{Move, ReassignPartitionsRequest, ReassignPartitionsResponse};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::store::{Stat, Store};
use tonic::Status;
use tracing::info;

use super::fence::Admitted;
use super::office::not_controller;
use super::refusal::of_transaction;
use super::throttles::Bound;
use super::{cluster, throttles, tree, unavailable};
use crate::context::Context;
use crate::controller::state::request::{Guard, Reply, Request};
use crate::request_time::RequestTime;

/// How long the controller may take to begin.
const LIMIT: Duration = Duration::from_secs(5);

/// Where replicas may go.
#[derive(Debug)]
struct Places {
    registered: BTreeSet<i32>,
    cordoned: BTreeSet<i32>,
    /// The version of the node that says who is cordoned.
    version: Option<i32>,
}

/// What a call comes to.
#[derive(Debug, Default)]
struct Plan {
    wanted: BTreeMap<TopicPartition, Vec<BrokerId>>,
    /// What moves, or is to, and the brokers that take part.
    topics: BTreeSet<String>,
    brokers: BTreeSet<i32>,
}

/// Has moves begun.
pub(super) async fn reassign(
    context: &Context,
    operator: &Admitted,
    request: ReassignPartitionsRequest,
) -> Result<ReassignPartitionsResponse, Status> {
    if !context.controller.is_active() {
        return Err(not_controller(context));
    }
    let store = &**context.admin.store();
    tree::freshen(store).await.map_err(unavailable)?;
    let names: BTreeSet<_> = request.moves.iter().map(|one| one.topic.clone()).collect();
    let places = places(store).await.map_err(unavailable)?;
    let topics = tree::topics(store, names.into_iter().collect()).await.map_err(unavailable)?;
    let mut plan = Plan::default();
    for one in &request.moves {
        plan.add(one, &topics, &places)?;
    }
    if plan.topics.is_empty() {
        return Ok(ReassignPartitionsResponse {});
    }
    let bytes_per_second = request.throttle_bytes_per_second;
    let bound = Bound { topics: &plan.topics, brokers: &plan.brokers, bytes_per_second };
    match bytes_per_second {
        0 => throttles::lift(context, operator).await?,
        _ => throttles::set(context, operator, bound).await?,
    }
    let guard = Guard { operator: operator.version(), cordoned: places.version };
    let (count, mut time) = (plan.wanted.len(), RequestTime::new(LIMIT));
    let asked = context.controller.ask(Request::ReassignGuarded(plan.wanted, guard));
    let asked = time.seen(asked).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let Some(Reply::Reassign(begun)) = asked else { return Err(not_controller(context)) };
    if let Some((partition, code)) = begun.iter().find(|(_, code)| **code != ErrorCode::None) {
        if *code == ErrorCode::OperationNotAttempted {
            return Err(replaced(store, operator).await);
        }
        return Err(refused(partition, *code));
    }
    if bytes_per_second > 0 {
        throttles::keep(context, operator, bound).await?;
    }
    info!(count, "moved for the operator");
    Ok(ReassignPartitionsResponse {})
}

async fn places(store: &dyn Store) -> Result<Places, TreeError> {
    // Its version first: who is cordoned after it was read makes it another.
    let stat = store.exists(path::CORDONED).await?;
    Ok(Places {
        version: stat.map(|stat| stat.version),
        cordoned: cluster::cordoned(store).await?,
        registered: tree::registered(store).await?,
    })
}

impl Plan {
    /// Adds a move, unless the partition is where it is to be.
    fn add(
        &mut self,
        one: &Move,
        topics: &BTreeMap<String, (Topic, Stat)>,
        places: &Places,
    ) -> Result<(), Status> {
        let Move { topic: name, topic_id, partition, replicas } = one;
        let distinct: BTreeSet<_> = replicas.iter().collect();
        let is_assignment = !replicas.is_empty() && distinct.len() == replicas.len();
        if !is_assignment || replicas.iter().any(|id| *id < 0) {
            return Err(Status::invalid_argument(format!(
                "moves: the replicas of {name}-{partition} are brokers, at least one, and each once"
            )));
        }
        let found = topics.get(name).map(|(topic, _)| topic);
        let found = found.filter(|topic| topic.topic_id.as_ref() == Some(topic_id));
        let current = found.and_then(|topic| Some((topic, topic.partitions.get(partition)?)));
        let Some((topic, current)) = current else {
            return Err(Status::not_found(format!(
                "there is no partition {name}-{partition} with topic id {topic_id}"
            )));
        };
        if let Some(id) = replicas.iter().find(|id| !current.contains(id) && !places.has(**id)) {
            return Err(Status::failed_precondition(format!(
                "{name}-{partition} cannot go to broker {id}: it is cordoned, or not registered"
            )));
        }
        let removing = topic.removing_replicas.get(partition).map_or(&[][..], Vec::as_slice);
        let target: Vec<_> = current.iter().filter(|id| !removing.contains(id)).collect();
        let is_wanted = !target.into_iter().eq(replicas);
        let is_moving = topic.adding_replicas.contains_key(partition) || !removing.is_empty();
        if is_wanted || is_moving {
            self.topics.insert(name.clone());
            self.brokers.extend(current.iter().chain(replicas));
        }
        if is_wanted {
            let (topic, partition) = (name.as_str().into(), *partition);
            let replicas = replicas.iter().copied().map(BrokerId).collect();
            self.wanted.insert(TopicPartition { topic, partition }, replicas);
        }
        Ok(())
    }
}

impl Places {
    fn has(&self, broker: i32) -> bool {
        self.registered.contains(&broker) && !self.cordoned.contains(&broker)
    }
}

/// Says what moves were not written for: another operator has come, or the brokers that they may go to are others.
async fn replaced(store: &dyn Store, operator: &Admitted) -> Status {
    let is_newest = store.multi(vec![operator.is_newest()]).await;
    let status = is_newest.err().and_then(|error| of_transaction(&TreeError::from(error)));
    status.unwrap_or_else(|| {
        Status::unavailable("brokers were cordoned meanwhile, or are no longer: ask again")
    })
}

fn refused(partition: &TopicPartition, code: ErrorCode) -> Status {
    if code == ErrorCode::InvalidReplicaAssignment {
        return Status::failed_precondition(format!(
            "{partition} cannot be moved: a broker that is to have it stops, or nobody who is to stay can lead"
        ));
    }
    // It was there in the tree.
    Status::unavailable(format!(
        "the controller does not move {partition} yet ({code:?}): ask again"
    ))
}
