//! Starting and stopping the broker: what there is, in which order, and who hands what to whom.
//!
//! Start: the coordination tree, the cluster's id, sockets (bound, not accepting), settings, logs,
//! the broker's place in the tree, the controller. Clients are accepted once every partition that
//! was there is led. Stop: no more clients, answers in progress, then logs, then the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arc_swap::ArcSwap;
use broker_config::broker::BrokerConfig;
use broker_config::listener::Listener;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::BrokerId;
use broker_storage::fs::Fs;
use broker_storage::fs::real::RealFs;
use broker_storage::log_dir::{Identity, LogDir};
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::node::broker as registration;
use broker_zookeeper::path;
use broker_zookeeper::store::Store;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::clock::{SharedClock, SystemClock};
use crate::context::Context;
use crate::controller::admin::Admin;
use crate::controller::membership::{self, Term};
use crate::controller::old_run::{Controller, Instruction, fresh_id};
use crate::dynamic_config::{DynamicConfig, SharedConfig};
use crate::group::coordinator::Coordinator;
use crate::group::seams::Seams;
use crate::in_flight::InFlight;
use crate::metadata::{self, Cache, Metadata};
use crate::metrics::Metrics;
use crate::metrics::health::Phase;
use crate::net::connection;
use crate::net::limits::Limits;
use crate::net::listener;
use crate::net::worker::Workers;
use crate::old_control::Control;
use crate::replica::cleaner::Cleaner;
use crate::replica::manager::{Manager, Settings};
use crate::tasks::Tasks;
use crate::{adopt, http, jobs, order, producer_ids};

/// The embedded tree's file, in the first log directory: it and the data go together.
const TREE_FILE: &str = "ottla-coordination.log";

/// Instructions that the controller may be ahead of the broker; each waits for the one before.
const INSTRUCTIONS: usize = 16;

/// How long answers in progress may take when the broker stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A broker that serves.
pub struct Broker {
    context: Arc<Context>,
    workers: Arc<Workers>,
    replicas: Arc<Manager>,
    tree: EmbeddedTree,
    epoch: i64,
    /// Where it is reached, by listener, with the real ports.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Where its metrics are, with the real port.
    pub metrics_address: Option<SocketAddr>,
}

impl Broker {
    /// Starts a broker and returns once it serves.
    ///
    /// # Errors
    /// When a setting, a directory, a port or the tree cannot be used; the error says which.
    #[allow(clippy::too_many_lines, reason = "the start is being taken apart")]
    pub async fn start(config: BrokerConfig) -> Result<Self> {
        let clock: SharedClock = Arc::new(SystemClock);
        let tasks = Tasks::new();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let broker_id = BrokerId(config.id());
        warn_of_no_effect(&config);
        let (metrics, http) = observe(&config, &tasks).await?;
        let tree = open_tree(&config)?;
        let store: Arc<dyn Store> = Arc::new(tree.session().await);
        let adopted =
            adopt::cluster_id(&*fs, &config.log_dirs).context("read the log directories")?;
        membership::ensure_paths(&*store).await?;
        let cluster_id = membership::cluster_id(&*store, adopted.unwrap_or_else(fresh_id)).await?;
        let is_adopted = adopt::topics(&*store, &fs, &config.log_dirs, broker_id).await?;

        let listeners = bind(&config)?;
        let config: SharedConfig = Arc::new(ArcSwap::from_pointee(config));
        let (settings, now, time) = (Arc::clone(&store), Arc::clone(&config), Arc::clone(&clock));
        let dynamic_config = Arc::new(DynamicConfig::load(settings, broker_id, now, time).await?);
        metrics.health.enter(Phase::RecoveringLogs);
        let replicas =
            load_logs(&store, &dynamic_config, &config, &clock, &fs, broker_id, &cluster_id)
                .await?;

        let node = register(&config.load(), &listeners, clock.wall().0);
        let broker_epoch = membership::register(&*store, broker_id, &node).await?;
        let metadata = alone(broker_id, described(&node));
        let controller = Admin::new(Arc::clone(&store), Arc::clone(&metadata), Arc::clone(&config));
        let seams = Seams {
            broker_id,
            replicas: Arc::clone(&replicas),
            metadata: Arc::clone(&metadata),
            store: Arc::clone(&store),
            config: Arc::clone(&config),
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
        };
        let groups = Coordinator::start(seams, &Handle::current());
        let context = Arc::new(Context {
            broker_id,
            groups,
            cluster_id: cluster_id.into(),
            cleaner: Cleaner::new(Arc::clone(&replicas), Arc::clone(&config)),
            in_flight: InFlight::new(config.load().queued_max_request_bytes),
            config,
            dynamic_config,
            metadata,
            controller,
            // Nobody orders anything yet: the requests that would are not served.
            orders: mpsc::channel(order::ORDERS).0,
            replicas: Arc::clone(&replicas),
            metrics,
            clock,
            tasks,
        });
        context.metrics.health.enter(Phase::Announcing);
        let metrics_address = http.map(|http| tell(&http, &context));
        control(&context, &store).await?;
        end_adoption(&*store, &replicas, broker_id, is_adopted).await?;
        jobs::start(&context);
        let workers = Arc::new(Workers::start(network_threads(&context.config.load()))?);
        context.metrics.watch_threads(workers.runtimes());
        let addresses = serve(&context, &workers, listeners);
        context.metrics.health.enter(Phase::Running);
        Ok(Self {
            context,
            workers,
            replicas,
            tree,
            epoch: broker_epoch,
            addresses,
            metrics_address,
        })
    }

