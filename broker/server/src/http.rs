//! The HTTP side: `/metrics`, `/metrics/cluster`, `/healthz`, `/readyz` on `metrics.listener`.
//!
//! It answers from the moment that the address is bound, while logs are still recovered, so that a
//! probe sees the difference between slow and dead. It runs on the control side: no record waits
//! for a scrape. At most [`SCRAPES`] pages are made at once; the next scraper waits. What a client
//! may take, `connections` says.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Semaphore, oneshot};
use tracing::{error, info};

use crate::context::Context;
use crate::metrics::collect;
use crate::metrics::health::Health;
use crate::metrics::render::{Scope, render};
use crate::net::side_port::{self, Terms};
use crate::tasks::Tasks;

mod connections;

use connections::Limits;

/// Pages that are made at once: one for the scraper, one for a person who looks.
const SCRAPES: usize = 2;

/// How long a network thread may take to run a task before it counts as stuck.
const PING: Duration = Duration::from_secs(5);

/// Tasks without which the broker does not work, from its start to its stop.
const VITAL: [&str; 3] = ["control", "group-coordinator", "listener"];

/// The type of Prometheus's text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the pages are made from.
#[derive(Debug)]
struct Shared {
    health: Arc<Health>,
    context: OnceLock<Arc<Context>>,
    scrapes: Semaphore,
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
    pub async fn start(address: (&str, u16), health: Arc<Health>, tasks: &Tasks) -> Result<Self> {
        let (listener, address) = side_port::bind("metrics.listener", address).await?;
        let scrapes = Semaphore::new(SCRAPES);
        let shared = Arc::new(Shared { health, context: OnceLock::new(), scrapes });
        let terms = Terms {
            name: "metrics",
            connections: Limits::DEFAULT.connections,
            end: tasks.shutdown_token(),
            // A scrape that is under way at shutdown is of no use to anyone.
            linger: Duration::ZERO,
        };
        let router = router(Arc::clone(&shared));
        let connection =
            move |stream| connections::connection(stream, router.clone(), Limits::DEFAULT);
        tasks.spawn("http", side_port::serve(listener, terms, connection));
        info!(%address, listener = "metrics", "listening");
        Ok(Self { shared, address })
    }

    /// Has pages tell of `context`; before that there are none. To be called once.
    pub fn attach(&self, context: Arc<Context>) {
        // A second one would be another broker's.
        let _ = self.shared.context.set(context);
    }
}

/// Anything else is 404, and another method 405, without a body.
fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(broker_page))
        .route("/metrics/cluster", get(cluster_page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(shared)
}

const NO_LOG_DIR: &str = "every log directory is offline";

async fn broker_page(State(shared): State<Arc<Shared>>) -> Response {
    page(&shared, Scope::Broker).await
}

async fn cluster_page(State(shared): State<Arc<Shared>>) -> Response {
    page(&shared, Scope::Cluster).await
}

async fn page(shared: &Shared, scope: Scope) -> Response {
    let Some(context) = shared.context.get() else { return unavailable(shared) };
    let Ok(_permit) = shared.scrapes.acquire().await else { return unavailable(shared) };
    let Some(snapshot) = collect::collect(context).await else { return unavailable(shared) };
    // Pages of many partitions are long: the control side has more to do meanwhile.
    match tokio::task::spawn_blocking(move || render(snapshot, scope)).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Ok(Err(error)) => {
            error!(error = &error as &dyn std::error::Error, "no page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => unavailable(shared),
    }
}

fn unavailable(shared: &Shared) -> Response {
    let reason = shared.health.phase().reason().unwrap_or("stopping");
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response()
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let lost = |context: &Arc<Context>| {
        context.replicas.log_dirs().iter().all(|dir| dir.offline().is_offline())
    };
    let reason = shared.health.phase().reason();
    match reason.or(shared.context.get().is_some_and(lost).then_some(NO_LOG_DIR)) {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Well while the loops that everything hangs on live; a broker that starts is well too.
async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let sick = match shared.context.get() {
        Some(context) if shared.health.phase().reason().is_none() => sickness(context).await,
        Some(_) | None => None,
    };
    match sick {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Names a loop that ended, a network thread that does not come round to its tasks, or the loss of the
/// last log directory.
async fn sickness(context: &Context) -> Option<String> {
    if context.replicas.log_dirs().iter().all(|dir| dir.offline().is_offline()) {
        return Some(NO_LOG_DIR.to_owned());
    }
    let running = context.tasks.running();
    let ended = VITAL.iter().find(|name| !running.iter().any(|(task, _)| task == *name));
    if let Some(name) = ended {
        return Some(format!("task {name} has ended"));
    }
    for (thread, runtime) in context.metrics.network_runtimes().iter().enumerate() {
        let (pong, heard) = oneshot::channel();
        context.tasks.spawn_on(runtime, "ping", async move {
            // Whoever asked may have gone.
            let _ = pong.send(());
        });
        if !matches!(tokio::time::timeout(PING, heard).await, Ok(Ok(()))) {
            return Some(format!("network thread {thread} does not answer"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::metrics::health::Phase;

    async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Probes are answered from the first moment on; pages come with the broker.
    #[tokio::test]
    async fn probes_are_answered_while_the_broker_starts() {
        let (tasks, health) = (Tasks::new(), Arc::new(Health::default()));
        let server = Server::start(("127.0.0.1", 0), Arc::clone(&health), &tasks).await.unwrap();
        let address = server.address;
        assert_ne!(address.port(), 0);
        health.enter(Phase::RecoveringLogs);
        let cases = [
            ("GET", "/readyz", "503", "loading logs"),
            ("GET", "/healthz", "200", "ok"),
            ("GET", "/metrics", "503", "loading logs"),
            ("GET", "/other", "404", ""),
            ("POST", "/metrics", "405", ""),
        ];
        for (method, path, code, words) in cases {
            let answer = ask(address, method, path).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{path}: {answer}");
            assert!(answer.contains(words), "{path}: {answer}");
        }
        health.enter(Phase::Running);
        assert!(ask(address, "GET", "/readyz").await.starts_with("HTTP/1.1 200"));
        tasks.shutdown();
        assert_eq!(tasks.drain("http", Duration::from_secs(5)).await, 0);
    }
}
