//! Whether the other brokers have the same `inter.broker.protocol.version`, as far as that can be known.
//!
//! Nothing in the tree names it. But from 2.7 on registrations are of version 5, below of version 4; so a
//! broker that was left behind, or ahead, by that much is told of it when it starts.

use anyhow::Result;
use broker_protocol::quantity::BrokerId;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::path;
use broker_zookeeper::store::{Store, StoreError};
use tracing::warn;

use crate::version::Versions;

/// The version of the registrations of 2.7 and later.
const WITH_FEATURES: i32 = 5;

/// The version before that.
const WITHOUT_FEATURES: i32 = 4;

/// The version of the registration of a broker that speaks `versions`.
pub(super) fn registration_version(versions: &Versions) -> i32 {
    if versions.feature_node().is_some() { WITH_FEATURES } else { WITHOUT_FEATURES }
}

/// Warns of brokers that have a very different `inter.broker.protocol.version`.
///
/// # Errors
/// The tree cannot be read.
pub(super) async fn compare(store: &dyn Store, me: BrokerId, ours: i32) -> Result<()> {
    let others = unlike(registrations(store, me).await?, ours);
    if !others.is_empty() {
        let (here, there) = if ours >= WITH_FEATURES {
            ("2.7 or later", "an earlier one")
        } else {
            ("earlier than 2.7", "2.7 or later")
        };
        warn!(
            brokers = ?others,
            "inter.broker.protocol.version is {here} on this broker and {there} on others: give all brokers \
             of a cluster the same"
        );
    }
    Ok(())
}

/// The ids of those whose registrations are of another kind than ours.
fn unlike(registrations: Vec<(i32, i32)>, ours: i32) -> Vec<i32> {
    let is_new = |version: i32| version >= WITH_FEATURES;
    let others = registrations.into_iter().filter(|(_, of)| is_new(*of) != is_new(ours));
    others.map(|(id, _)| id).collect()
}

/// The other brokers, and the versions of their registrations.
async fn registrations(store: &dyn Store, me: BrokerId) -> Result<Vec<(i32, i32)>, TreeError> {
    let mut found = Vec::new();
    for name in store.children(path::BROKER_IDS).await? {
        let Some(id) = name.parse().ok().filter(|id| *id != me.0) else { continue };
        let path = path::broker_id(id);
        match store.get(&path).await {
            Ok((data, _)) => {
                found.extend(Broker::decode(&path, &data).ok().map(|broker| (id, broker.version)));
            }
            Err(StoreError::NoNode { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registrations_of_another_kind_are_told_of() {
        let others = vec![(1, 5), (2, 4), (3, 2), (4, 6)];
        assert_eq!(unlike(others.clone(), WITH_FEATURES), [2, 3]);
        assert_eq!(unlike(others, WITHOUT_FEATURES), [1, 4]);
    }
}
