//! The whole operator: the parts are made here, run side by side, and ended in order.
//!
//! Order of the end: controllers finish the looks that they are at, then the Lease is given back, so that nobody acts
//! without it; the HTTP port answers until the last. A second signal ends everything where it stands.

use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, Config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::apply::Writer;
use crate::candidacy::Election;
use crate::client::config;
use crate::clock::Clock;
use crate::crds;
use crate::event::Recorder;
use crate::health::Health;
use crate::http::{self, Pages};
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::session::{self, Ground};
use crate::settings::Settings;

pub use crate::session::Plug;

/// Works until it is `told` to stop; told again, it waits for nothing more.
///
/// # Errors
/// When the operator cannot begin: no cluster is configured, or the address is taken.
pub async fn run(
    settings: &Settings,
    controllers: Vec<Plug>,
    told: impl AsyncFnMut(),
) -> Result<()> {
    let metrics = Arc::new(Metrics::new().context("make the metrics")?);
    let config = config::config().await?;
    let namespace = settings.lease_namespace().unwrap_or_else(|| config.default_namespace.clone());
    let home = home(&config);
    let client = crate::client::client(config, Arc::clone(&metrics))
        .context("the cluster's address or certificates cannot be used")?;
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!("cannot listen on {}: --listen gives it another place", settings.listen)
    })?;
    info!(address = %listener.local_addr()?, "listening");
    let parts = Parts::new(settings, (client, &namespace), home, metrics);
    parts.run(listener, controllers, told).await
}

/// Returns the namespace of this pod, if it is one of the cluster that is looked after.
fn home(config: &Config) -> Option<String> {
    let own = Config::incluster().ok()?;
    (own.cluster_url == config.cluster_url).then_some(own.default_namespace)
}

/// What there is once in the process.
struct Parts {
    ground: Ground,
    election: Election,
    pages: Pages,
}

impl Parts {
    fn new(
        settings: &Settings,
        (client, namespace): (Client, &str),
        home: Option<String>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (clock, identity) = (Clock::system(), settings.identity());
        let progress = Arc::new(Progress::new(clock));
        let health = Arc::new(Health::new(clock, Arc::clone(&progress)));
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let names = (settings.lease_name.as_str(), identity.as_str());
        let election =
            Election::new(leases, names, clock, Arc::clone(&health), Arc::clone(&metrics));
        let events = Recorder::new(client.clone(), &identity, clock);
        let ground = Ground {
            writer: Writer::new(client.clone(), Arc::clone(&metrics), events),
            client,
            home,
            namespaces: settings.namespaces(),
            workers: settings.workers.get(),
            leadership: election.subscribe(),
            clock,
            progress: Arc::clone(&progress),
            health: Arc::clone(&health),
            metrics: Arc::clone(&metrics),
        };
        Self { ground, election, pages: Pages { metrics, progress, health } }
    }

    async fn run(
        self,
        listener: TcpListener,
        controllers: Vec<Plug>,
        mut told: impl AsyncFnMut(),
    ) -> Result<()> {
        let Self { ground, election, pages } = self;
        let (stop, give_back) = (CancellationToken::new(), CancellationToken::new());
        let act = async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = crds::wait(&ground.client) => {
                    ground.health.served();
                    session::run(&ground, &controllers, &stop).await;
                }
            }
            give_back.cancel();
        };
        let mut work = pin!(async { tokio::join!(act, election.run(give_back.clone())) });
        let mut served = pin!(http::serve(listener, pages));
        tokio::select! {
            _ = &mut work => bail!("the operator's work ended by itself"),
            () = &mut served => bail!("the HTTP port ended by itself"),
            () = told() => info!("told to stop"),
        }
        stop.cancel();
        tokio::select! {
            _ = &mut work => info!("stopped"),
            () = &mut served => {}
            () = told() => warn!("told to stop again: nothing more is waited for"),
        }
        Ok(())
    }
}
