//! `AlterConfigs`: settings replaced as a whole.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    AlterConfigs;
    /// The settings that replace all former ones of each resource.
    pub struct AlterConfigsRequest<'a> {
        resources: Vec<AlterConfigsResource<'a>>, 0..;
        validate_only: bool, 0..;
    }

    /// An element of [`AlterConfigsRequest::resources`].
    pub struct AlterConfigsResource<'a> {
        resource_type: i8, 0..;
        resource_name: Cow<'a, str>, 0..;
        configs: Vec<AlterableConfig<'a>>, 0..;
    }

    /// An element of [`AlterConfigsResource::configs`].
    pub struct AlterableConfig<'a> {
        name: Cow<'a, str>, 0..;
        value: Option<Cow<'a, str>>, 0..;
    }
}

message! {
    AlterConfigs;
    /// What became of each resource.
    pub struct AlterConfigsResponse<'a> {
        throttle_time_ms: i32, 0..;
        responses: Vec<AlterConfigsResourceResponse<'a>>, 0..;
    }

    /// An element of [`AlterConfigsResponse::responses`].
    pub struct AlterConfigsResourceResponse<'a> {
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
        resource_type: i8, 0..;
        resource_name: Cow<'a, str>, 0..;
    }
}
