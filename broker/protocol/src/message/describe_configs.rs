//! `DescribeConfigs`: settings of topics and brokers, on their way out.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    DescribeConfigs;
    /// The resources and keys to describe.
    pub struct DescribeConfigsRequest<'a> {
        resources: Vec<DescribeConfigsResource<'a>>, 0..;
        include_synonyms: bool, 1..;
        include_documentation: bool, 3..;
    }

    /// An element of [`DescribeConfigsRequest::resources`].
    pub struct DescribeConfigsResource<'a> {
        /// 2: a topic; 4: a broker; 8: the loggers of a broker.
        resource_type: i8, 0..;
        resource_name: Cow<'a, str>, 0..;
        /// All keys if null.
        configuration_keys: Option<Vec<Cow<'a, str>>>, 0..;
    }
}

message! {
    DescribeConfigs;
    /// Their settings and where these come from.
    pub struct DescribeConfigsResponse<'a> {
        throttle_time_ms: i32, 0..;
        results: Vec<DescribeConfigsResult<'a>>, 0..;
    }

    /// An element of [`DescribeConfigsResponse::results`].
    pub struct DescribeConfigsResult<'a> {
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
        resource_type: i8, 0..;
        resource_name: Cow<'a, str>, 0..;
        configs: Vec<DescribeConfigsResourceResult<'a>>, 0..;
    }

    /// An element of [`DescribeConfigsResult::configs`].
    pub struct DescribeConfigsResourceResult<'a> {
        name: Cow<'a, str>, 0..;
        value: Option<Cow<'a, str>>, 0..;
        read_only: bool, 0..;
        is_default: bool, 0..=0;
        config_source: i8 = -1, 1..;
        is_sensitive: bool, 0..;
        synonyms: Vec<DescribeConfigsSynonym<'a>>, 1..;
        config_type: i8, 3..;
        documentation: Option<Cow<'a, str>>, 3..;
    }

    /// An element of [`DescribeConfigsResourceResult::synonyms`].
    pub struct DescribeConfigsSynonym<'a> {
        name: Cow<'a, str>, 1..;
        value: Option<Cow<'a, str>>, 1..;
        source: i8, 1..;
    }
}
