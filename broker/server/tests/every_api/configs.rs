//! What to ask about settings.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use broker_protocol::message::{alter_configs, incremental_alter_configs};

use super::{Cases, MISSING, OK, OTHER_TOPIC, TOPIC, UNKNOWN, World};

/// The kinds of resources.
const KIND_TOPIC: i8 = 2;
const KIND_BROKER: i8 = 4;
const KIND_OTHER: i8 = 99;

const KEY: &str = "retention.ms";
const VALUE: &str = "1000000000";

pub(crate) fn describe_configs(_: &mut World, _: i16) -> Cases<DescribeConfigsRequest<'static>> {
    let resource = |resource_type, name: &'static str| DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: Some(vec![KEY.into(), "log.retention.ms".into()]),
    };
    let resources = vec![
        resource(KIND_TOPIC, TOPIC),
        resource(KIND_TOPIC, MISSING),
        DescribeConfigsResource { configuration_keys: None, ..resource(KIND_BROKER, "") },
        resource(KIND_OTHER, ""),
    ];
    let request =
        DescribeConfigsRequest { resources, include_synonyms: true, include_documentation: true };
    vec![(request, vec![OK, UNKNOWN, OK, ErrorCode::InvalidRequest])]
}

pub(crate) fn alter_configs(
    _: &mut World,
    _: i16,
) -> Cases<alter_configs::AlterConfigsRequest<'static>> {
    use alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
    let resource = |resource_type, name: &'static str, key: &'static str| AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: vec![AlterableConfig { name: key.into(), value: Some(VALUE.into()) }],
    };
    let resources = vec![
        resource(KIND_TOPIC, TOPIC, KEY),
        resource(KIND_TOPIC, OTHER_TOPIC, "no.such.key"),
        resource(KIND_TOPIC, MISSING, KEY),
        resource(KIND_OTHER, "", KEY),
    ];
    let expected = vec![OK, ErrorCode::InvalidConfig, UNKNOWN, ErrorCode::InvalidRequest];
    vec![(AlterConfigsRequest { resources, validate_only: false }, expected)]
}

pub(crate) fn incremental_alter_configs(
    _: &mut World,
    _: i16,
) -> Cases<incremental_alter_configs::IncrementalAlterConfigsRequest<'static>> {
    use incremental_alter_configs::{
        AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    };
    let resource = |resource_type, name: &'static str, config_operation| AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: vec![AlterableConfig {
            name: KEY.into(),
            config_operation,
            value: Some(VALUE.into()),
        }],
    };
    let resources = vec![
        resource(KIND_TOPIC, TOPIC, 0),
        // Nothing can be appended to what is no list.
        resource(KIND_TOPIC, OTHER_TOPIC, 2),
        resource(KIND_TOPIC, MISSING, 0),
        resource(KIND_OTHER, "", 0),
    ];
    let expected = vec![OK, ErrorCode::InvalidConfig, UNKNOWN, ErrorCode::InvalidRequest];
    vec![(IncrementalAlterConfigsRequest { resources, validate_only: false }, expected)]
}
