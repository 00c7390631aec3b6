//! DescribeConfigs: settings of topics and brokers, where each comes from and what it means.

use std::borrow::Cow;
use std::collections::BTreeMap;

use broker_config::dynamic::Entry;
use broker_config::topic::TopicConfig;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::RequestContext;
use crate::context::Context;
use crate::controller::topic_name;

use crate::dynamic_config::Entity;
use crate::request_time::{RequestTime, TreeSilent};
use broker_zookeeper::error::TreeError;

/// Resources of requests about configuration. Source: Kafka 3.9 `ConfigResource.Type`.
pub(crate) mod resource {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
}

/// Why a resource's settings cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResourceError {
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    #[error(transparent)]
    TopicName(#[from] topic_name::NameError),
    #[error("broker {0} is not this one; ask that broker for its own settings")]
    OtherBroker(String),
    #[error("resource type {0} has no settings here; topics (2) and brokers (4) have")]
    Kind(i8),
    #[error(transparent)]
    Silent(#[from] TreeSilent),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Finds whose settings a resource is, as far as this broker may answer for it.
pub(crate) fn entity(context: &Context, kind: i8, name: &str) -> Result<Entity, ResourceError> {
    match kind {
        resource::TOPIC => {
            topic_name::check(name)?;
            let known = context.metadata.load().topic(name).is_some();
            let unknown = || ResourceError::UnknownTopic(name.to_owned());
            known.then(|| Entity::Topic(name.to_owned())).ok_or_else(unknown)
        }
        resource::BROKER if name.is_empty() => Ok(Entity::AllBrokers),
        resource::BROKER => match name.parse() {
            Ok(id) if id == context.broker_id.0 => Ok(Entity::Broker(id)),
            Ok(_) | Err(_) => Err(ResourceError::OtherBroker(name.to_owned())),
        },
        kind => Err(ResourceError::Kind(kind)),
    }
}

/// Describes each resource by itself.
pub(crate) async fn describe_configs(
    context: &Context,
    request: DescribeConfigsRequest<'_>,
    _rc: &RequestContext<'_>,
) -> DescribeConfigsResponse<'static> {
    let mut results = Vec::with_capacity(request.resources.len());
    let mut time = RequestTime::default();
    for resource in &request.resources {
        let (code, message, configs) = match time.tree(describe(context, resource)).await {
            Ok(entries) => {
                let wanted = |entry: &Entry| match &resource.configuration_keys {
                    Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == entry.key.name),
                    Some(_) | None => true,
                };
                let entries = entries.into_iter().filter(wanted);
                (ErrorCode::None, None, entries.map(|entry| shown(entry, &request)).collect())
            }
            Err(error) => {
                (ErrorCode::from(&error), Some(Cow::Owned(error.to_string())), Vec::new())
            }
        };
        results.push(DescribeConfigsResult {
            error_code: code.code(),
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: Cow::Owned(resource.resource_name.to_string()),
            configs,
        });
    }
    DescribeConfigsResponse { results, ..Default::default() }
}

async fn describe(
    context: &Context,
    resource: &DescribeConfigsResource<'_>,
) -> Result<Vec<Entry>, ResourceError> {
    let entity = entity(context, resource.resource_type, &resource.resource_name)?;
    let config = context.config.load();
    match &entity {
        Entity::Topic(_) => {
            let (overrides, _) = context.dynamic_config.overrides(&entity).await?;
            Ok(TopicConfig::entries(&config, &overrides))
        }
        Entity::Broker(_) => Ok(config.entries()),
        // Only what was set for all brokers, as in Kafka.
        Entity::AllBrokers => {
            let set: &BTreeMap<String, String> = &config.layers.dynamic_default;
            let entries = config.entries().into_iter();
            Ok(entries.filter(|entry| set.contains_key(entry.key.name)).collect())
        }
    }
}

fn shown(
    entry: Entry,
    request: &DescribeConfigsRequest<'_>,
) -> DescribeConfigsResourceResult<'static> {
    let synonyms = if request.include_synonyms { entry.synonyms.clone() } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: Cow::Borrowed(entry.key.name),
        read_only: entry.is_read_only(),
        is_default: entry.is_default(),
        config_source: entry.source.code(),
        is_sensitive: entry.is_sensitive(),
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: Cow::Borrowed(synonym.name),
                value: synonym.value.map(Cow::Owned),
                source: synonym.source.code(),
            })
            .collect(),
        config_type: entry.key.kind as i8,
        documentation: request.include_documentation.then_some(Cow::Borrowed(entry.key.doc)),
        value: entry.value.map(Cow::Owned),
    }
}
