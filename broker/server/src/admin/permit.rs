//! Leave to restart a broker: the call that asks the controller, if it is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_admin::v1::{
    Accept, AcquireRestartPermitRequest, AcquireRestartPermitResponse, BlockedPartition,
    DrainLeadershipRequest, DrainLeadershipResponse, Refusal as RefusalCode,
    ReleaseRestartPermitRequest, ReleaseRestartPermitResponse,
};
use broker_protocol::quantity::BrokerId;
use tonic::Status;
use tracing::info;

use super::fence::{Admitted, over};
use super::office::not_controller;
use super::{TEXT_MAX, unavailable};
use crate::context::Context;
use crate::controller::state::permit::{
    Accepts, Blocked, LEASE, NAMED_MAX, Named, PermitAnswer, PermitRequest, Refusal,
};
use crate::controller::state::request::{Reply, Request};

/// What stands for `min.insync.replicas` where it cannot be read: no number of replicas is enough.
const UNREAD: usize = usize::MAX;

/// Asks the controller for leave, or for more time.
pub(super) async fn acquire(
    context: &Context,
    operator: &Admitted,
    request: AcquireRestartPermitRequest,
) -> Result<AcquireRestartPermitResponse, Status> {
    if request.roll_id.is_empty() || request.roll_id.len() > TEXT_MAX {
        return Err(Status::invalid_argument(format!(
            "roll_id: what the restart is part of, 1 to {TEXT_MAX} bytes"
        )));
    }
    let accepts = match Accept::try_from(request.accept) {
        Ok(Accept::Unspecified) => Accepts::Nothing,
        Ok(Accept::Unavoidable) => Accepts::Unavoidable,
        Ok(Accept::Everything) => Accepts::Everything,
        Err(_) => {
            return Err(Status::invalid_argument(format!(
                "accept: {} is of a newer operator than this broker knows",
                request.accept
            )));
        }
    };
    if !context.controller.is_active() {
        return Err(not_controller(context));
    }
    let broker = BrokerId(request.broker_id);
    let asked = PermitRequest {
        term: operator.term,
        broker,
        broker_epoch: (request.broker_epoch >= 0).then_some(request.broker_epoch),
        roll: request.roll_id.as_str().into(),
        accepts,
        min_isr: min_isr(context, broker).await?,
        default_min_isr: count(context.config.load().min_insync_replicas),
    };
    let Some(Reply::Permit(answer)) = context.controller.ask(Request::AcquirePermit(asked)).await
    else {
        return Err(not_controller(context));
    };
    if let Some(Refusal::Fenced(known)) = answer.refusal {
        return Err(over(operator, known));
    }
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
    operator: &Admitted,
    request: ReleaseRestartPermitRequest,
) -> Result<ReleaseRestartPermitResponse, Status> {
    let broker = BrokerId(request.broker_id);
    let released = Request::ReleasePermit { term: operator.term, broker };
    match context.controller.ask(released).await {
        Some(Reply::PermitReleased(Ok(()))) => Ok(ReleaseRestartPermitResponse {}),
        Some(Reply::PermitReleased(Err(Refusal::Fenced(known)))) => Err(over(operator, known)),
        Some(_) | None => Err(not_controller(context)),
    }
}

/// Has a broker that has leave hand over.
pub(super) async fn drain(
    context: &Context,
    operator: &Admitted,
    request: DrainLeadershipRequest,
) -> Result<DrainLeadershipResponse, Status> {
    let broker = BrokerId(request.broker_id);
    let drain = Request::Drain { term: operator.term, broker };
    let left = match context.controller.ask(drain).await {
        Some(Reply::Drained(Ok(Some(left)))) => left,
        Some(Reply::Drained(Ok(None))) => {
            return Err(Status::failed_precondition(format!(
                "broker {} has no restart permit: acquire one first",
                broker.0
            )));
        }
        Some(Reply::Drained(Err(Refusal::Fenced(known)))) => return Err(over(operator, known)),
        Some(_) | None => return Err(not_controller(context)),
    };
    Ok(DrainLeadershipResponse {
        left: left.len() as u32,
        partitions: left.iter().take(NAMED_MAX).map(ToString::to_string).collect(),
    })
}

/// `min.insync.replicas` of the topics that have a replica on the broker, as far as this one knows them;
/// [`UNREAD`] of those whose settings cannot be read.
async fn min_isr(context: &Context, broker: BrokerId) -> Result<BTreeMap<Arc<str>, usize>, Status> {
    let metadata = context.metadata.load();
    let topics = metadata.topics.iter().filter(|(_, topic)| {
        topic.partitions.iter().any(|partition| partition.replicas.contains(&broker))
    });
    let names: Vec<Arc<str>> = topics.map(|(name, _)| Arc::clone(name)).collect();
    let read = context.dynamic_config.topics(&names).await.map_err(unavailable)?;
    let mut known: BTreeMap<Arc<str>, usize> =
        names.into_iter().map(|name| (name, UNREAD)).collect();
    known.extend(read.into_iter().map(|(name, config)| (name, count(config.min_insync_replicas))));
    Ok(known)
}

