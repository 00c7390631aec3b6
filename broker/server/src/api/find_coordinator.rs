//! FindCoordinator: the broker that leads the partition of `__consumer_offsets` that keeps a group.

use std::borrow::Cow;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use tracing::warn;

use super::RequestContext;
use crate::context::Context;
use crate::group::storage::TOPIC;

/// The kind of key that names a group.
const GROUP: i8 = 0;

/// From this version on a request names several keys.
const MANY_KEYS_FROM: i16 = 4;

/// Answers each key; the first one makes the topic of the offsets.
pub(crate) async fn find_coordinator(
    context: &Context,
    request: FindCoordinatorRequest<'_>,
    rc: &RequestContext<'_>,
) -> FindCoordinatorResponse<'static> {
    let is_group = request.key_type == GROUP;
    if is_group && let Err(error) = context.admin.ensure_offsets_topic().await {
        warn!(%error, "the topic of the committed offsets cannot be made");
    }
    if rc.api_version >= MANY_KEYS_FROM {
        let keys = request.coordinator_keys.iter();
        let coordinators = keys.map(|key| find(context, key, is_group, rc)).collect();
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let found = find(context, &request.key, is_group, rc);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

fn find(
    context: &Context,
    key: &str,
    is_group: bool,
    rc: &RequestContext<'_>,
) -> Coordinator<'static> {
    let not_found = |error: ErrorCode, message: &'static str| Coordinator {
        key: Cow::Owned(key.to_owned()),
        node_id: -1,
        host: Cow::Borrowed(""),
        port: -1,
        error_code: error.code(),
        error_message: Some(Cow::Borrowed(message)),
    };
    if !is_group {
        if context.warned.transactions.is_due(context.clock.now()) {
            let (host, client) = (rc.peer.host, rc.client_id);
            warn!(transactional_id = key, %host, client, "transactions are not served");
        }
        return not_found(
            ErrorCode::InvalidRequest,
            "transactions are not served yet: only groups have a coordinator",
        );
    }
    let metadata = context.metadata.load();
    let leader = context
        .groups
        .partition_for(key)
        .and_then(|partition| metadata.topic(TOPIC)?.partitions.get(partition as usize)?.leader);
    let endpoint = leader.and_then(|id| Some((id, metadata.endpoint(id, &rc.peer.listener)?)));
    let Some((leader, endpoint)) = endpoint else {
        return not_found(ErrorCode::CoordinatorNotAvailable, "the coordinator is not available");
    };
    Coordinator {
        key: Cow::Owned(key.to_owned()),
        node_id: leader.0,
        host: Cow::Owned(endpoint.host.to_string()),
        port: i32::from(endpoint.port),
        error_code: ErrorCode::None.code(),
        error_message: None,
    }
}
