//! Before a broker stops: the controller is asked to have others lead what this one leads.
//!
//! Asked as often as `controlled.shutdown.max.retries` says, and never for longer than [`LIMIT`], whatever
//! answers and whatever does not: a stop is over before whoever asked for it loses patience. What was
//! not handed over is taken over once the session is closed. Clients are served meanwhile.
//!
//! Source: Kafka 3.9 `KafkaServer.controlledShutdown`, which has no bound but the product of its settings.

use std::sync::atomic::Ordering;
use std::time::Duration;

use broker_config::broker::BrokerConfig;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse,
};
use broker_protocol::quantity::BrokerId;
use broker_zookeeper::remote::Connection;
use broker_zookeeper::sessions::Sessions;
use tokio::sync::watch;
use tracing::{info, warn};

use super::member::way_to_controller;
use crate::context::Context;
use crate::metadata::Partition;
use crate::replica::progress::NO_BROKER_EPOCH;

/// The longest that it may take: half of the 30 seconds that Kubernetes gives a whole stop.
const LIMIT: Duration = Duration::from_secs(12);

/// How often it is looked whether the tree answers, and how many looks in vain say that it does not: no
/// controller can write who leads then. A session that goes from server to server takes less.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_IN_VAIN: u32 = 10;

/// Has others lead what this broker leads, if that can be had in time.
pub(super) async fn hand_over(
    context: &Context,
    sessions: &Sessions,
    is_registering: watch::Receiver<bool>,
) {
    let config = context.config.load_full();
    let broker_epoch = || context.broker_epoch.load(Ordering::Acquire);
    if !config.controlled_shutdown_enable || broker_epoch() == NO_BROKER_EPOCH {
        return;
    }
    let own = Own { id: context.broker_id, epoch: broker_epoch, is_registering };
    let mut way = way_to_controller(context, config.request_timeout_ms);
    let controlled_shutdown = async |request: &ControlledShutdownRequest| {
        let response = way.controlled_shutdown(request).await;
        tell(context, response.as_ref());
        response
    };
    info!(partitions = led(context), controller = controller(context), "leadership is handed over");
    let alone = led_alone(context);
    if alone > 0 {
        warn!(partitions = alone, "nobody else has a replica: offline until this broker is back");
    }
    let why = tokio::select! {
        biased;
        is_done = ask(&config, own, controlled_shutdown) => if is_done {
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

/// The registration of this broker.
struct Own<E> {
    id: BrokerId,
    /// Its epoch, as far as it is known here.
    epoch: E,
    /// Whether it is being made, so that a controller may know of an epoch first.
    is_registering: watch::Receiver<bool>,
}

/// Asks as often as the settings say until nothing is left to hand over; false when the tries are over.
async fn ask(
    config: &BrokerConfig,
    mut own: Own<impl Fn() -> i64>,
    mut controller: impl AsyncFnMut(
        &ControlledShutdownRequest,
    ) -> Option<ControlledShutdownResponse<'static>>,
) -> bool {
    for attempt in 0..=config.controlled_shutdown_max_retries.max(0) {
        if attempt > 0 {
            let pause = config.controlled_shutdown_retry_backoff_ms.max(0) as u64;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let answered = loop {
            let asked_as = (own.epoch)();
            let request = ControlledShutdownRequest { broker_id: own.id.0, broker_epoch: asked_as };
            let answered = controller(&request).await;
            let code = answered.as_ref().map(|response| response.error_code);
            if code != Some(ErrorCode::StaleBrokerEpoch.code()) {
                break answered;
            }
            // Where whoever registers is gone there is nothing to come.
            let _ = own.is_registering.wait_for(|is_registering| !is_registering).await;
            if (own.epoch)() == asked_as {
                warn!(
                    "another process is registered as this broker: there is nothing to hand over"
                );
                return true;
            }
            info!("registered anew: the controller is asked again");
        };
        let Some(response) = answered else { continue };
        if response.error_code == 0 {
            let left = response.remaining_partitions.len();
            if left == 0 {
                info!("other brokers lead what they have replicas of");
                return true;
            }
            warn!(left, "partitions that no other broker can lead");
        }
    }
    false
}

/// Says what keeps the controller from doing what it is asked for.
fn tell(context: &Context, response: Option<&ControlledShutdownResponse<'_>>) {
    let controller = controller(context);
    match response.map(|response| response.error_code) {
        Some(code) if code == 0 || code == ErrorCode::StaleBrokerEpoch.code() => {}
        Some(code) => {
            let error = ErrorCode::name_of(code);
            warn!(%error, controller, "the controller refuses");
        }
        None => warn!(
            partitions = led(context),
            controller, "leadership is still to be handed over: the controller does not answer"
        ),
    }
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

/// How many partitions this broker leads, as far as it was told: a disk that hangs may hold the partitions
/// themselves.
fn led(context: &Context) -> usize {
    count_led(context, |_| true)
}

/// How many of those nobody else has a replica of.
fn led_alone(context: &Context) -> usize {
    count_led(context, |partition| partition.replicas == [context.broker_id])
}

fn count_led(context: &Context, counts: impl Fn(&Partition) -> bool) -> usize {
    let metadata = context.metadata.load();
    let all = metadata.topics.values().flat_map(|topic| topic.partitions.iter());
    all.filter(|partition| partition.leader == Some(context.broker_id))
        .filter(|partition| counts(partition))
        .count()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Asks a controller that knows the registrations of this broker as they are at each attempt; returns
    /// whether that is over, and the epochs that were asked with.
    async fn asked(registrations: &[(i64, i64)]) -> (bool, Vec<i64>) {
        // What one registration answers is no try.
        let config = BrokerConfig { controlled_shutdown_max_retries: 0, ..BrokerConfig::default() };
        let (attempt, mut epochs) = (Cell::new(0), Vec::new());
        let (_registering, is_registering) = watch::channel(false);
        let epoch = || registrations[attempt.get()].0;
        let own = Own { id: BrokerId(1), epoch, is_registering };
        let is_over = ask(&config, own, async |request| {
            epochs.push(request.broker_epoch);
            let is_known = request.broker_epoch == registrations[attempt.get()].1;
            let error = if is_known { 0 } else { ErrorCode::StaleBrokerEpoch.code() };
            attempt.set(attempt.get() + 1);
            Some(ControlledShutdownResponse { error_code: error, remaining_partitions: Vec::new() })
        });
        (is_over.await, epochs)
    }

    /// A broker that was registered anew asks again; one whose registration is another's has nothing to say.
    #[tokio::test(start_paused = true)]
    async fn who_is_registered_anew_hands_over() {
        assert_eq!(asked(&[(7, 7)]).await, (true, vec![7]));
        assert_eq!(asked(&[(7, 9), (9, 9)]).await, (true, vec![7, 9]));
        assert_eq!(asked(&[(7, 9), (7, 9)]).await, (true, vec![7]));
    }

    /// The controller may know of a registration before this broker does.
    #[tokio::test(start_paused = true)]
    async fn who_is_being_registered_hands_over() {
        let (registering, is_registering) = watch::channel(true);
        let (known, mut epochs) = (Cell::new(7), Vec::new());
        let own = Own { id: BrokerId(1), epoch: || known.get(), is_registering };
        let config = BrokerConfig::default();
        let is_over = ask(&config, own, async |request| {
            epochs.push(request.broker_epoch);
            let is_known = request.broker_epoch == 9;
            let error_code = if is_known { 0 } else { ErrorCode::StaleBrokerEpoch.code() };
            Some(ControlledShutdownResponse { error_code, remaining_partitions: Vec::new() })
        });
        let registered = async {
            // The first question has been answered by now.
            tokio::task::yield_now().await;
            known.set(9);
            registering.send_replace(false);
        };
        assert!(tokio::join!(is_over, registered).0);
        assert_eq!(epochs, [7, 9]);
    }
}
