//! Settings of topics and brokers that need no restart, changed for the newest operator.

use std::collections::BTreeMap;

use broker_admin::v1::{
    ConfigureBrokersRequest, ConfigureBrokersResponse, ConfigureTopicRequest,
    ConfigureTopicResponse,
};
use broker_config::error::ConfigError;
use broker_zookeeper::path;
use broker_zookeeper::store::Op;
use tonic::Status;
use tracing::info;

use super::fence::Admitted;
use super::refusal::{of_transaction, topic_id};
use super::{tree, unavailable};
use crate::context::Context;
use crate::dynamic_config::{Entity, Terms};

/// The settings of an entity, by key.
pub(super) type Settings = BTreeMap<String, String>;

/// Changes settings of a topic.
pub(super) async fn topic(
    context: &Context,
    operator: &Admitted,
    request: ConfigureTopicRequest,
) -> Result<ConfigureTopicResponse, Status> {
    let ConfigureTopicRequest { name, topic_id: id, set, reset, .. } = request;
    let id = topic_id(&id)?.to_string();
    let entity = Entity::Topic(name.clone());
    let store = &**context.admin.store();
    loop {
        tree::freshen(store).await.map_err(unavailable)?;
        let found = tree::topics(store, vec![name.clone()]).await.map_err(unavailable)?;
        let found = found.get(&name).filter(|(topic, _)| topic.topic_id.as_ref() == Some(&id));
        let Some((_, stat)) = found else {
            return Err(Status::not_found(format!("there is no topic {name} with id {id}")));
        };
        // Another topic of that name has the settings that it was made with.
        let is_it = Op::Check { path: path::topic(&name), version: stat.version };
        let terms = Terms {
            author: Some(operator.holder().to_owned()),
            conditions: vec![operator.is_newest(), is_it],
        };
        let change = |settings: &mut Settings| {
            replace(settings, &set, &reset);
            context.dynamic_config.check(&entity, settings)
        };
        if edit(context, &entity, &terms, change).await?.is_some() {
            info!(topic = name, "configured for the operator");
            return Ok(ConfigureTopicResponse {});
        }
    }
}

/// Changes settings of one broker, or of all.
pub(super) async fn brokers(
    context: &Context,
    operator: &Admitted,
    request: ConfigureBrokersRequest,
) -> Result<ConfigureBrokersResponse, Status> {
    let ConfigureBrokersRequest { broker_id, set, reset, .. } = request;
    let entity = match broker_id {
        Some(id) if id < 0 => {
            return Err(Status::invalid_argument("broker_id: the id of a broker, at least 0"));
        }
        Some(id) => Entity::Broker(id),
        None => Entity::AllBrokers,
    };
    // What others have set stays, whatever it is.
    let wanted: Settings = set.clone().into_iter().collect();
    let checked = context.dynamic_config.check(&entity, &wanted);
    checked.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let terms = Terms { author: None, conditions: vec![operator.is_newest()] };
    let change = |settings: &mut Settings| {
        replace(settings, &set, &reset);
        Ok(())
    };
    while edit(context, &entity, &terms, change).await?.is_none() {}
    let mut keys: Vec<_> = set.into_keys().chain(reset).collect();
    keys.sort();
    info!(broker = broker_id, keys = keys.join(", "), "configured for the operator");
    Ok(ConfigureBrokersResponse {})
}

/// Writes an entity's settings as `change` leaves them; `None` where something was changed meanwhile, and another look
/// is due. Nothing is written where nothing changes.
pub(super) async fn edit(
    context: &Context,
    entity: &Entity,
    terms: &Terms,
    change: impl FnOnce(&mut Settings) -> Result<(), ConfigError>,
) -> Result<Option<()>, Status> {
    let read = context.dynamic_config.node(entity).await;
    let (node, version) = match read {
        Ok(read) => read,
        Err(error) => return of_transaction(&error).map_or(Ok(None), Err),
    };
    let mut settings = node.config.clone();
    change(&mut settings).map_err(|error| Status::invalid_argument(error.to_string()))?;
    if settings == node.config {
        return Ok(Some(()));
    }
    let written = context.dynamic_config.replace(entity, settings, version, terms).await;
    let Err(error) = written else { return Ok(Some(())) };
    if let Some(status) = of_transaction(&error) {
        return Err(status);
    }
    // What was read may have been of a server of the tree that lags behind.
    tree::freshen(&**context.admin.store()).await.map_err(unavailable)?;
    Ok(None)
}

fn replace(
    settings: &mut Settings,
    set: &std::collections::HashMap<String, String>,
    reset: &[String],
) {
    settings.retain(|key, _| !reset.contains(key));
    settings.extend(set.clone());
}
