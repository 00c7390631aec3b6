//! `IncrementalAlterConfigs`: settings changed one by one.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    IncrementalAlterConfigs;
    /// The changes.
    pub struct IncrementalAlterConfigsRequest<'a> {
        resources: Vec<AlterConfigsResource<'a>>, 0..;
        validate_only: bool, 0..;
    }

    /// An element of [`IncrementalAlterConfigsRequest::resources`].
    pub struct AlterConfigsResource<'a> {
        resource_type: i8, 0..;
        resource_name: Cow<'a, str>, 0..;
        configs: Vec<AlterableConfig<'a>>, 0..;
    }

    /// An element of [`AlterConfigsResource::configs`].
    pub struct AlterableConfig<'a> {
        name: Cow<'a, str>, 0..;
        /// 0: set; 1: delete; 2: append to a list; 3: take from a list.
        config_operation: i8, 0..;
        value: Option<Cow<'a, str>>, 0..;
    }
}

message! {
    IncrementalAlterConfigs;
    /// What became of each resource.
    pub struct IncrementalAlterConfigsResponse<'a> {
        throttle_time_ms: i32, 0..;
        responses: Vec<AlterConfigsResourceResponse<'a>>, 0..;
    }

    /// An element of [`IncrementalAlterConfigsResponse::responses`].
    pub struct AlterConfigsResourceResponse<'a> {
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
        resource_type: i8, 0..;
        resource_name: Cow<'a, str>, 0..;
    }
}
