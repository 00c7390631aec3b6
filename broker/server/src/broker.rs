//! Starting and stopping the broker: what there is, in which order, and who hands what to whom.
//!
//! Start: the coordination tree, the cluster's id, sockets (bound, not accepting), settings, logs,
//! the broker's place in the tree, the controller. Clients are accepted once every partition that
//! was there is led. Stop: no more clients, answers in progress, then logs, then the tree.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arc_swap::ArcSwap;
use broker_config::broker::BrokerConfig;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::BrokerId;
use broker_storage::fs::Fs;
use broker_storage::fs::real::RealFs;
use broker_storage::log_dir::Identity;
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::node::broker as registration;
use broker_zookeeper::path;
use broker_zookeeper::sessions::{Origin, Sessions};
use broker_zookeeper::store::Store;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::{SharedClock, SystemClock};
use crate::context::Context;
use crate::controller::admin::Admin;
use crate::controller::read::fresh_id;
use crate::dynamic_config::{DynamicConfig, SharedConfig};
use crate::group::coordinator::Coordinator;
use crate::group::seams::Seams;
use crate::in_flight::InFlight;
use crate::membership::presence::Presence;
use crate::membership::{Joining, Unproven};
use crate::metadata::Cache;
use crate::metrics::Metrics;
use crate::metrics::health::{Health, Phase};
use crate::move_coordination::{TREE_FILE, refuse_wrong_tree};
use crate::net::worker::Workers;
use crate::order::Orders;
use crate::replica::cleaner::Cleaner;
use crate::replica::manager::{Manager, Settings};
use crate::replica::progress::NO_BROKER_EPOCH;
use crate::seldom::Warned;
use crate::tasks::Tasks;
use crate::version::Versions;
use crate::{admin, adopt, http, jobs, producer_ids};
use ending::{Made, unless};
use ground::Ground;
use listeners::{bind, serve};
use patience::{Renewal, patiently};

mod dirs;
mod ending;
mod ground;
mod hand_over;
mod isr_in_tree;
mod listeners;
mod lost;
mod member;
mod patience;
mod release;

/// How long answers in progress may take when the broker stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A broker that serves.
pub struct Broker {
    context: Arc<Context>,
    workers: Arc<Workers>,
    sessions: Arc<Sessions>,
    /// The embedded tree, where it ends with the broker.
    tree: Option<EmbeddedTree>,
    haste: CancellationToken,
    /// Whether it is being registered, so that a controller may know of an epoch first.
    is_registering: watch::Receiver<bool>,
    /// Where it is reached, by listener, with the real ports.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Where its metrics are, with the real port.
    pub metrics_address: Option<SocketAddr>,
    /// Where the operator reaches it, with the real port.
    pub admin_address: Option<SocketAddr>,
}

impl Broker {
    /// Starts a broker and returns once it serves.
    ///
    /// # Errors
    /// When a setting, a directory, a port or the tree cannot be used; the error says which.
    pub async fn start(config: BrokerConfig) -> Result<Self> {
        let started = Self::start_unless(config, std::future::pending()).await?;
        started.context("the start was ended by nobody")
    }

    /// As [`Self::start`], unless `stop` comes first: then what was made is ended in order, and there is no
    /// broker.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_unless(
        config: BrokerConfig,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>> {
        refuse_wrong_tree(&RealFs, &config)?;
        let (origin, tree) = origin(&config)?;
        match (Self::start_on_unless(config, origin, stop).await, tree) {
            (Ok(Some(broker)), tree) => Ok(Some(Self { tree, ..broker })),
            (ended, tree) => {
                if let Some(tree) = tree {
                    ending::close_tree(&tree).await;
                }
                ended
            }
        }
    }

