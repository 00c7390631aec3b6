//! The operator's side: the gRPC contract of `broker-admin`, on `admin.listener`.
//!
//! It answers from the moment that the address is bound: who this is, and how far the start has come. What needs the
//! broker's parts is UNAVAILABLE until they are there. It runs on the control side: no record waits for it.
//!
//! Whatever changes something passes the fence first. What a client may take, `connections` says.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use broker_admin::v1::admin_server::AdminServer;
use broker_admin::v1::{Fence, Health};
use broker_config::broker::BrokerConfig;
use tonic::Status;
use tracing::info;

use crate::clock::SharedClock;
use crate::context::Context;
use crate::metrics::health::Health as Stage;
use crate::net::side_port::{self, Terms};
use crate::tasks::Tasks;

mod about;
mod change;
mod cluster;
mod configure;
mod connections;
mod cordon;
mod feed;
mod fence;
mod forget;
mod moves;
mod office;
mod permit;
mod refusal;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod throttles;
mod topic;
mod topics;
mod tree;
mod watched;

use connections::Limits;
use feed::Feed;
use fence::Admitted;
use service::Service;

/// Bytes of a message that is taken: the replicas of a topic of 100,000 partitions stay below.
const MESSAGE_MAX: usize = 4 << 20;

/// Bytes of a name that is kept: an operator's identity, a roll's.
const TEXT_MAX: usize = 253;

/// How long calls that are under way may take when the broker stops.
const LINGER: Duration = Duration::from_secs(1);

/// What every call can reach.
#[derive(Debug)]
struct Shared {
    config: BrokerConfig,
    process_id: String,
    stage: Arc<Stage>,
    clock: SharedClock,
    feed: Feed,
    tasks: Tasks,
    /// There once the broker's parts are made.
    context: OnceLock<Arc<Context>>,
}

/// The server. Shared; ends with the process's tasks.
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Shared>,
    /// Where it is reached, with the real port.
    pub address: SocketAddr,
}

impl Server {
    /// Binds a host and a port (0 takes a free one) and answers from now on.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        address: (&str, u16),
        config: BrokerConfig,
        process_id: String,
        stage: Arc<Stage>,
        clock: SharedClock,
        tasks: &Tasks,
    ) -> Result<Self> {
        Self::start_with(Limits::DEFAULT, address, config, process_id, stage, clock, tasks).await
    }

    async fn start_with(
        limits: Limits,
        address: (&str, u16),
        config: BrokerConfig,
        process_id: String,
        stage: Arc<Stage>,
        clock: SharedClock,
        tasks: &Tasks,
    ) -> Result<Self> {
        let (listener, address) = side_port::bind("admin.listener", address).await?;
        let feed = Feed::new(about::health(&stage, None, clock.now()));
        let shared = Arc::new(Shared {
            config,
            process_id,
            stage,
            clock,
            feed,
            tasks: tasks.clone(),
            context: OnceLock::new(),
        });
        let end = tasks.shutdown_token();
        let looking = (Arc::clone(&shared), end.clone());
        tasks.spawn("admin", async move {
            let (shared, end) = looking;
            shared.feed.run(|| shared.health(), &end).await;
        });
        let terms = Terms {
            name: "admin",
            connections: limits.connections,
            end: end.clone(),
            linger: LINGER,
        };
        let service =
            AdminServer::new(Service(Arc::clone(&shared))).max_decoding_message_size(MESSAGE_MAX);
        let spawner = tasks.clone();
        let connection = move |stream| {
            let (service, end, tasks) = (service.clone(), end.clone(), spawner.clone());
            connections::connection(stream, service, limits, end, tasks)
        };
        tasks.spawn("admin", side_port::serve(listener, terms, connection));
        info!(%address, listener = "admin", "listening");
        Ok(Self { shared, address })
    }

    /// Has calls reach the broker's parts. To be called once.
    pub fn attach(&self, context: Arc<Context>) {
        // A second one would be another broker's.
        let _ = self.shared.context.set(context);
    }
}

impl Shared {
    fn context(&self) -> Option<&Context> {
        self.context.get().map(|context| &**context)
    }

    /// Lets a call through that changes something, once the broker's parts are there.
    async fn admit(&self, fence: Option<Fence>) -> Result<(&Context, Admitted), Status> {
        let context = self.ready()?;
        let operator = fence::admit(&**context.admin.store(), fence).await?;
        Ok((context, operator))
    }

    /// The broker's parts.
    fn ready(&self) -> Result<&Context, Status> {
        self.shared_context().map(|context| &**context)
    }

    /// The same, to be kept by a task.
    fn shared_context(&self) -> Result<&Arc<Context>, Status> {
        self.context.get().ok_or_else(|| {
            let reason = self.stage.phase().reason().unwrap_or("starting");
            Status::unavailable(format!("the broker is not ready: {reason}; ask again"))
        })
    }

    fn health(&self) -> Health {
        about::health(&self.stage, self.context(), self.clock.now())
    }
}

/// What stands in the way now, and may not when it is asked again.
fn unavailable(error: impl Display) -> Status {
    Status::unavailable(format!("the coordination tree: {error}"))
}
