//! CreateTopics: each topic by itself, so that one that fails does not hurt the others.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use broker_config::topic::TopicConfig;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};

use super::RequestContext;
use crate::context::Context;
use crate::controller::admin::{Made, NewTopic};
use crate::request_time::RequestTime;

/// Makes topics, or only checks them.
pub(crate) async fn create_topics(
    context: &Context,
    request: CreateTopicsRequest<'_>,
    rc: &RequestContext<'_>,
) -> CreateTopicsResponse<'static> {
    let mut time = RequestTime::of_ms(request.timeout_ms);
    let mut names: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *names.entry(&topic.name).or_default() += 1;
    }
    let mut topics = Vec::with_capacity(names.len());
    let mut answered_twice: HashSet<&str> = HashSet::new();
    for topic in &request.topics {
        if names.get(topic.name.as_ref()).is_some_and(|count| *count > 1) {
            if answered_twice.insert(&topic.name) {
                topics.push(refused(
                    &topic.name,
                    ErrorCode::InvalidRequest,
                    "the request names this topic more than once".to_owned(),
                ));
            }
            continue;
        }
        if let Some(setting) = topic.configs.iter().find(|setting| setting.value.is_none()) {
            let message = format!("{} is given without a value", setting.name);
            topics.push(refused(&topic.name, ErrorCode::InvalidConfig, message));
            continue;
        }
        let new = NewTopic { author: Some(rc.author()), ..new_topic(topic) };
        let config = new.config.clone();
        topics.push(
            match context.admin.create_topic(new, &mut time, request.validate_only).await {
                Ok(made) => created(context, &topic.name, &made, &config),
                Err(error) => refused(&topic.name, ErrorCode::from(&error), error.to_string()),
            },
        );
    }
    CreateTopicsResponse { topics, ..Default::default() }
}

fn new_topic(topic: &CreatableTopic<'_>) -> NewTopic {
    let assignment = topic.assignments.iter();
    let assignment = assignment.map(|a| (a.partition_index, a.broker_ids.clone())).collect();
    let configs = topic.configs.iter();
    NewTopic {
        name: topic.name.to_string(),
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignment: (!topic.assignments.is_empty()).then_some(assignment),
        config: configs
            .filter_map(|c| Some((c.name.to_string(), c.value.as_ref()?.to_string())))
            .collect(),
        author: None,
    }
}

fn refused(name: &str, code: ErrorCode, message: String) -> CreatableTopicResult<'static> {
    CreatableTopicResult {
        name: Cow::Owned(name.to_owned()),
        error_code: code.code(),
        error_message: Some(Cow::Owned(message)),
        ..Default::default()
    }
}

fn created(
    context: &Context,
    name: &str,
    made: &Made,
    overrides: &BTreeMap<String, String>,
) -> CreatableTopicResult<'static> {
    CreatableTopicResult {
        name: Cow::Owned(name.to_owned()),
        topic_id: made.id,
        num_partitions: made.partitions as i32,
        replication_factor: made.replication_factor as i16,
        configs: Some(configs(context, overrides)),
        ..Default::default()
    }
}

/// The settings that the topic begins with (KIP-525).
fn configs(
    context: &Context,
    overrides: &BTreeMap<String, String>,
) -> Vec<CreatableTopicConfigs<'static>> {
    let entries = TopicConfig::entries(&context.config.load(), overrides).into_iter();
    entries
        .map(|entry| CreatableTopicConfigs {
            name: Cow::Borrowed(entry.key.name),
            read_only: entry.is_read_only(),
            config_source: entry.source.code(),
            is_sensitive: entry.is_sensitive(),
            value: entry.value.map(Cow::Owned),
        })
        .collect()
}