    /// Starts a broker of the cluster whose coordination tree is at `origin`, which outlives it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on(config: BrokerConfig, origin: Origin) -> Result<Self> {
        let started = Self::start_on_unless(config, origin, std::future::pending()).await?;
        started.context("the start was ended by nobody")
    }

    /// As [`Self::start_on`], unless `stop` comes first, as with [`Self::start_unless`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on_unless(
        config: BrokerConfig,
        origin: Origin,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>> {
        let made = Made::default();
        let started = tokio::select! {
            started = Self::make(config, origin, &made) => started.map(Some),
            () = stop => {
                info!("stopping, before the broker has started");
                Ok(None)
            }
        };
        if !matches!(started, Ok(Some(_))) {
            made.end().await;
        }
        if matches!(started, Ok(None)) {
            info!("stopped");
        }
        started
    }

    /// Makes a broker that serves; what has to be ended in order is shown in `made`.
    async fn make(config: BrokerConfig, origin: Origin, made: &Made) -> Result<Self> {
        let (tasks, fs): (_, Arc<dyn Fs>) = (Tasks::new(), Arc::new(RealFs));
        tell_start(&config);
        warn_of_no_effect(&config);
        let (metrics, http) = observe(&config, &tasks).await?;
        let operated = operate(&config, &metrics, &tasks).await?;
        if config.zookeeper_connect.is_some() {
            metrics.health.enter(Phase::Connecting);
        }
        let ground = Ground::find(&config, origin, &fs, &metrics.coordination, made).await?;
        info!(broker = ground.broker_id.0, cluster = ground.cluster_id, "broker and cluster");
        let listeners = bind(&config)?;
        let node = listeners::register(&config, &listeners);
        let (orders, inbox) = member::orders();
        let context = build(config, &ground, &fs, metrics, tasks, orders).await?;
        let _ = made.context.set(Arc::clone(&context));
        context.metrics.health.enter(Phase::Announcing);
        let metrics_address = http.map(|http| tell(&http, &context));
        let admin_address = operated.map(|admin| {
            admin.attach(Arc::clone(&context));
            admin.address
        });
        let threads = network_threads(&context.config.load());
        let workers = Arc::new(Workers::start(threads, context.clock.now())?);
        context.metrics.watch_threads(workers.runtimes());
        let (registering, is_registering) = watch::channel(true);
        let obedience = member::obey(&context, inbox, workers.runtimes(), is_registering.clone());
        // Alone, clients find every partition led; in a cluster others must reach this broker before
        // it can be told anything.
        let (mut waiting, mut addresses) = (Some(listeners), Vec::new());
        if !ground.is_alone
            && let Some(listeners) = waiting.take()
        {
            addresses = serve(&context, &workers, listeners);
        }
        let joining = joining(&context, &ground, node, fs, registering);
        member::join(&context, joining).await?;
        // The loop ends only with the process.
        let _ = obedience.registered.send(());
        member::told(obedience.loaded).await?;
        member::follow_settings(&context, &ground.sessions);
        let ended = async || end_adoption(&context, &ground).await;
        patiently(&ground.sessions, Renewal::Members, ended).await?;
        if !ground.is_alone {
            let ours = release::registration_version(&Versions::of_broker(&context.config.load()));
            let same = async || release::compare(&*ground.store, ground.broker_id, ours).await;
            patiently(&ground.sessions, Renewal::Members, same).await?;
            member::watch_contact(&context, &ground.sessions);
        }
        jobs::start(&context);
        if let Some(listeners) = waiting.take() {
            addresses = serve(&context, &workers, listeners);
        }
        context.metrics.health.enter(Phase::Running);
        info!(broker = context.broker_id.0, "ready");
        Ok(Self {
            context,
            workers,
            sessions: ground.sessions,
            tree: None,
            haste: CancellationToken::new(),
            is_registering,
            addresses,
            metrics_address,
            admin_address,
        })
    }

    /// Waits until the broker must not go on, for a reason that the log says. Cancel-safe.
    pub async fn failed(&self) {
        self.context.tasks.failed().await;
    }

    /// Returns what a stop is put in haste with: it then waits for the disk and for nobody else.
    pub fn haste(&self) -> CancellationToken {
        self.haste.clone()
    }

    /// Stops: has others lead, answers what is in progress, then closes logs so that the next start reads
    /// nothing twice. All but the disk is waited for 25 seconds at most.
    pub async fn stop(self) {
        info!("stopping");
        self.context.metrics.health.enter(Phase::Stopping);
        if member::has_peers(&self.context) {
            let hand_over =
                hand_over::hand_over(&self.context, &self.sessions, self.is_registering);
            unless(&self.haste, hand_over).await;
        }
        ending::close_logs(&self.context, &self.haste).await;
        // Only now is the broker gone for the others: its logs are closed.
        ending::close_session(&self.sessions, &self.haste).await;
        if let Some(tree) = self.tree {
            ending::close_tree(&tree).await;
        }
        if let Some(workers) = Arc::into_inner(self.workers) {
            workers.stop();
        }
        info!("stopped");
    }
}

