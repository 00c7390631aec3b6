//! Leave to restart a broker: the call that asks the controller, if it is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_admin::v1::{
    AcquireRestartPermitRequest, AcquireRestartPermitResponse, BlockedPartition,
    Refusal as RefusalCode, ReleaseRestartPermitRequest, ReleaseRestartPermitResponse,
};
use broker_protocol::quantity::BrokerId;
use tonic::Status;
use tracing::info;

use super::unavailable;
use crate::context::Context;
use crate::controller::state::permit::{Blocked, LEASE, PermitAnswer, PermitRequest, Refusal};
use crate::controller::state::request::{Reply, Request};

/// Partitions that an answer names; it counts all.
const NAMED_MAX: usize = 100;

/// Asks the controller for leave, or for more time.
pub(super) async fn acquire(
    context: &Context,
    request: AcquireRestartPermitRequest,
) -> Result<AcquireRestartPermitResponse, Status> {
    if request.roll_id.is_empty() {
        return Err(Status::invalid_argument("roll_id: what the restart is part of, not empty"));
    }
    if !context.controller.is_active() {
        return Err(not_controller(context));
    }
    let broker = BrokerId(request.broker_id);
    let asked = PermitRequest {
        broker,
        broker_epoch: request.broker_epoch,
        roll: request.roll_id.as_str().into(),
        accepts_unavoidable: request.accept_unavoidable,
        min_isr: min_isr(context, broker).await?,
        default_min_isr: count(context.config.load().min_insync_replicas),
    };
    let Some(Reply::Permit(answer)) = context.controller.ask(Request::AcquirePermit(asked)).await
    else {
        return Err(not_controller(context));
    };
    let message = words(&answer, request.broker_id);
    info!(
        broker = broker.0,
        roll = request.roll_id,
        granted = answer.refusal.is_none(),
        message,
        "restart permit"
    );
    Ok(response(&answer, message))
}

/// Gives leave back.
pub(super) async fn release(
    context: &Context,
    request: ReleaseRestartPermitRequest,
) -> Result<ReleaseRestartPermitResponse, Status> {
    let released = Request::ReleasePermit(BrokerId(request.broker_id));
    match context.controller.ask(released).await {
        Some(Reply::PermitReleased) => Ok(ReleaseRestartPermitResponse {}),
        Some(_) | None => Err(not_controller(context)),
    }
}

fn not_controller(context: &Context) -> Status {
    let words = match context.metadata.load().controller {
        Some(controller) if controller != context.broker_id => {
            format!("broker {} is no controller: ask broker {}", context.broker_id.0, controller.0)
        }
        Some(_) | None => {
            format!(
                "broker {} is no controller, and knows none yet: ask again",
                context.broker_id.0
            )
        }
    };
    Status::failed_precondition(words)
}

/// `min.insync.replicas` of the topics that have a replica on the broker, as far as this one knows them.
async fn min_isr(context: &Context, broker: BrokerId) -> Result<BTreeMap<Arc<str>, usize>, Status> {
    let metadata = context.metadata.load();
    let topics = metadata.topics.iter().filter(|(_, topic)| {
        topic.partitions.iter().any(|partition| partition.replicas.contains(&broker))
    });
    let names: Vec<Arc<str>> = topics.map(|(name, _)| Arc::clone(name)).collect();
    let read = context.dynamic_config.topics(&names).await.map_err(unavailable)?;
    if read.len() < names.len() {
        let unread = names.iter().find(|name| !read.iter().any(|(topic, _)| topic == *name));
        return Err(Status::unavailable(format!(
            "the settings of topic {} cannot be read, and with them its min.insync.replicas: the log says why",
            unread.map_or("", |name| name)
        )));
    }
    Ok(read.into_iter().map(|(name, config)| (name, count(config.min_insync_replicas))).collect())
}

fn count(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or_default()
}

fn response(answer: &PermitAnswer, message: String) -> AcquireRestartPermitResponse {
    let named =
        |partitions: &[Blocked]| partitions.iter().take(NAMED_MAX).map(blocked).collect::<Vec<_>>();
    let (code, holder) = match answer.refusal {
        None => (RefusalCode::Unspecified, -1),
        Some(Refusal::Held(holder)) => (RefusalCode::Held, holder.0),
        Some(Refusal::MinIsr) => (RefusalCode::MinIsr, -1),
        Some(Refusal::Stale) => (RefusalCode::Stale, -1),
        Some(Refusal::NewController) => (RefusalCode::NewController, -1),
    };
    let granted = answer.refusal.is_none();
    AcquireRestartPermitResponse {
        granted,
        lease_ms: if granted { LEASE.as_millis() as i64 } else { 0 },
        refusal: code.into(),
        message,
        blocked: named(&answer.blocked),
        unavoidable: named(&answer.unavoidable),
        blocked_total: answer.blocked.len() as u32,
        unavoidable_total: answer.unavoidable.len() as u32,
        holder_broker_id: holder,
    }
}

fn blocked(blocked: &Blocked) -> BlockedPartition {
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    BlockedPartition {
        topic: blocked.partition.topic.to_string(),
        partition: blocked.partition.partition,
        replicas: numbers(&blocked.replicas),
        in_sync: numbers(&blocked.in_sync),
        min_in_sync: blocked.min_isr as i32,
    }
}

/// Says what a person wants to know: why not, and what helps.
fn words(answer: &PermitAnswer, broker: i32) -> String {
    let of = |partitions: &[Blocked]| {
        let first = partitions.first().map(|blocked| blocked.partition.to_string());
        format!("{} partitions ({}, ...)", partitions.len(), first.unwrap_or_default())
    };
    match answer.refusal {
        None if answer.unavoidable.is_empty() => String::new(),
        None => format!(
            "{} have too few replicas to stay at min.insync.replicas without broker {broker}",
            of(&answer.unavoidable)
        ),
        Some(Refusal::Held(holder)) => {
            format!("broker {holder} may restart, and is not back in sync everywhere")
        }
        Some(Refusal::Stale) => {
            format!(
                "broker {broker} is not registered with that broker epoch: it has restarted, or is away"
            )
        }
        Some(Refusal::NewController) => format!(
            "the controller is in office for less than {} s, and its predecessor may have given leave: ask again",
            LEASE.as_secs()
        ),
        Some(Refusal::MinIsr) if answer.blocked.is_empty() => format!(
            "{} have too few replicas to stay at min.insync.replicas without broker {broker}: give them more, or \
             accept_unavoidable",
            of(&answer.unavoidable)
        ),
        Some(Refusal::MinIsr) => format!(
            "{} would be below min.insync.replicas without broker {broker}, until others are in sync",
            of(&answer.blocked)
        ),
    }
}