    /// Stops: answers what is in progress, then closes logs so that the next start reads nothing
    /// twice.
    pub async fn stop(self) {
        info!("stopping");
        self.context.metrics.health.enter(Phase::Stopping);
        let tasks = &self.context.tasks;
        tasks.shutdown();
        for name in ["listener", "connection", "cleaner"] {
            let left = tasks.drain(name, DRAIN + Duration::from_secs(1)).await;
            if left > 0 {
                warn!(task = name, left, "still running; ended with the process");
            }
        }
        let (replicas, broker_epoch) = (Arc::clone(&self.replicas), self.epoch);
        let closed = tokio::task::spawn_blocking(move || replicas.close(broker_epoch)).await;
        if let Err(error) = closed {
            error!(%error, "logs are not closed; the next start recovers them");
        }
        if tokio::time::timeout(DRAIN, self.tree.close()).await.is_err() {
            warn!("the coordination tree's disk does not answer; the tree ends with the process");
        }
        if let Some(workers) = Arc::into_inner(self.workers) {
            workers.stop();
        }
        info!("stopped");
    }
}

fn warn_of_no_effect(config: &BrokerConfig) {
    for (key, reason) in config.without_effect() {
        warn!(key, reason, "setting has no effect");
    }
    if config.default_replication_factor > 1 {
        let factor = config.default_replication_factor;
        warn!(
            "default.replication.factor={factor}: a broker that runs alone holds one replica, so no \
             topic can be created unless the client asks for one"
        );
    }
}