/// Loads the logs and puts together what every handler can reach.
async fn build(
    config: BrokerConfig,
    ground: &Ground,
    fs: &Arc<dyn Fs>,
    metrics: Arc<Metrics>,
    tasks: Tasks,
    orders: Orders,
) -> Result<Arc<Context>> {
    let clock: SharedClock = Arc::new(SystemClock);
    let Ground { store, broker_id, cluster_id, .. } = ground;
    let config: SharedConfig = Arc::new(ArcSwap::from_pointee(config));
    let (settings, now, time) = (Arc::clone(store), Arc::clone(&config), Arc::clone(&clock));
    let load = async || {
        let (settings, now, time) = (Arc::clone(&settings), Arc::clone(&now), Arc::clone(&time));
        Ok(DynamicConfig::load(settings, *broker_id, now, time).await?)
    };
    let dynamic_config = Arc::new(patiently(&ground.sessions, Renewal::Ours, load).await?);
    metrics.health.enter(Phase::RecoveringLogs);
    let topics = async || topics(&**store, &dynamic_config).await;
    let topics = patiently(&ground.sessions, Renewal::Ours, topics).await?;
    let identity = Identity { cluster_id: cluster_id.clone(), broker_id: *broker_id };
    let health = Arc::clone(&metrics.health);
    let replicas = load_logs(store, topics, &config, &clock, fs, identity, health).await?;
    if !ground.is_alone {
        let lost = async || lost::find(&**store, &replicas, *broker_id).await;
        lost::note(&replicas, patiently(&ground.sessions, Renewal::Ours, lost).await?).await?;
    }
    let metadata = Arc::<Cache>::default();
    let admin = Admin::new(Arc::clone(store), Arc::clone(&metadata), Arc::clone(&config));
    let seams = Seams {
        replicas: Arc::clone(&replicas),
        metadata: Arc::clone(&metadata),
        store: Arc::clone(store),
        config: Arc::clone(&config),
        clock: Arc::clone(&clock),
        tasks: tasks.clone(),
    };
    Ok(Arc::new(Context {
        broker_id: *broker_id,
        groups: Coordinator::start(seams, &Handle::current()),
        cluster_id: cluster_id.as_str().into(),
        cleaner: Cleaner::new(Arc::clone(&replicas), Arc::clone(&config)),
        in_flight: InFlight::new(config.load().queued_max_request_bytes),
        config,
        dynamic_config,
        metadata,
        admin,
        controller: Arc::default(),
        orders,
        broker_epoch: Arc::new(AtomicI64::new(NO_BROKER_EPOCH)),
        presence: Arc::new(Presence::new(fresh_id())),
        replicas,
        warned: Warned::default(),
        metrics,
        clock,
        tasks,
    }))
}

/// What this broker registers with.
fn joining(
    context: &Context,
    ground: &Ground,
    broker: registration::Broker,
    fs: Arc<dyn Fs>,
    is_registering: watch::Sender<bool>,
) -> Joining {
    Joining {
        sessions: Arc::clone(&ground.sessions),
        id: context.broker_id,
        broker,
        past: ground.past.clone(),
        dir: identity_dir(context),
        fs,
        clock: Arc::clone(&context.clock),
        broker_epoch: Arc::clone(&context.broker_epoch),
        is_registering,
        presence: Arc::clone(&context.presence),
        unproven: unproven(&context.replicas),
    }
}

fn unproven(replicas: &Arc<Manager>) -> Unproven {
    let (changes, replicas) = (replicas.standings().changes(), Arc::clone(replicas));
    Unproven { read: Box::new(move || replicas.standings().unproven()), changes }
}

/// Says what is started, before anything that can take long.
fn tell_start(config: &BrokerConfig) {
    let dirs = config.log_dirs.iter().map(|dir| dir.display().to_string());
    let listeners = config.listeners.iter().map(ToString::to_string);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        log.dirs = dirs.collect::<Vec<_>>().join(","),
        listeners = listeners.collect::<Vec<_>>().join(","),
        zookeeper.connect =
            config.zookeeper_connect.as_deref().unwrap_or("none, the embedded tree"),
        "ottla-broker starts"
    );
}

fn warn_of_no_effect(config: &BrokerConfig) {
    for (key, reason) in config.without_effect() {
        warn!(key, reason, "setting has no effect");
    }
    if config.zookeeper_connect.is_none() && config.default_replication_factor > 1 {
        let factor = config.default_replication_factor;
        warn!(
            "default.replication.factor={factor}: a broker that runs alone holds one replica, so no \
             topic can be created unless the client asks for one"
        );
    }
}

/// Starts to answer HTTP, if that is wanted: before anything that can take long.
async fn observe(
    config: &BrokerConfig,
    tasks: &Tasks,
) -> Result<(Arc<Metrics>, Option<http::Server>)> {
    let metrics = Metrics::new(network_threads(config), Arc::default());
    let Some(address) = config.metrics_address() else { return Ok((metrics, None)) };
    let server = http::Server::start(address, Arc::clone(&metrics.health), tasks).await?;
    Ok((metrics, Some(server)))
}

/// Lets the operator see how far the start has come, if it may reach this broker.
async fn operate(
    config: &BrokerConfig,
    metrics: &Metrics,
    tasks: &Tasks,
) -> Result<Option<admin::Server>> {
    let Some(address) = config.admin_address() else { return Ok(None) };
    let process_id = fresh_id().to_string();
    let stage = Arc::clone(&metrics.health);
    let clock: SharedClock = Arc::new(SystemClock);
    let server = admin::Server::start(address, config.clone(), process_id, stage, clock, tasks);
    server.await.map(Some)
}

