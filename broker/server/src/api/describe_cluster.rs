//! DescribeCluster: the brokers, the controller and the cluster's id.

use std::borrow::Cow;

use broker_protocol::message::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::RequestContext;
use super::metadata::ALL_CLUSTER_OPERATIONS;
use crate::context::Context;

/// Answers from the newest snapshot.
pub(crate) fn describe_cluster(
    context: &Context,
    request: &DescribeClusterRequest,
    rc: &RequestContext<'_>,
) -> DescribeClusterResponse<'static> {
    let metadata = context.metadata.load();
    let brokers = metadata.brokers.iter().filter_map(|(id, broker)| {
        let endpoint = metadata.endpoint(*id, &rc.peer.listener)?;
        Some(DescribeClusterBroker {
            broker_id: id.0,
            host: Cow::Owned(endpoint.host.to_string()),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_ref().map(|rack| Cow::Owned(rack.to_string())),
            ..Default::default()
        })
    });
    DescribeClusterResponse {
        cluster_id: Cow::Owned(context.cluster_id.to_string()),
        controller_id: metadata.controller.map_or(-1, |id| id.0),
        brokers: brokers.collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            ALL_CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
        endpoint_type: request.endpoint_type,
        ..Default::default()
    }
}
