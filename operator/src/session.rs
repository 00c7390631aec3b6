//! One term after the other: while this operator leads its controllers run, and when the term is over they are dropped
//! with all that they know. The next term begins anew.
//!
//! A stand-by keeps no caches: it costs nothing, and what it reads when it takes over is what is.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kube::Client;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::apply::Writer;
use crate::clock::Clock;
use crate::health::Health;
use crate::kind::Kind;
use crate::lease::{Fence, Leadership};
use crate::metrics::Metrics;
use crate::progress::Progress;

/// How long looks that are under way may take to end once the operator is told to stop. A pod is killed after 30
/// seconds, and the Lease is to be given back before.
const GRACE: Duration = Duration::from_secs(20);

/// What controllers stand on, from the begin of the process to its end.
#[derive(Clone)]
pub struct Ground {
    /// For reading.
    pub client: Client,
    /// For writing.
    pub writer: Writer,
    /// The namespace of this operator's pod; `None` where it runs outside of the cluster that it looks after.
    pub home: Option<String>,
    /// The namespaces that are looked after; `None` is all of them.
    pub namespaces: Vec<Option<String>>,
    /// How many objects are looked at at once.
    pub workers: u16,
    /// Whether this operator leads.
    pub leadership: watch::Receiver<Option<Leadership>>,
    /// The time.
    pub clock: Clock,
    /// What is worked on.
    pub progress: Arc<Progress>,
    /// Whether all is well.
    pub health: Arc<Health>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// One term of leadership, in one namespace or all.
#[derive(Clone)]
pub struct Session {
    /// What lasts longer than the term.
    pub ground: Ground,
    /// The term.
    pub fence: Fence,
    /// `None` is all of them.
    pub namespace: Option<String>,
    /// Shared by all controllers: as many looks at once as there are permits.
    pub workers: Arc<Semaphore>,
    /// Cancelled when no new look is to begin.
    pub stop: CancellationToken,
}

/// A future that is owned and may go to another thread.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A controller: runs for a session, until it is told to stop or dropped.
pub type Plug = Box<dyn Fn(Session) -> Boxed<()> + Send + Sync>;

/// Runs `controllers` whenever this operator leads, until `stop`.
pub async fn run(ground: &Ground, controllers: &[Plug], stop: &CancellationToken) {
    let mut leadership = ground.leadership.clone();
    while !stop.is_cancelled() {
        if let Some(fence) = Fence::present(&leadership, ground.clock) {
            term(ground, controllers, fence, stop).await;
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            changed = leadership.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

async fn term(ground: &Ground, controllers: &[Plug], fence: Fence, stop: &CancellationToken) {
    info!(%fence, "the controllers begin");
    let workers = Arc::new(Semaphore::new(usize::from(ground.workers)));
    let sessions = ground.namespaces.iter().map(|namespace| Session {
        ground: ground.clone(),
        fence: fence.clone(),
        namespace: namespace.clone(),
        workers: Arc::clone(&workers),
        stop: stop.clone(),
    });
    let running = sessions
        .flat_map(|session| controllers.iter().map(move |controller| controller(session.clone())));
    let running = async {
        join_all(running).await;
        // They end when they are told to; one that ends before must not end the term.
        stop.cancelled().await;
    };
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        () = fence.lost() => warn!(%fence, "leadership is over, the controllers are dropped"),
        () = running => info!(%fence, "the controllers have ended"),
        () = too_long => warn!(%fence, "looks that take too long are dropped"),
    }
    for kind in Kind::ALL {
        ground.progress.stopped(kind);
    }
    ground.health.no_caches();
}