/// Has pages tell of `context`; returns where they are.
fn tell(http: &http::Server, context: &Arc<Context>) -> SocketAddr {
    http.attach(Arc::clone(context));
    http.address
}

fn network_threads(config: &BrokerConfig) -> usize {
    config.network_threads(std::thread::available_parallelism().map_or(1, Into::into))
}

/// Where the coordination tree is: in a ZooKeeper, or in this process and with it.
fn origin(config: &BrokerConfig) -> Result<(Origin, Option<EmbeddedTree>)> {
    if let Some(connect) = &config.zookeeper_connect {
        let session_timeout = millis(config.zookeeper_session_timeout_ms);
        let connection_timeout = config.zookeeper_connection_timeout_ms;
        let connection_timeout = connection_timeout.map_or(session_timeout, millis);
        let connect = connect.clone();
        return Ok((Origin::Remote { connect, session_timeout, connection_timeout }, None));
    }
    dirs::look(&config.log_dirs, &RealFs, BrokerId(config.id()), None)?;
    let tree = open_tree(config)?;
    Ok((Origin::Embedded(tree.clone()), Some(tree)))
}

/// The first log directory that works keeps who this broker was.
fn identity_dir(context: &Context) -> PathBuf {
    let dirs = context.replicas.log_dirs();
    let works = dirs.iter().find(|dir| !dir.offline().is_offline());
    works.or(dirs.first()).map_or_else(PathBuf::new, |dir| dir.path().to_owned())
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn open_tree(config: &BrokerConfig) -> Result<EmbeddedTree> {
    let Some(dir) = config.log_dirs.first() else { bail!("log.dirs names no directory") };
    let path = dir.join(TREE_FILE);
    EmbeddedTree::open(&path).with_context(|| {
        format!(
            "log.dirs: the first directory, {}, also holds the coordination tree and cannot be used; \
             make it writable, free space on it, or name another one",
            dir.display()
        )
    })
}

/// The topics that there are, with their settings.
async fn topics(
    store: &dyn Store,
    dynamic_config: &DynamicConfig,
) -> Result<BTreeMap<String, Arc<TopicConfig>>> {
    let mut topics = BTreeMap::new();
    for topic in store.children(path::TOPICS).await? {
        let config = dynamic_config.topic_or_kept(&topic).await?;
        topics.insert(topic, config);
    }
    Ok(topics)
}

#[allow(clippy::too_many_arguments, reason = "each is a part of the start, and used here only")]
async fn load_logs(
    store: &Arc<dyn Store>,
    topics: BTreeMap<String, Arc<TopicConfig>>,
    config: &SharedConfig,
    clock: &SharedClock,
    fs: &Arc<dyn Fs>,
    identity: Identity,
    health: Arc<Health>,
) -> Result<Arc<Manager>> {
    let now = config.load();
    let default = Arc::new(TopicConfig::resolve(&now, &BTreeMap::new())?);
    let dirs = dirs::open(&now.log_dirs, fs, &identity, clock)?;
    let settings = Settings {
        fetch_sessions_max: now.max_incremental_fetch_session_cache_slots.max(0) as usize,
        recovery_threads: now.num_recovery_threads_per_data_dir.max(1) as usize,
        producer_id_expiration_ms: i64::from(now.producer_id_expiration_ms),
    };
    let producer_ids = producer_ids::claiming(Arc::clone(store), identity.broker_id);
    let clock = Arc::clone(clock);
    let loaded = tokio::task::spawn_blocking(move || {
        let config = |topic: &str| Arc::clone(topics.get(topic).unwrap_or(&default));
        Manager::load(dirs, settings, producer_ids, clock, &config, &|dir, progress| {
            let (done, total) = (progress.done_count as u64, progress.total_count as u64);
            health.has_loaded(dir.path(), done, total);
            // Every hundredth, and the last.
            if progress.done_count % 100 == 0 || progress.done_count == progress.total_count {
                let dir = dir.path().display();
                info!(%dir, logs = progress.done_count, of = progress.total_count, "loading logs");
            }
        })
    });
    Ok(loaded.await?)
}

/// Keeps the ids of producers that wrote to adopted logs from being given out again; nothing is left
/// to adopt then.
async fn end_adoption(context: &Context, ground: &Ground) -> Result<()> {
    let partitions = context.replicas.partitions();
    // A partition that is not led here has no producers to ask for.
    let producers = partitions.iter().flat_map(|one| one.producers().unwrap_or_default());
    let known = producers.map(|producer| producer.producer_id()).max();
    if let Some(known) = known.or(ground.is_adopted.then_some(0)) {
        producer_ids::pass_over(&*ground.store, context.broker_id, known).await?;
    }
    adopt::done(&*ground.store).await
}
