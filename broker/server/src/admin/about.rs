//! Who this broker is, and how it is.

use std::sync::atomic::Ordering;
use std::time::Instant;

use broker_admin::v1::{
    Health, Identity, MeasureMovesRequest, MeasureMovesResponse, Phase as PhaseCode,
};
use broker_config::broker::{BrokerConfig, OLDEST_RELEASE};
use broker_config::release::Release;
use broker_protocol::quantity::BrokerId;

use crate::context::Context;
use crate::metrics::health::{Health as Stage, Phase};
use crate::replica::partition_state::{Role, required_in_sync};

/// What is known from the first moment on, before there is a context.
pub(super) fn identity(
    config: &BrokerConfig,
    process_id: &str,
    context: Option<&Context>,
) -> Identity {
    let controller = context.and_then(|context| context.metadata.load().controller);
    let registered = context.filter(|context| context.presence.is_registered());
    Identity {
        broker_id: context.map_or_else(|| config.id(), |context| context.broker_id.0),
        cluster_id: context.map(|context| context.cluster_id.to_string()).unwrap_or_default(),
        broker_epoch: registered.map_or(-1, |context| context.broker_epoch.load(Ordering::Acquire)),
        process_id: process_id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        inter_broker_protocol: config.inter_broker_protocol_version.to_string(),
        static_settings: config.static_settings().into_iter().collect(),
        instance: config.admin_instance.clone(),
        controller_id: controller.map_or(-1, |controller| controller.0),
        configuration_digest: config.static_digest(),
        inter_broker_protocols: inter_broker_protocols(),
    }
}

/// What it can speak with other brokers, oldest first.
fn inter_broker_protocols() -> Vec<String> {
    let all = Release::ALL.iter().filter(|release| **release >= OLDEST_RELEASE);
    all.map(ToString::to_string).collect()
}

/// How the broker is now; without a context it has no partitions yet.
pub(super) fn health(stage: &Stage, context: Option<&Context>, now: Instant) -> Health {
    let phase = stage.phase();
    let (logs_loaded, logs_total) = stage.loaded();
    let mut health = Health {
        phase: code(phase).into(),
        reason: phase.reason().unwrap_or_default().to_owned(),
        logs_loaded,
        logs_total,
        ..Health::default()
    };
    let Some(context) = context else { return health };
    health.registered = context.presence.is_registered();
    let offline = context.replicas.log_dirs().iter().filter(|dir| dir.offline().is_offline());
    health.offline_log_dirs = offline.map(|dir| dir.path().display().to_string()).collect();
    for partition in context.replicas.partitions() {
        health.replicas += 1;
        if partition.offsets().role != Role::Leader {
            continue;
        }
        let replication = partition.replication(now);
        let min_isr = u32::try_from(partition.config().min_insync_replicas).unwrap_or_default();
        health.leaders += 1;
        health.under_replicated += u64::from(replication.in_sync < replication.wanted);
        let required = required_in_sync(min_isr, replication.wanted);
        health.under_min_isr += u64::from(replication.in_sync < required);
    }
    health
}

/// What is still to be copied of what is led here.
pub(super) fn moves(context: &Context, request: &MeasureMovesRequest) -> MeasureMovesResponse {
    let off = request.from_broker_id.map(BrokerId);
    let mut all = MeasureMovesResponse::default();
    for partition in context.replicas.partitions() {
        let is_meant = request.topic.is_empty() || *partition.name().topic == *request.topic;
        if let Some(moving) = partition.measure_move(off).filter(|_| is_meant) {
            all.partitions += 1;
            all.bytes_total += moving.bytes_total;
            all.bytes_left += moving.bytes_left;
        }
    }
    all
}

fn code(phase: Phase) -> PhaseCode {
    match phase {
        Phase::Starting | Phase::Connecting => PhaseCode::Starting,
        Phase::RecoveringLogs => PhaseCode::RecoveringLogs,
        Phase::Announcing => PhaseCode::Announcing,
        Phase::Running => PhaseCode::Running,
        Phase::Stopping => PhaseCode::Stopping,
    }
}
