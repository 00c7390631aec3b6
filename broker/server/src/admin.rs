//! The operator's side: the gRPC contract of `broker-admin`, on `admin.listener`.
//!
//! It answers from the moment that the address is bound: who this is, and how far the start has come. What needs the
//! broker's parts is UNAVAILABLE until they are there. It runs on the control side: no record waits for it.
//!
//! Whatever changes something passes the fence first. Bounds: a message of 1 MiB, [`STREAMS`] calls of one connection at
//! once.

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
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server as Transport;
use tonic::{Request, Response, Status};
use tracing::{error, info};

use fence::Admitted;

use crate::clock::SharedClock;
use crate::context::Context;
use crate::metrics::health::Health as Stage;
use crate::net::side_port;
use crate::tasks::Tasks;

mod about;
mod fence;
mod permit;
mod settings;

/// How often the broker's health is looked at for those who watch it.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes of a message that is taken.
const MESSAGE_MAX: usize = 1 << 20;

/// Bytes of a name that is kept: an operator's identity, a roll's.
const TEXT_MAX: usize = 253;

/// Calls of one connection at once: an operator makes a handful.
const STREAMS: u32 = 64;

/// What every call can reach.
#[derive(Debug)]
struct Shared {
    config: BrokerConfig,
    process_id: String,
    stage: Arc<Stage>,
    clock: SharedClock,
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
        let (listener, address) = side_port::bind("admin.listener", address).await?;
        let shared = Arc::new(Shared {
            config,
            process_id,
            stage,
            clock,
            tasks: tasks.clone(),
            parts: OnceLock::new(),
        });
        let service =
            AdminServer::new(Service(Arc::clone(&shared))).max_decoding_message_size(MESSAGE_MAX);
        let served = Transport::builder()
            .max_concurrent_streams(STREAMS)
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let shutdown = tasks.shutdown_token();
        tasks.spawn("admin", async move {
            // Dropped at shutdown: who watches sees the connection end.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                served = served => {
                    if let Err(error) = served {
                        error!(error = &error as &dyn std::error::Error, "the admin port is served no more");
                    }
                }
            }
        });
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
        about::health(self.stage.phase(), self.context(), self.clock.now())
    }

    /// Tells how the broker is, and whenever that changes, until nobody listens.
    async fn watch(
        self: Arc<Self>,
        told: mpsc::Sender<Result<Health, Status>>,
        end: CancellationToken,
    ) {
        let mut last = None;
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                biased;
                () = end.cancelled() => return,
                () = told.closed() => return,
                _ = looks.tick() => {}
            }
            let health = self.health();
            if last.as_ref() != Some(&health) {
                last = Some(health.clone());
                if told.send(Ok(health)).await.is_err() {
                    return;
                }
            }
        }
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
        let (told, stream) = mpsc::channel(1);
        let watching = Arc::clone(&self.0).watch(told, self.0.tasks.shutdown_token());
        self.0.tasks.spawn("admin", watching);
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
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
