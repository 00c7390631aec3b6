//! Keeps the ISRs of the partitions that this broker leads: asks the controller for members that have
//! caught up, and to be rid of those that fell behind. Which those are is `partition_state`'s.
//!
//! One request at a time, with all that is due; what is due meanwhile waits for the next. The controller
//! is asked for ever, every 50 ms where it gives no answer: a leader that gave up would wait for a dead
//! member for ever.
//!
//! Joins are looked at as they come, laggards every half `replica.lag.time.max.ms`; a partition that
//! stands still is looked at never (`attention`). What did not come to an end is looked at again after
//! [`AGAIN`], for no fetch of an idle partition may ever come: a replica that is not known to live yet, or
//! that the controller does not know to live yet, and a proposal that was overtaken by an order that does not
//! come. To ask for the same again does no harm: what is so already is answered as done.
//!
//! Owner: the task of [`Keeper::run`]; what it waits for ends with it, and the partitions' proposals
//! with the epoch they are of. Source: Kafka 3.9 `AlterPartitionManager`, `ReplicaManager.maybeShrinkIsr`.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_protocol::message::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::manager::Manager;
use super::partition_state::IsrAnswer;

mod state;
mod tale;

use state::Asked;
use tale::Tale;

pub(super) use tale::IsrChange;

/// How long a controller that gave no answer is left alone (Kafka's `AlterPartitionManager`).
const RETRY: Duration = Duration::from_millis(50);

/// How long what did not come to an end is left alone: an order that overtook it is here long before, and
/// clients wait no longer than they do for a leader.
const AGAIN: Duration = Duration::from_secs(1);

/// What is to be looked at again.
#[derive(Debug, Default)]
struct Again {
    /// When; absent while there is nothing.
    at: Option<Instant>,
    /// Proposals that were overtaken, for all that the controller says.
    awaited: Vec<Asked>,
    /// Partitions with a replica that may join, and was not let in.
    partitions: HashSet<TopicPartition>,
    /// What changed, and is still to be told.
    tale: Tale,
}

impl Again {
    fn note(&mut self, now: Instant) {
        self.at.get_or_insert(now + AGAIN);
    }

    fn take(&mut self) -> (Vec<Asked>, HashSet<TopicPartition>) {
        self.at = None;
        (std::mem::take(&mut self.awaited), std::mem::take(&mut self.partitions))
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Sends a request to the controller of the moment; `None` where no answer came. It must end.
pub type Ask = Box<
    dyn Fn(AlterPartitionRequest<'static>) -> Answer<Option<AlterPartitionResponse<'static>>>
        + Send
        + Sync,
>;

/// What a seam answers in time.
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Returns whether a broker is registered, as far as is known here.
pub type Lives = Box<dyn Fn(BrokerId) -> bool + Send + Sync>;

/// What keeps the ISRs of one broker, and how it reaches the cluster.
pub struct Keeper {
    /// The partitions.
    pub replicas: Arc<Manager>,
    /// This broker.
    pub broker_id: BrokerId,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// The way to the controller.
    pub ask: Ask,
    /// Returns this broker's registration.
    pub broker_epoch: Box<dyn Fn() -> i64 + Send + Sync>,
    /// Who lives.
    pub lives: Lives,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keeper").field("broker_id", &self.broker_id).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(self) {
        let attention = Arc::clone(self.replicas.attention());
        let mut laggards = interval((self.lag_max / 2).max(Duration::from_millis(1)));
        laggards.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut asked, mut again) = (Vec::new(), Again::default());
        loop {
            // A round that settled nothing comes again on its own.
            if asked.is_empty() {
                tokio::select! {
                    () = attention.changed() => {}
                    () = until(again.tale.due()) => {}
                    () = until(again.at) => {
                        let (awaited, partitions) = again.take();
                        asked.extend(awaited.into_iter().filter(|asked| self.is_proposed(asked)));
                        self.propose(partitions, &mut asked, &mut again);
                    }
                    _ = laggards.tick() => {
                        self.propose(attention.lagging(), &mut asked, &mut again);
                    }
                }
            }
            for line in again.tale.take(self.replicas.clock().now(), self.lag_max) {
                tracing::info!("{line}");
            }
            self.propose(attention.take_joining(), &mut asked, &mut again);
            state::once(&mut asked);
            // Read first: what is still proposed after it was not proposed in an earlier registration.
            let broker_epoch = (self.broker_epoch)();
            asked.retain(|asked| self.is_proposed(asked));
            if asked.is_empty() {
                continue;
            }
            let request = state::request(self.broker_id, broker_epoch, &asked);
            let response = (self.ask)(request).await;
            if !self.settle(response.as_ref(), &mut asked, &mut again) {
                sleep(RETRY).await;
            }
        }
    }

    fn is_proposed(&self, asked: &Asked) -> bool {
        let name = &asked.partition;
        let partition = self.replicas.partition(&name.topic, name.partition);
        partition.is_some_and(|partition| partition.is_proposed(&asked.proposal))
    }

    /// Adds what partitions want to be asked.
    fn propose(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        asked: &mut Vec<Asked>,
        again: &mut Again,
    ) {
        let now = self.replicas.clock().now();
        for name in partitions {
            let Some(partition) = self.replicas.partition(&name.topic, name.partition) else {
                self.replicas.attention().is_level(&name);
                continue;
            };
            if let Some(proposal) = partition.propose(now, self.lag_max, &*self.lives) {
                tracing::debug!(partition = %name, isr = ?proposal.isr, "another isr is asked for");
                asked.push(Asked { topic_id: partition.topic_id(), partition: name, proposal });
            } else if partition.has_joiner() {
                again.note(now);
                again.partitions.insert(name);
            }
        }
    }

    /// Tells the partitions what became of their proposals, and keeps what must be asked again. Returns
    /// whether all of them were done as asked.
    fn settle(
        &self,
        response: Option<&AlterPartitionResponse<'_>>,
        asked: &mut Vec<Asked>,
        again: &mut Again,
    ) -> bool {
        let answers = response.map(|response| state::answers(asked, response));
        let mut answers = answers.unwrap_or_default().into_iter();
        let mut are_done = true;
        asked.retain(|asked| {
            let (name, answer) = (&asked.partition, answers.next().flatten());
            let Some(partition) = self.replicas.partition(&name.topic, name.partition) else {
                return false;
            };
            let Some(answer) = answer else {
                are_done = false;
                // Over with the epoch that it is of, and then no longer asked.
                return partition.is_proposed(&asked.proposal);
            };
            match answer {
                IsrAnswer::Committed(_) => {}
                IsrAnswer::Awaited => again.awaited.push(asked.clone()),
                IsrAnswer::Refused => _ = again.partitions.insert(name.clone()),
            }
            if !matches!(answer, IsrAnswer::Committed(_)) {
                are_done = false;
                again.note(self.replicas.clock().now());
            }
            let change = partition.answered(&asked.proposal, answer.clone());
            again.tale.note(self.replicas.clock().now(), name, &answer, change);
            false
        });
        are_done
    }
}
