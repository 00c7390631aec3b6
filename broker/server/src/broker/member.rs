//! What makes a broker a member of its cluster: it obeys controllers, keeps its ISRs, is registered,
//! and stands for controller.
//!
//! A session that is over ends the registration and the office; the broker gives up all that it
//! leads, registers anew, and is told what to do as if it had just started. The process stays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use broker_config::broker::BrokerConfig;
use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::log_dir_event::LogDirEvent;
use broker_zookeeper::path;
use broker_zookeeper::remote::Connection;
use broker_zookeeper::sessions::Sessions;
use broker_zookeeper::store::{CreateMode, Store};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::isr_in_tree;
use crate::context::Context;
use crate::control::configure::Changes;
use crate::control::{self, Control, Parts};
use crate::controller::channel::Common;
use crate::controller::handle::Mail;
use crate::controller::membership::{Resignation, Term};
use crate::controller::run::{Controller, EVENTS};
use crate::controller::state::event::Event;
use crate::controller::state::{Balance, Settings};
use crate::dynamic_config::Applied;
use crate::membership::{Duty, Joining, Membership};
use crate::order::{Order, Orders};
use crate::replica::dir_events;
use crate::replica::fetcher::{self, Fetchers};
use crate::replica::isr::{self, Keeper};
use crate::to_controller::{self, ToController};
use crate::version::Versions;

/// How often it is looked whether the tree answers.
const CONTACT_LOOK: Duration = Duration::from_millis(500);

/// Duties that may wait; the membership waits for most of them anyway.
const DUTIES: usize = 4;

/// What a controller of this broker is set to, as it is now.
fn settings(context: &Context) -> Settings {
    let config = context.config.load();
    let balance = config.auto_leader_rebalance_enable.then(|| Balance {
        percent: config.leader_imbalance_per_broker_percentage.max(0) as u32,
        interval: Duration::from_secs(config.leader_imbalance_check_interval_seconds.max(1) as u64),
    });
    Settings {
        balance,
        elects_uncleanly: config.unclean_leader_election_enable,
        deletes_topics: config.delete_topic_enable,
        marks_recovery: Versions::of_broker(&config).leader_recovery(),
    }
}

/// A broker that will obey, and copy, and keep ISRs.
pub(super) struct Obedience {
    /// Fired when the broker is registered: an order that comes before waits. By the epoch of the
    /// registration one that was meant for an earlier life is known.
    pub(super) registered: oneshot::Sender<()>,
    /// Turns true once this broker was told what is its own.
    pub(super) loaded: watch::Receiver<bool>,
}

/// Begins to obey orders, once there is a registration that they can be meant for.
pub(super) fn obey(
    context: &Arc<Context>,
    orders: mpsc::Receiver<Order>,
    runtimes: Vec<Handle>,
    is_registering: watch::Receiver<bool>,
) -> Obedience {
    let (loaded, is_loaded) = watch::channel(false);
    let (registered, is_registered) = oneshot::channel();
    let config = context.config.load();
    let versions = Versions::of_broker(&config);
    let fetchers = Fetchers::new(fetcher::Parts {
        broker_id: context.broker_id,
        broker_epoch: Arc::clone(&context.broker_epoch),
        replicas: Arc::clone(&context.replicas),
        config: Arc::clone(&context.config),
        versions: fetcher::Versions {
            fetch: versions.fetch(true),
            list_offsets: versions.list_offsets,
            offset_for_leader_epoch: versions.offset_for_leader_epoch.unwrap_or(0),
        },
        runtimes,
        tasks: context.tasks.clone(),
    });
    let parts = Parts {
        broker_id: context.broker_id,
        broker_epoch: Arc::clone(&context.broker_epoch),
        is_registering,
        replicas: Arc::clone(&context.replicas),
        metadata: Arc::clone(&context.metadata),
        fetchers,
        inter_broker_listener: config.inter_broker_listener.name.as_str().into(),
        store: Arc::clone(context.admin.store()),
        dynamic_config: Arc::clone(&context.dynamic_config),
        loaded,
        tasks: context.tasks.clone(),
    };
    let shutdown = context.tasks.shutdown_token();
    let obey = async move {
        if is_registered.await.is_ok() {
            Control::new(parts, -1).run(orders).await;
        }
    };
    context.tasks.spawn(control::TASK, async move {
        // Who closes the logs obeys nobody.
        shutdown.run_until_cancelled_owned(obey).await;
    });
    keep_isrs(context);
    tell_of_log_dirs(context);
    Obedience { registered, loaded: is_loaded }
}

