//! The operator's side: the gRPC contract of `broker-admin`, on `admin.listener`.
//!
//! It answers from the moment that the address is bound: who this is, and how far the start has come. What needs the
//! broker's parts is UNAVAILABLE until they are there. It runs on the control side: no record waits for it.
//!
//! Whatever changes something passes the fence first. What a client may take, `connections` says.

use std::fmt::Display;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use broker_admin::v1::admin_server::{Admin, AdminServer};
use broker_admin::v1::{
    AcquireRestartPermitRequest, AcquireRestartPermitResponse, DescribeSettingsRequest,
    DescribeSettingsResponse, DrainLeadershipRequest, DrainLeadershipResponse, Fence,
    GetIdentityRequest, Health, Identity, ReleaseRestartPermitRequest,
    ReleaseRestartPermitResponse, WatchHealthRequest,
};
use broker_config::broker::BrokerConfig;
use broker_zookeeper::store::Store;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::info;

use crate::clock::SharedClock;
use crate::context::Context;
use crate::metrics::health::Health as Stage;
use crate::net::side_port::{self, Terms};
use crate::tasks::Tasks;

mod about;
mod connections;
mod feed;
mod fence;
mod permit;
mod settings;
#[cfg(test)]
mod tests;

use connections::Limits;
use feed::Feed;
use fence::Admitted;

/// Bytes of a message that is taken.
const MESSAGE_MAX: usize = 1 << 20;

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
    parts: OnceLock<Parts>,
}

/// What is there once the broker's parts are made.
#[derive(Debug)]
struct Parts {
    context: Arc<Context>,
    store: Arc<dyn Store>,
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
            parts: OnceLock::new(),
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
    pub fn attach(&self, context: Arc<Context>, store: Arc<dyn Store>) {
        // A second one would be another broker's.
        let _ = self.shared.parts.set(Parts { context, store });
    }
}

#[derive(Debug)]
struct Service(Arc<Shared>);

impl Shared {
    fn context(&self) -> Option<&Context> {
        self.parts.get().map(|parts| &*parts.context)
    }

    /// Lets a call through that changes something, once the broker's parts are there.
    async fn admit(&self, fence: Option<Fence>) -> Result<(&Context, Admitted), Status> {
        let parts = self.parts.get().ok_or_else(|| {
            let reason = self.stage.phase().reason().unwrap_or("starting");
            Status::unavailable(format!("the broker is not ready: {reason}; ask again"))
        })?;
        let operator = fence::admit(&*parts.store, fence).await?;
        Ok((&parts.context, operator))
    }

    fn health(&self) -> Health {
        about::health(&self.stage, self.context(), self.clock.now())
    }
}

/// What stands in the way now, and may not when it is asked again.
fn unavailable(error: impl Display) -> Status {
    Status::unavailable(format!("the coordination tree: {error}"))
}

#[tonic::async_trait]
impl Admin for Service {
    type WatchHealthStream = Pin<Box<dyn Stream<Item = Result<Health, Status>> + Send>>;

    async fn get_identity(
        &self,
        _: Request<GetIdentityRequest>,
    ) -> Result<Response<Identity>, Status> {
        let shared = &self.0;
        Ok(Response::new(about::identity(&shared.config, &shared.process_id, shared.context())))
    }

    async fn watch_health(
        &self,
        _: Request<WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        let (told, heard) = mpsc::channel(1);
        let watched = self.0.feed.watch(self.0.health());
        self.0.tasks.spawn("admin", feed::tell(watched, told));
        Ok(Response::new(Box::pin(ReceiverStream::new(heard))))
    }

    async fn describe_settings(
        &self,
        _: Request<DescribeSettingsRequest>,
    ) -> Result<Response<DescribeSettingsResponse>, Status> {
        Ok(Response::new(settings::describe()))
    }

    async fn acquire_restart_permit(
        &self,
        request: Request<AcquireRestartPermitRequest>,
    ) -> Result<Response<AcquireRestartPermitResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        permit::acquire(context, &operator, request).await.map(Response::new)
    }

    async fn release_restart_permit(
        &self,
        request: Request<ReleaseRestartPermitRequest>,
    ) -> Result<Response<ReleaseRestartPermitResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        permit::release(context, &operator, request).await.map(Response::new)
    }

    async fn drain_leadership(
        &self,
        request: Request<DrainLeadershipRequest>,
    ) -> Result<Response<DrainLeadershipResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        permit::drain(context, &operator, request).await.map(Response::new)
    }
}
