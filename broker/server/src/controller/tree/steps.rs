//! Changes as steps of a transaction. Pure.

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::partition_state::PartitionState;
use broker_zookeeper::node::producer_id_block::ProducerIdBlock;
use broker_zookeeper::node::reassignment::{self, Reassigned};
use broker_zookeeper::node::topic;
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Op, StoreError};

use crate::controller::state::assignment::Assignment;
use crate::controller::state::effect::{Change, StateWrite};
use crate::controller::state::event::WriteError;
use crate::controller::state::request::Guard;

/// One operation, and which of its failures are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) may: May,
}

/// A failure that leaves the tree as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// None.
    Succeed,
    /// The node that is created exists already.
    Exist,
    /// The node that is deleted does not exist.
    BeMissing,
}

impl Step {
    /// Bytes that the step takes in a transaction, about.
    pub(super) fn size(&self) -> usize {
        match &self.op {
            Op::Create { path, data, .. } | Op::Set { path, data, .. } => path.len() + data.len(),
            Op::Delete { path, .. } | Op::Check { path, .. } => path.len(),
        }
    }

    /// Whether `error` is of this step: it names the node, or the parent of the one to create.
    pub(super) fn is_of(&self, error: &StoreError) -> bool {
        match (error, &self.op) {
            (StoreError::NoNode { path }, Op::Create { path: created, .. }) => {
                path::parent_of(created) == path
            }
            (StoreError::NodeExists { path }, Op::Create { path: named, .. })
            | (StoreError::NotEmpty { path }, Op::Delete { path: named, .. })
            | (
                StoreError::NoNode { path } | StoreError::BadVersion { path, .. },
                Op::Set { path: named, .. }
                | Op::Delete { path: named, .. }
                | Op::Check { path: named, .. },
            ) => path == named,
            _ => false,
        }
    }

    /// Whether `error` leaves the tree as the step would.
    pub(super) fn tolerates(&self, error: &StoreError) -> bool {
        match self.may {
            May::Succeed => false,
            May::Exist => matches!(error, StoreError::NodeExists { .. }),
            May::BeMissing => matches!(error, StoreError::NoNode { .. }),
        }
    }
}

/// Says why a change was not made, upon an error of `op`.
pub(super) fn write_error(op: &Op, error: &StoreError) -> Option<WriteError> {
    if matches!(op, Op::Check { .. }) {
        return Some(WriteError::NotHeld);
    }
    if matches!(error, StoreError::NoNode { .. }) {
        Some(WriteError::Missing)
    } else if matches!(error, StoreError::NodeExists { .. }) {
        Some(WriteError::Exists)
    } else {
        matches!(error, StoreError::BadVersion { .. }).then_some(WriteError::Conflict)
    }
}

/// Says a change in steps, in order.
pub(super) fn steps(change: &Change, controller_epoch: i32) -> Vec<Step> {
    match change {
        Change::CreateState { partition, state, is_first } => {
            let (topic, number) = (&*partition.topic, partition.partition);
            let state = encode(state, controller_epoch);
            let mut steps = Vec::with_capacity(3);
            if *is_first {
                steps.push(parent(path::partitions(topic)));
            }
            steps.push(parent(path::partition(topic, number)));
            steps.push(create(path::partition_state(topic, number), state, May::Succeed));
            steps
        }
        Change::SetState { partition, version, state } => {
            let path = path::partition_state(&partition.topic, partition.partition);
            vec![set(path, encode(state, controller_epoch), Some(*version))]
        }
        Change::SetTopic { topic, version, id, partitions, guards } => {
            let node = topic::Topic {
                partitions: of_each(partitions, |one| &one.replicas, true),
                topic_id: Some(id.to_string()),
                adding_replicas: of_each(partitions, |one| &one.adding, false),
                removing_replicas: of_each(partitions, |one| &one.removing, false),
            };
            let set = set(path::topic(topic), node.encode(), Some(*version));
            guards.iter().flat_map(checks).chain([set]).collect()
        }
        Change::DeleteTopic { topic, partitions } => delete_topic(topic, partitions),
        Change::DeleteMark(topic) => vec![delete(path::delete_topic(topic))],
        Change::SetReassignments(left) if left.is_empty() => {
            vec![delete(path::REASSIGN_PARTITIONS.to_owned())]
        }
        Change::SetReassignments(left) => {
            let left: Vec<_> = left
                .iter()
                .map(|(name, replicas)| Reassigned {
                    topic: name.topic.to_string(),
                    partition: name.partition,
                    replicas: numbers(replicas),
                })
                .collect();
            let path = path::REASSIGN_PARTITIONS.to_owned();
            vec![set(path, reassignment::encode(&left), None)]
        }
        Change::DeletePreferred => vec![delete(path::PREFERRED_REPLICA_ELECTION.to_owned())],
        Change::DeleteNotification(path) => vec![delete(path.to_string())],
        Change::SetProducerIds { version, broker, start } => {
            let block = ProducerIdBlock::beginning(*start, broker.0);
            vec![set(path::PRODUCER_ID_BLOCK.to_owned(), block.encode(), Some(*version))]
        }
    }
}

/// The nodes that a guard is about, as they were.
fn checks(guard: &Guard) -> impl Iterator<Item = Step> {
    let check = |path: &str, version| Step {
        op: Op::Check { path: path.to_owned(), version },
        may: May::Succeed,
    };
    let operator = check(path::OPERATOR, guard.operator);
    let cordoned = guard.cordoned.map(|version| check(path::CORDONED, version));
    cordoned.into_iter().chain([operator])
}

/// Children first; the mark last, so that a deletion that is cut short is begun again.
fn delete_topic(topic: &str, partitions: &[i32]) -> Vec<Step> {
    let below = partitions.iter().flat_map(|number| {
        [path::partition_state(topic, *number), path::partition(topic, *number)]
    });
    let own = [
        path::partitions(topic),
        path::topic(topic),
        path::topic_config(topic),
        path::delete_topic(topic),
    ];
    below.chain(own).map(delete).collect()
}

fn encode(state: &StateWrite, controller_epoch: i32) -> Vec<u8> {
    let node = PartitionState {
        controller_epoch,
        leader: state.leader.map_or(-1, |id| id.0),
        version: 1,
        leader_epoch: state.leader_epoch.0,
        isr: numbers(&state.isr),
        leader_recovery_state: i8::from(state.recovering),
    };
    node.encode()
}

fn of_each(
    partitions: &std::collections::BTreeMap<i32, Assignment>,
    part: impl Fn(&Assignment) -> &Vec<BrokerId>,
    even_if_empty: bool,
) -> std::collections::BTreeMap<i32, Vec<i32>> {
    let all = partitions.iter().map(|(number, one)| (*number, numbers(part(one))));
    all.filter(|(_, replicas)| even_if_empty || !replicas.is_empty()).collect()
}

fn numbers(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

pub(super) fn parent(path: String) -> Step {
    create(path, Vec::new(), May::Exist)
}

fn create(path: String, data: Vec<u8>, may: May) -> Step {
    Step { op: Op::Create { path, data, mode: CreateMode::Persistent }, may }
}

fn set(path: String, data: Vec<u8>, version: Option<i32>) -> Step {
    Step { op: Op::Set { path, data, version }, may: May::Succeed }
}

pub(super) fn delete(path: String) -> Step {
    Step { op: Op::Delete { path, version: None }, may: May::BeMissing }
}