fn keep_isrs(context: &Arc<Context>) {
    let ask: isr::Ask = if Versions::of_broker(&context.config.load()).alter_partition() {
        // The keeper asks one thing after the other: nobody ever waits for this lock.
        let timeout_ms = context.config.load().controller_socket_timeout_ms;
        let way = Arc::new(Mutex::new(way_to_controller(context, timeout_ms)));
        Box::new(move |request| {
            let way = Arc::clone(&way);
            Box::pin(async move { way.lock().await.alter_partition(&request).await })
        })
    } else {
        let store = Arc::clone(context.admin.store());
        Box::new(move |request| {
            let store = Arc::clone(&store);
            Box::pin(async move { Some(isr_in_tree::alter_partitions(&*store, &request).await) })
        })
    };
    let (epoch, metadata) = (Arc::clone(&context.broker_epoch), Arc::clone(&context.metadata));
    let keeper = Keeper {
        replicas: Arc::clone(&context.replicas),
        broker_id: context.broker_id,
        lag_max: Duration::from_millis(context.config.load().replica_lag_time_max_ms.max(1) as u64),
        ask,
        broker_epoch: Box::new(move || epoch.load(Ordering::Acquire)),
        lives: Box::new(move |broker| metadata.load().brokers.contains_key(&broker)),
    };
    context.tasks.spawn("isr", keeper.run(context.tasks.shutdown_token()));
}

