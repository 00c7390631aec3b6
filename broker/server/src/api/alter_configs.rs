//! AlterConfigs and IncrementalAlterConfigs: settings of topics and brokers, changed while they run.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use broker_config::error::ConfigError;
use broker_config::topic::TopicConfig;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::{alter_configs, incremental_alter_configs};

use super::RequestContext;
use super::describe_configs::{ResourceError, entity};
use crate::context::Context;

use crate::dynamic_config::{Entity, Terms};
use crate::request_time::{RequestTime, TreeSilent};
use broker_zookeeper::error::TreeError;

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlterError {
    #[error(transparent)]
    Resource(#[from] ResourceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{key} is given without a value")]
    NoValue { key: String },
    #[error("{key} is given more than once")]
    Twice { key: String },
    #[error("the request names this resource more than once")]
    Repeated,
    #[error("operation {operation} on {key} is none of SET 0, DELETE 1, APPEND 2, SUBTRACT 3")]
    Operation { key: String, operation: i8 },
    #[error("{key} is no list, and only lists can be appended to or subtracted from")]
    NoList { key: String },
    #[error(transparent)]
    Silent(#[from] TreeSilent),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// One step of an incremental change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

/// Replaces all settings of each resource.
pub(crate) async fn alter_configs(
    context: &Context,
    request: alter_configs::AlterConfigsRequest<'_>,
    rc: &RequestContext<'_>,
) -> alter_configs::AlterConfigsResponse<'static> {
    let mut responses = Vec::with_capacity(request.resources.len());
    let resources = request.resources.iter();
    let repeated = repeated(resources.map(|r| (r.resource_type, &*r.resource_name)));
    let mut time = RequestTime::default();
    for resource in &request.resources {
        let outcome = if repeated.contains(&(resource.resource_type, &*resource.resource_name)) {
            Err(AlterError::Repeated)
        } else {
            time.tree(replace(context, resource, request.validate_only, rc)).await
        };
        let (error_code, error_message) = answer(outcome);
        responses.push(alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: Cow::Owned(resource.resource_name.to_string()),
        });
    }
    alter_configs::AlterConfigsResponse { responses, ..Default::default() }
}

/// Changes single settings of each resource.
pub(crate) async fn incremental_alter_configs(
    context: &Context,
    request: incremental_alter_configs::IncrementalAlterConfigsRequest<'_>,
    rc: &RequestContext<'_>,
) -> incremental_alter_configs::IncrementalAlterConfigsResponse<'static> {
    let mut responses = Vec::with_capacity(request.resources.len());
    let resources = request.resources.iter();
    let repeated = repeated(resources.map(|r| (r.resource_type, &*r.resource_name)));
    let mut time = RequestTime::default();
    for resource in &request.resources {
        let outcome = if repeated.contains(&(resource.resource_type, &*resource.resource_name)) {
            Err(AlterError::Repeated)
        } else {
            time.tree(change(context, resource, request.validate_only, rc)).await
        };
        let (error_code, error_message) = answer(outcome);
        responses.push(incremental_alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: Cow::Owned(resource.resource_name.to_string()),
        });
    }
    incremental_alter_configs::IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

/// The resources, as (type, name), that come more than once: none of their changes is made, for it is
/// open which would hold.
fn repeated<'r>(resources: impl Iterator<Item = (i8, &'r str)>) -> HashSet<(i8, &'r str)> {
    let mut counts: HashMap<_, usize> = HashMap::new();
    for resource in resources {
        *counts.entry(resource).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(resource, _)| resource).collect()
}

fn answer(outcome: Result<(), AlterError>) -> (i16, Option<Cow<'static, str>>) {
    match outcome {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(error) => (ErrorCode::from(&error).code(), Some(Cow::Owned(error.to_string()))),
    }
}

