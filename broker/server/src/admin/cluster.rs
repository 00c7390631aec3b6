//! What brokers there are, and what they hold.

use std::collections::{BTreeMap, BTreeSet};

use broker_admin::v1::{BrokerDescription, DescribeClusterResponse};
use broker_config::key;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::node::config::Config;
use broker_zookeeper::node::controller::Controller;
use broker_zookeeper::node::cordon::Cordon;
use broker_zookeeper::node::throttles::Throttles;
use broker_zookeeper::path;
use broker_zookeeper::store::Store;

use super::tree;

/// Describes the cluster.
pub(super) async fn describe(
    store: &dyn Store,
    cluster_id: &str,
) -> Result<DescribeClusterResponse, TreeError> {
    tree::freshen(store).await?;
    let mut brokers = BTreeMap::new();
    registrations(store, &mut brokers).await?;
    for (topic, _) in tree::all_topics(store).await?.into_values() {
        for replicas in topic.partitions.values() {
            for (place, id) in replicas.iter().enumerate() {
                let broker = known(&mut brokers, *id);
                broker.replicas += 1;
                broker.preferred_leaders += u64::from(place == 0);
            }
        }
    }
    let dynamic_settings = settings(store, &mut brokers).await?;
    for id in cordoned(store).await? {
        known(&mut brokers, id).cordoned = true;
    }
    let paths = [path::CONTROLLER.to_owned(), path::THROTTLES.to_owned()];
    let mut found = tree::nodes(store, &paths).await?.into_iter();
    let mut next = || found.next().flatten().map(|(data, _)| data);
    let controller = next().map(|data| Controller::decode(path::CONTROLLER, &data));
    let throttles = next().map(|data| Throttles::decode(path::THROTTLES, &data)).transpose()?;
    Ok(DescribeClusterResponse {
        cluster_id: cluster_id.to_owned(),
        controller_id: controller.transpose()?.map_or(-1, |controller| controller.brokerid),
        brokers: brokers.into_values().collect(),
        dynamic_settings,
        has_move_throttles: throttles.is_some_and(|note| !note.settings.is_empty()),
    })
}

async fn registrations(
    store: &dyn Store,
    brokers: &mut BTreeMap<i32, BrokerDescription>,
) -> Result<(), TreeError> {
    let ids = tree::numbers(store, path::BROKER_IDS).await?;
    let paths: Vec<_> = ids.iter().map(|id| path::broker_id(*id)).collect();
    for ((id, path), node) in ids.iter().zip(&paths).zip(tree::nodes(store, &paths).await?) {
        let Some((data, stat)) = node else { continue };
        let broker = known(brokers, *id);
        broker.broker_epoch = stat.czxid;
        broker.rack = Broker::decode(path, &data)?.rack.unwrap_or_default();
    }
    Ok(())
}

/// Adds each broker's own settings; returns those of all.
async fn settings(
    store: &dyn Store,
    brokers: &mut BTreeMap<i32, BrokerDescription>,
) -> Result<std::collections::HashMap<String, String>, TreeError> {
    let names = tree::children(store, path::CONFIG_BROKERS).await?;
    let paths: Vec<_> =
        names.iter().map(|name| format!("{}/{name}", path::CONFIG_BROKERS)).collect();
    let mut of_all = std::collections::HashMap::new();
    for ((name, path), node) in names.iter().zip(&paths).zip(tree::nodes(store, &paths).await?) {
        let Some((data, _)) = node else { continue };
        let shown = Config::decode(path, &data)?.config.into_iter().map(shown).collect();
        if name == path::DEFAULT_ENTITY {
            of_all = shown;
        } else if let Ok(id) = name.parse()
            && !shown.is_empty()
        {
            known(brokers, id).dynamic_settings = shown;
        }
    }
    Ok(of_all)
}

/// Leaves out the value of a password, and of what nobody knows: it may be one.
fn shown((name, value): (String, String)) -> (String, String) {
    let is_open = key::broker(&name).is_ok_and(|key| key.kind != key::Kind::Password);
    let value = if is_open { value } else { String::new() };
    (name, value)
}

/// The brokers that get no new replicas.
pub(super) async fn cordoned(store: &dyn Store) -> Result<BTreeSet<i32>, TreeError> {
    let found = tree::nodes(store, &[path::CORDONED.to_owned()]).await?;
    let Some((data, _)) = found.into_iter().flatten().next() else { return Ok(BTreeSet::new()) };
    Ok(Cordon::decode(path::CORDONED, &data)?.brokers)
}

fn known(brokers: &mut BTreeMap<i32, BrokerDescription>, id: i32) -> &mut BrokerDescription {
    let new =
        || BrokerDescription { broker_id: id, broker_epoch: -1, ..BrokerDescription::default() };
    brokers.entry(id).or_insert_with(new)
}