/// Begins to look whether the tree answers, so that a leader that hears of nobody takes nothing more.
pub(super) fn watch_contact(context: &Arc<Context>, sessions: &Arc<Sessions>) {
    let (context, sessions) = (Arc::clone(context), Arc::clone(sessions));
    let tasks = context.tasks.clone();
    tasks.spawn("contact", async move {
        let shutdown = context.tasks.shutdown_token();
        let look = async {
            loop {
                let config = context.config.load();
                let lag_max = config.replica_lag_time_max_ms.max(0) as u64;
                let wait_max = config.replica_fetch_wait_max_ms.max(0) as u64;
                drop(config);
                // A fetch for which there is nothing waits for as long before the next comes.
                let patience = Duration::from_millis((lag_max / 10).max(2 * wait_max));
                let answers = sessions.connection() == Connection::Connected;
                context.replicas.contact().tree(answers, patience, context.clock.now());
                tokio::time::sleep(CONTACT_LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = look => {}
        }
    });
}

fn tell_of_log_dirs(context: &Arc<Context>) {
    let (store, broker_id) = (Arc::clone(context.admin.store()), context.broker_id);
    let tell: dir_events::Tell = Box::new(move || {
        let store = Arc::clone(&store);
        Box::pin(async move {
            let event = LogDirEvent::failure(broker_id.0).encode();
            let mode = CreateMode::PersistentSequential;
            let told = store.create(&path::log_dir_event(), &event, mode).await;
            told.inspect_err(|error| warn!(%error, "the controller is not told of the directory"))
                .is_ok()
        })
    });
    let (replicas, shutdown) = (Arc::clone(&context.replicas), context.tasks.shutdown_token());
    context.tasks.spawn("log-dir-events", dir_events::run(replicas, tell, shutdown));
}

/// Makes a way to the controller, whose answers may take so long.
pub(super) fn way_to_controller(context: &Context, answer_timeout_ms: i32) -> ToController {
    let config = context.config.load();
    ToController::new(to_controller::Parts {
        broker_id: context.broker_id,
        metadata: Arc::clone(&context.metadata),
        controller: Arc::clone(&context.controller),
        listener: control_listener(&config).into(),
        versions: Versions::of_broker(&config),
        connect_timeout: connect_timeout(&config),
        answer_timeout: Duration::from_millis(answer_timeout_ms.max(1) as u64),
    })
}

/// The listener that the controller reaches brokers through, and they it.
///
/// Source: Kafka 3.9 `ControllerChannelManager`, `MetadataCacheControllerNodeProvider`.
fn control_listener(config: &BrokerConfig) -> &str {
    let listener = config.control_plane_listener.as_ref();
    &listener.unwrap_or(&config.inter_broker_listener).name
}

fn connect_timeout(config: &BrokerConfig) -> Duration {
    Duration::from_millis(config.socket_connection_setup_timeout_ms.max(1) as u64)
}

/// Registers, and stays a member until shutdown.
///
/// # Errors
/// When the registration is refused.
pub(super) async fn join(context: &Arc<Context>, joining: Joining) -> Result<()> {
    let membership = Membership::join(joining).await?;
    let resigned = membership.resigned();
    let listener = context.config.load().inter_broker_listener.name.as_str().into();
    let vigil = membership.vigil(listener);
    let over = context.tasks.shutdown_token();
    context.tasks.spawn("vigil", async move {
        tokio::select! {
            biased;
            () = over.cancelled() => {}
            () = vigil.run() => {}
        }
    });
    let (duties, assigned) = mpsc::channel(DUTIES);
    let (tasks, shutdown) = (context.tasks.clone(), context.tasks.shutdown_token());
    let stop = context.tasks.clone();
    tasks.spawn("member", async move {
        if let Err(error) = membership.run(duties, shutdown).await {
            error!(error = &error as &dyn std::error::Error, "this broker is no member any more");
            stop.fail();
        }
    });
    tasks.spawn("duties", Duties { context: Arc::clone(context), resigned }.run(assigned));
    Ok(())
}

/// Does what the membership asks for, in order.
struct Duties {
    context: Arc<Context>,
    resigned: mpsc::Sender<(Term, Resignation)>,
}

impl Duties {
    async fn run(self, mut assigned: mpsc::Receiver<Duty>) {
        let mut office: Option<(CancellationToken, oneshot::Receiver<()>)> = None;
        while let Some(duty) = assigned.recv().await {
            match duty {
                Duty::StopLeading { done } => {
                    let (resign, resigned) = oneshot::channel();
                    // The receivers end only at shutdown.
                    let _ = self.context.orders.send(Order::Resign(resign)).await;
                    let _ = resigned.await;
                    let _ = done.send(());
                }
                Duty::StartController { store, term } => {
                    office = Some(self.take_office(store, term));
                }
                Duty::DropController { done } => {
                    if let Some((end, ended)) = office.take() {
                        end.cancel();
                        let _ = ended.await;
                    }
                    let _ = done.send(());
                }
            }
        }
    }

    fn take_office(
        &self,
        store: Arc<dyn Store>,
        term: Term,
    ) -> (CancellationToken, oneshot::Receiver<()>) {
        let (sender, events) = mpsc::channel(EVENTS);
        let context = Arc::clone(&self.context);
        let controller = Controller::new(
            store,
            term,
            Box::new(move || settings(&context)),
            common(&self.context, term.epoch, sender),
            events,
            Arc::clone(&self.context.controller),
        );
        let end = self.context.tasks.shutdown_token().child_token();
        let (over, ended) = oneshot::channel();
        let (token, resigned) = (end.clone(), self.resigned.clone());
        self.context.tasks.spawn("controller", async move {
            let resigns = controller.run(token).await.map(|why| (term, why));
            leave_office(resigns, over, &resigned).await;
        });
        (end, ended)
    }
}

/// Says that a controller has ended, and to the membership which term it resigns and why, if it does.
async fn leave_office(
    resigns: Option<(Term, Resignation)>,
    over: oneshot::Sender<()>,
    resigned: &mpsc::Sender<(Term, Resignation)>,
) {
    // First: the membership may wait for this end, and hears of nothing else until then. Nobody may wait, too.
    let _ = over.send(());
    if let Some(resignation) = resigns {
        // A membership that is over needs no word.
        let _ = resigned.send(resignation).await;
    }
}

fn common(context: &Context, controller_epoch: i32, events: mpsc::Sender<Event>) -> Common {
    let config = context.config.load();
    Common {
        controller: context.broker_id,
        controller_epoch,
        listener: control_listener(&config).into(),
        inter_broker_listener: config.inter_broker_listener.name.as_str().into(),
        timeout: Duration::from_millis(config.controller_socket_timeout_ms.max(1) as u64),
        connect_timeout: connect_timeout(&config),
        versions: Versions::of_broker(&config),
        orders: context.orders.clone(),
        events,
        metadata: Arc::clone(&context.metadata),
        tasks: context.tasks.clone(),
        clock: Arc::clone(&context.clock),
    }
}

/// Starts to apply changes of settings, those since the start first.
pub(super) fn follow_settings(context: &Arc<Context>, sessions: &Arc<Sessions>) {
    let (context, sessions) = (Arc::clone(context), Arc::clone(sessions));
    let tasks = context.tasks.clone();
    tasks.spawn("dynamic-config", async move {
        let shutdown = context.tasks.shutdown_token();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = apply_settings(&context, &sessions) => {}
        }
    });
}

async fn apply_settings(context: &Context, sessions: &Sessions) {
    let changes = &Changes {
        orders: context.orders.clone(),
        replicas: Arc::clone(&context.replicas),
        dynamic_config: Arc::clone(&context.dynamic_config),
    };
    let carry_on = |applied: Applied| async move {
        changes.carry_out(&applied).await?;
        let mail = match applied {
            Applied::Topic(topic) => Mail::TopicConfig(topic),
            Applied::Broker => Mail::BrokerConfig,
        };
        // A controller that is not here reads for itself.
        let _ = context.controller.tell(mail).await;
        Ok(())
    };
    context.dynamic_config.follow_through(sessions, carry_on).await;
}

/// Waits until this broker was told what is its own.
pub(super) async fn told(mut loaded: watch::Receiver<bool>) -> Result<()> {
    loaded.wait_for(|loaded| *loaded).await.context("the broker stopped while it started")?;
    Ok(())
}

/// Makes the queue of orders.
pub(super) fn orders() -> (Orders, mpsc::Receiver<Order>) {
    mpsc::channel(crate::order::ORDERS)
}

/// Whether another broker could take over: alone there is none to hand over to.
pub(super) fn has_peers(context: &Context) -> bool {
    let metadata = context.metadata.load();
    metadata.brokers.keys().any(|id: &BrokerId| *id != context.broker_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A membership that waits for the end of a controller has not heard yet that the one before resigned.
    #[tokio::test]
    async fn a_controller_ends_though_nobody_hears_that_the_one_before_resigned() {
        let terms = [1, 2].map(|epoch| (Term { epoch, version: epoch }, Resignation::Over));
        let (resigned, mut heard) = mpsc::channel(1);
        let membership = async {
            let (over, ended) = oneshot::channel();
            leave_office(Some(terms[0]), over, &resigned).await;
            ended.await.unwrap();
            let (over, ended) = oneshot::channel();
            let drops = async {
                ended.await.unwrap();
                [heard.recv().await, heard.recv().await]
            };
            tokio::join!(leave_office(Some(terms[1]), over, &resigned), drops).1
        };
        let limit = Duration::from_secs(10);
        let heard = tokio::time::timeout(limit, membership).await.expect("nobody waits for ever");
        assert_eq!(heard, terms.map(Some));
    }
}
