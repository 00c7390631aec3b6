//! Before a broker stops: the controller is asked to have others lead what this one leads.
//!
//! Asked as often as `controlled.shutdown.max.retries` says, and never for longer than [`LIMIT`], whatever
//! answers and whatever does not: a stop is over before whoever asked for it loses patience. What was
//! not handed over is taken over once the session is closed. Clients are served meanwhile.
//!
//! Source: Kafka 3.9 `KafkaServer.controlledShutdown`, which has no bound but the product of its settings.

use std::sync::atomic::Ordering;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::controlled_shutdown::ControlledShutdownRequest;
use broker_zookeeper::remote::Connection;
use broker_zookeeper::sessions::Sessions;
use tracing::{info, warn};

use super::member::way_to_controller;
use crate::context::Context;
use crate::replica::partition_state::Role;
use crate::replica::progress::NO_BROKER_EPOCH;

/// The longest that it may take: half of the 30 seconds that Kubernetes gives a whole stop.
const LIMIT: Duration = Duration::from_secs(12);

/// How often it is looked whether the tree answers, and how many looks in vain say that it does not: no
/// controller can write who leads then. A session that goes from server to server takes less.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_IN_VAIN: u32 = 10;

/// Has others lead what this broker leads, if that can be had in time.
pub(super) async fn hand_over(context: &Context, sessions: &Sessions) {
    let broker_epoch = context.broker_epoch.load(Ordering::Acquire);
    if !context.config.load().controlled_shutdown_enable || broker_epoch == NO_BROKER_EPOCH {
        return;
    }
    info!(partitions = led(context), controller = controller(context), "leadership is handed over");
    let why = tokio::select! {
        biased;
        is_done = ask(context, broker_epoch) => if is_done {
            return;
        } else {
            "the controller was asked in vain"
        },
        () = tree_is_away(sessions) => "the coordination tree does not answer, so no other leader can be written",
        () = tokio::time::sleep(LIMIT) => "there is no answer in time",
    };
    warn!(
        partitions = led(context),
        controller = controller(context),
        "stopped without handing over: {why}; followers take over once this broker is gone"
    );
}

/// Asks until nothing is left to hand over; false when the tries are over.
async fn ask(context: &Context, broker_epoch: i64) -> bool {
    let config = context.config.load_full();
    let request = ControlledShutdownRequest { broker_id: context.broker_id.0, broker_epoch };
    let mut way = way_to_controller(context, config.request_timeout_ms);
    for attempt in 0..=config.controlled_shutdown_max_retries.max(0) {
        if attempt > 0 {
            let pause = config.controlled_shutdown_retry_backoff_ms.max(0) as u64;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        match way.controlled_shutdown(&request).await {
            Some(response) if response.error_code == 0 => {
                let left = response.remaining_partitions.len();
                if left == 0 {
                    info!("other brokers lead what this one led");
                    return true;
                }
                warn!(left, "partitions that no other broker can lead");
            }
            Some(response) if response.error_code == ErrorCode::StaleBrokerEpoch.code() => {
                warn!(
                    "another process is registered as this broker: there is nothing to hand over"
                );
                return true;
            }
            Some(response) => {
                let error = ErrorCode::name_of(response.error_code);
                warn!(%error, controller = controller(context), "the controller refuses");
            }
            None => warn!(
                partitions = led(context),
                controller = controller(context),
                "leadership is still to be handed over: the controller does not answer"
            ),
        }
    }
    false
}

/// Returns when the tree has not answered for a while.
async fn tree_is_away(sessions: &Sessions) {
    let mut in_vain = 0;
    while in_vain < LOOKS_IN_VAIN {
        let answers = sessions.connection() == Connection::Connected;
        in_vain = if answers { 0 } else { in_vain + 1 };
        tokio::time::sleep(LOOK).await;
    }
}

/// Who is the controller, as far as this broker was told.
fn controller(context: &Context) -> Option<i32> {
    context.metadata.load().controller.map(|id| id.0)
}

/// How many partitions this broker leads.
fn led(context: &Context) -> usize {
    let partitions = context.replicas.partitions();
    partitions.iter().filter(|partition| partition.offsets().role == Role::Leader).count()
}