fn count(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or_default()
}

fn response(answer: &PermitAnswer, message: String) -> AcquireRestartPermitResponse {
    let granted = answer.refusal.is_none();
    let mut response = AcquireRestartPermitResponse {
        granted,
        lease_ms: if granted { LEASE.as_millis() as i64 } else { 0 },
        refusal: code(answer.refusal.as_ref()).into(),
        message,
        blocked: answer.blocked.first.iter().map(blocked).collect(),
        unavoidable: answer.unavoidable.first.iter().map(blocked).collect(),
        blocked_total: answer.blocked.count as u32,
        unavoidable_total: answer.unavoidable.count as u32,
        holder_broker_id: -1,
        ..Default::default()
    };
    if let Some(Refusal::Held(holder)) = &answer.refusal {
        response.holder_broker_id = holder.broker.0;
        response.holder_roll_id = holder.roll.to_string();
        response.holder_ms = holder.held.as_millis() as i64;
    }
    response
}

fn code(refusal: Option<&Refusal>) -> RefusalCode {
    match refusal {
        // Who is fenced is told by the call's status.
        None | Some(Refusal::Fenced(_)) => RefusalCode::Unspecified,
        Some(Refusal::Held(_)) => RefusalCode::Held,
        Some(Refusal::MinIsr) => RefusalCode::MinIsr,
        Some(Refusal::Stale) => RefusalCode::Stale,
        Some(Refusal::NewController) => RefusalCode::NewController,
    }
}

fn blocked(blocked: &Blocked) -> BlockedPartition {
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let min_isr = blocked.min_isr.filter(|min_isr| *min_isr != UNREAD);
    BlockedPartition {
        topic: blocked.partition.topic.to_string(),
        partition: blocked.partition.partition,
        replicas: numbers(&blocked.replicas),
        in_sync: numbers(&blocked.in_sync),
        min_in_sync: min_isr.unwrap_or_default() as i32,
    }
}

/// Says what a person wants to know: why not, and what helps.
fn words(answer: &PermitAnswer, broker: i32) -> String {
    let of = |named: &Named| {
        let first = named.first.first().map(|blocked| blocked.partition.to_string());
        let first = first.unwrap_or_default();
        match named.count {
            1 => format!("partition {first}"),
            count => format!("{count} partitions ({first}, ...)"),
        }
    };
    let have = if answer.unavoidable.count == 1 { "has" } else { "have" };
    match &answer.refusal {
        Some(Refusal::Fenced(_)) => String::new(),
        None if answer.unavoidable.count + answer.blocked.count == 0 => String::new(),
        None if answer.blocked.count > 0 => format!(
            "below min.insync.replicas without broker {broker}, as was accepted: {}",
            of(&answer.blocked)
        ),
        None => format!(
            "{} {have} too few replicas to stay at min.insync.replicas without broker {broker}",
            of(&answer.unavoidable)
        ),
        Some(Refusal::Held(holder)) if answer.blocked.count > 0 => format!(
            "broker {} has restarted for {}, and is not in sync again of {}",
            holder.broker.0,
            holder.roll,
            of(&answer.blocked)
        ),
        Some(Refusal::Held(holder)) => {
            format!("broker {} may restart for {}, and is not back", holder.broker.0, holder.roll)
        }
        Some(Refusal::Stale) => {
            format!(
                "broker {broker} is not registered as was said: it has restarted, is away, or is back"
            )
        }
        Some(Refusal::NewController) => format!(
            "the controller is in office for less than {} s, and its predecessor may have given leave: ask again",
            LEASE.as_secs()
        ),
        Some(Refusal::MinIsr) if answer.blocked.count == 0 => format!(
            "{} {have} too few replicas to stay at min.insync.replicas without broker {broker}: give them more, or \
             accept what is unavoidable",
            of(&answer.unavoidable)
        ),
        Some(Refusal::MinIsr) => format!(
            "{} would be below min.insync.replicas without broker {broker}, until others are in sync",
            of(&answer.blocked)
        ),
    }
}

#[cfg(test)]
mod tests {
    use broker_protocol::topic_partition::TopicPartition;

    use super::*;

    /// One partition is named as it is, of several the first.
    #[test]
    fn what_stands_in_the_way_is_named() {
        let blocked = Blocked {
            partition: TopicPartition { topic: "t".into(), partition: 4 },
            replicas: vec![BrokerId(2)],
            in_sync: vec![BrokerId(2)],
            min_isr: Some(1),
        };
        let refused = |count| PermitAnswer {
            refusal: Some(Refusal::MinIsr),
            blocked: Named::default(),
            unavoidable: Named { first: vec![blocked.clone()], count },
        };
        let one = words(&refused(1), 2);
        assert!(one.starts_with("partition t-4 has too few replicas to stay at"), "{one}");
        let two = words(&refused(2), 2);
        assert!(two.starts_with("2 partitions (t-4, ...) have too few replicas to stay"), "{two}");
    }
}
