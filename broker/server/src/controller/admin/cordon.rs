//! Which brokers get new replicas: all that live, but for those that an operator is emptying.
//!
//! What places replicas by this writes under the condition that it still holds, so that once a broker is cordoned
//! nothing lands on it that was decided before.

use std::collections::{BTreeMap, BTreeSet};

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::cordon::Cordon;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{Op, Store};

use crate::metadata::{Broker, Metadata};

/// Where new replicas may be placed.
#[derive(Debug, Clone, Default)]
pub(super) struct Open {
    /// The live brokers that get new replicas.
    pub(super) brokers: BTreeMap<BrokerId, Broker>,
    /// Live brokers that get none.
    pub(super) cordoned: BTreeSet<BrokerId>,
    /// Hold for as long as nobody else is cordoned, or no longer is.
    conditions: Vec<Op>,
}

impl Open {
    /// Returns what must hold when something is written that was decided by this.
    pub(super) fn conditions(&self) -> &[Op] {
        &self.conditions
    }

    /// Adds a condition.
    pub(super) fn and(&mut self, condition: &Op) {
        self.conditions.push(condition.clone());
    }

    /// Sorts the brokers of `snapshot` by what the tree says.
    pub(super) async fn read(store: &dyn Store, snapshot: &Metadata) -> Result<Self, TreeError> {
        let mut open = Self { brokers: snapshot.brokers.clone(), ..Self::default() };
        // A tree that no operator has been at has no such node.
        let Some((data, stat)) = settle::current(store, path::CORDONED).await? else {
            return Ok(open);
        };
        let cordon = Cordon::decode(path::CORDONED, &data)?;
        for id in cordon.brokers.into_iter().map(BrokerId) {
            if open.brokers.remove(&id).is_some() {
                open.cordoned.insert(id);
            }
        }
        open.conditions =
            vec![Op::Check { path: path::CORDONED.to_owned(), version: stat.version }];
        Ok(open)
    }
}