async fn replace(
    context: &Context,
    resource: &alter_configs::AlterConfigsResource<'_>,
    validate_only: bool,
    rc: &RequestContext<'_>,
) -> Result<(), AlterError> {
    let entity = entity(context, resource.resource_type, &resource.resource_name)?;
    let mut settings = BTreeMap::new();
    for config in &resource.configs {
        let key = config.name.to_string();
        let Some(value) = &config.value else { return Err(AlterError::NoValue { key }) };
        if settings.insert(key.clone(), value.to_string()).is_some() {
            return Err(AlterError::Twice { key });
        }
    }
    let (_, version) = context.dynamic_config.overrides(&entity).await?;
    write(context, &entity, settings, version, validate_only, rc).await
}

async fn change(
    context: &Context,
    resource: &incremental_alter_configs::AlterConfigsResource<'_>,
    validate_only: bool,
    rc: &RequestContext<'_>,
) -> Result<(), AlterError> {
    let entity = entity(context, resource.resource_type, &resource.resource_name)?;
    let (mut settings, version) = context.dynamic_config.overrides(&entity).await?;
    let mut named = HashSet::new();
    for config in &resource.configs {
        let key = config.name.to_string();
        if !named.insert(&*config.name) {
            return Err(AlterError::Twice { key });
        }
        let operation = match config.config_operation {
            0 => Operation::Set,
            1 => Operation::Delete,
            2 => Operation::Append,
            3 => Operation::Subtract,
            operation => return Err(AlterError::Operation { key, operation }),
        };
        step(context, &entity, &mut settings, key, operation, config.value.as_deref())?;
    }
    write(context, &entity, settings, version, validate_only, rc).await
}

fn step(
    context: &Context,
    entity: &Entity,
    settings: &mut BTreeMap<String, String>,
    key: String,
    operation: Operation,
    value: Option<&str>,
) -> Result<(), AlterError> {
    if operation == Operation::Delete {
        settings.remove(&key);
        return Ok(());
    }
    let Some(value) = value else { return Err(AlterError::NoValue { key }) };
    if operation == Operation::Set {
        settings.insert(key, value.to_owned());
        return Ok(());
    }
    let current = in_force(context, entity, settings, &key)?;
    let mut items: Vec<&str> =
        current.split(',').map(str::trim).filter(|i| !i.is_empty()).collect();
    for item in value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match operation {
            Operation::Append if items.contains(&item) => {}
            Operation::Append => items.push(item),
            Operation::Set | Operation::Delete | Operation::Subtract => {
                items.retain(|i| *i != item);
            }
        }
    }
    let joined = items.join(",");
    settings.insert(key, joined);
    Ok(())
}

/// The list that an addition or a subtraction works on: the own one, or the inherited one.
fn in_force(
    context: &Context,
    entity: &Entity,
    settings: &BTreeMap<String, String>,
    key: &str,
) -> Result<String, AlterError> {
    let config = context.config.load();
    let entries = match entity {
        Entity::Topic(_) => TopicConfig::entries(&config, settings),
        Entity::Broker(_) | Entity::AllBrokers => config.entries(),
    };
    let entry = entries.into_iter().find(|entry| entry.key.name == key);
    if let Some(entry) = &entry
        && entry.key.kind != broker_config::key::Kind::List
    {
        return Err(AlterError::NoList { key: key.to_owned() });
    }
    let own = settings.get(key).cloned();
    Ok(own.or_else(|| entry.and_then(|entry| entry.value)).unwrap_or_default())
}

async fn write(
    context: &Context,
    entity: &Entity,
    settings: BTreeMap<String, String>,
    version: Option<i32>,
    validate_only: bool,
    rc: &RequestContext<'_>,
) -> Result<(), AlterError> {
    context.dynamic_config.check(entity, &settings)?;
    if !validate_only {
        let terms = Terms::of(rc.author());
        context.dynamic_config.replace(entity, settings, version, &terms).await?;
    }
    Ok(())
}