/// What is known before the controller has told of any topic: this broker.
fn alone(broker_id: BrokerId, broker: metadata::Broker) -> Arc<Cache> {
    let metadata = Arc::new(Cache::default());
    metadata.publish(Metadata {
        controller: Some(broker_id),
        brokers: BTreeMap::from([(broker_id, broker)]),
        ..Metadata::default()
    });
    metadata
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

/// Has pages tell of `context`; returns where they are.
fn tell(http: &http::Server, context: &Arc<Context>) -> SocketAddr {
    http.attach(Arc::clone(context));
    http.address
}

fn network_threads(config: &BrokerConfig) -> usize {
    config.network_threads(std::thread::available_parallelism().map_or(1, Into::into))
}

fn open_tree(config: &BrokerConfig) -> Result<EmbeddedTree> {
    if config.zookeeper_connect.is_some() {
        bail!("`zookeeper.connect` cannot be honoured yet: leave the key out");
    }
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

/// A bound listener with what clients are told of it.
struct Bound {
    listener: listener::Listener,
    name: String,
    address: SocketAddr,
    advertised: Listener,
}

fn bind(config: &BrokerConfig) -> Result<Vec<Bound>> {
    let options = listener::Options {
        backlog: config.socket_listen_backlog_size,
        receive_buffer: usize::try_from(config.socket_receive_buffer_bytes).ok(),
        send_buffer: usize::try_from(config.socket_send_buffer_bytes).ok(),
    };
    let mut bound = Vec::with_capacity(config.listeners.len());
    for asked in &config.listeners {
        let host = if asked.host.is_empty() { "::" } else { asked.host.as_str() };
        let address = (host, asked.port)
            .to_socket_addrs()
            .with_context(|| format!("listeners: {asked} is no address"))?
            .next()
            .with_context(|| format!("listeners: {asked} is no address"))?;
        let listener = listener::bind(&asked.name, address, &options).with_context(|| {
            format!("listeners: cannot listen on {asked}; is another broker running there?")
        })?;
        let address = listener.address()?;
        let told = config.advertised_listeners.iter().find(|told| told.name == asked.name);
        let told =
            told.with_context(|| format!("advertised.listeners: {} is missing", asked.name))?;
        let mut advertised = told.clone();
        if advertised.port == 0 {
            advertised.port = address.port();
        }
        if advertised.host.is_empty() {
            advertised.host = host_name();
        }
        bound.push(Bound { listener, name: asked.name.clone(), address, advertised });
    }
    Ok(bound)
}

/// What a client is told where no host is configured: this machine's name, as Kafka does.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[allow(clippy::too_many_arguments, reason = "each is a part of the start, and used here only")]
async fn load_logs(
    store: &Arc<dyn Store>,
    dynamic_config: &DynamicConfig,
    config: &SharedConfig,
    clock: &SharedClock,
    fs: &Arc<dyn Fs>,
    broker_id: BrokerId,
    cluster_id: &str,
) -> Result<Arc<Manager>> {
    let mut topics = BTreeMap::new();
    for topic in store.children(path::TOPICS).await? {
        let config = dynamic_config.topic(&topic).await?;
        topics.insert(topic, config);
    }
    let now = config.load();
    let default = Arc::new(TopicConfig::resolve(&now, &BTreeMap::new())?);
    let identity = Identity { cluster_id: cluster_id.to_owned(), broker_id };
    let dirs = open_dirs(&now.log_dirs, fs, &identity, clock)?;
    let settings = Settings {
        fetch_sessions_max: now.max_incremental_fetch_session_cache_slots.max(0) as usize,
        recovery_threads: now.num_recovery_threads_per_data_dir.max(1) as usize,
        producer_id_expiration_ms: i64::from(now.producer_id_expiration_ms),
    };
    let producer_ids = producer_ids::claiming(Arc::clone(store), broker_id);
    let clock = Arc::clone(clock);
    let loaded = tokio::task::spawn_blocking(move || {
        let config = |topic: &str| Arc::clone(topics.get(topic).unwrap_or(&default));
        Manager::load(dirs, settings, producer_ids, clock, &config, &|dir, progress| {
            // Every tenth log of many, and the last.
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
async fn end_adoption(
    store: &dyn Store,
    replicas: &Manager,
    broker_id: BrokerId,
    is_adopted: bool,
) -> Result<()> {
    let partitions = replicas.partitions();
    // A partition that is not led here has no producers to ask for.
    let producers = partitions.iter().flat_map(|one| one.producers().unwrap_or_default());
    let known = producers.map(|producer| producer.producer_id()).max();
    if let Some(known) = known.or(is_adopted.then_some(0)) {
        producer_ids::pass_over(store, broker_id, known).await?;
    }
    adopt::done(store).await
}

/// Opens every directory; one whose disk fails is offline from the start, if another works.
fn open_dirs(
    paths: &[PathBuf],
    fs: &Arc<dyn Fs>,
    identity: &Identity,
    clock: &SharedClock,
) -> Result<Vec<Arc<LogDir>>> {
    let mut dirs = Vec::with_capacity(paths.len());
    for path in paths {
        let dir = match LogDir::open(Arc::clone(fs), path, identity, clock.wall()) {
            Ok(dir) => dir,
            Err(error) => match error.disk_failure() {
                Some(disk) => LogDir::failed(Arc::clone(fs), path, disk)?,
                None => return Err(error.into()),
            },
        };
        dirs.push(Arc::new(dir));
    }
    if dirs.iter().all(|dir| dir.offline().is_offline()) {
        bail!("log.dirs: no directory can be used; the log says why");
    }
    Ok(dirs)
}

fn register(config: &BrokerConfig, listeners: &[Bound], now_ms: i64) -> registration::Broker {
    let endpoint = |bound: &Bound| {
        let protocol = config.security_protocol(&bound.advertised);
        registration::Endpoint {
            listener: bound.name.clone(),
            security_protocol: protocol.map_or(&*bound.name, |protocol| protocol.as_str()).into(),
            host: bound.advertised.host.clone(),
            port: bound.advertised.port,
        }
    };
    registration::Broker {
        version: 5,
        endpoints: listeners.iter().map(endpoint).collect(),
        rack: config.broker_rack.clone(),
        features: BTreeMap::new(),
        timestamp_ms: now_ms,
    }
}

fn described(node: &registration::Broker) -> metadata::Broker {
    let endpoint = |endpoint: &registration::Endpoint| metadata::Endpoint {
        listener: endpoint.listener.as_str().into(),
        host: endpoint.host.as_str().into(),
        port: endpoint.port,
    };
    metadata::Broker {
        rack: node.rack.as_deref().map(Into::into),
        endpoints: node.endpoints.iter().map(endpoint).collect(),
    }
}

/// Starts the controller and what carries out its decisions; returns once all topics are led.
async fn control(context: &Arc<Context>, store: &Arc<dyn Store>) -> Result<()> {
    let won = membership::stand(&**store, context.broker_id, context.clock.wall().0).await?;
    let Some(term): Option<Term> = won else { bail!("another broker is the controller") };
    let (instructions, inbox) = mpsc::channel(INSTRUCTIONS);
    let (loaded, mut is_loaded) = watch::channel(false);
    let instructions_later = instructions.downgrade();
    let live = BTreeSet::from([context.broker_id]);
    let controller = Controller::new(Arc::clone(store), term, live, instructions);
    let shutdown = context.tasks.shutdown_token();
    context.tasks.spawn("controller", controller.run(shutdown));
    let control = Control::new(
        context.broker_id,
        Arc::clone(&context.replicas),
        Arc::clone(&context.metadata),
        Arc::clone(&context.dynamic_config),
        loaded,
    );
    context.tasks.spawn("control", control.run(inbox));
    is_loaded.wait_for(|loaded| *loaded).await.context("the controller ended before it began")?;
    // Only now: until the start is over, the controller's end must be the end of instructions.
    let instructions = instructions_later.upgrade().context("the controller ended")?;
    follow_settings(context, instructions);
    Ok(())
}

/// Starts to apply changes of settings, those since the start first.
fn follow_settings(context: &Arc<Context>, instructions: mpsc::Sender<Instruction>) {
    let (dynamic_config, shutdown) =
        (Arc::clone(&context.dynamic_config), context.tasks.shutdown_token());
    context.tasks.spawn("dynamic-config", async move {
        let carry_on = |applied| {
            let instructions = instructions.clone();
            async move {
                let (done, finished) = oneshot::channel();
                // The receiver ends only with the process.
                let _ = instructions.send(Instruction::Configure { applied, done }).await;
                let _ = finished.await;
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            ended = dynamic_config.follow(carry_on) => {
                if let Err(error) = ended {
                    error!(%error, "changes of settings are not seen any more");
                }
            }
        }
    });
}

/// Begins to accept on every listener.
fn serve(
    context: &Arc<Context>,
    workers: &Arc<Workers>,
    listeners: Vec<Bound>,
) -> Vec<(String, SocketAddr)> {
    let config = context.config.load();
    let limits = Limits::new(Arc::clone(&context.config));
    let millis = |ms: i64| Duration::from_millis(ms.max(0) as u64);
    let settings = connection::Settings {
        frame_max: config.socket_request_max_bytes.max(0) as usize,
        idle: millis(config.connections_max_idle_ms),
        first_request: millis(config.connections_first_request_timeout_ms),
        drain: DRAIN,
    };
    let mut addresses = Vec::with_capacity(listeners.len());
    for Bound { listener, name, address, .. } in listeners {
        context.metrics.connections.announce(&name, workers.loads().len());
        info!(%address, listener = %name, "listening");
        let accept = listener.accept(
            Arc::clone(context),
            Arc::clone(workers),
            Arc::clone(&limits),
            settings.clone(),
            context.tasks.shutdown_token(),
        );
        context.tasks.spawn("listener", accept);
        addresses.push((name, address));
    }
    addresses
}
