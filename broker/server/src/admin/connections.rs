//! Connections of the admin port: HTTP/2, bounded as [`Limits`] says.
//!
//! Streams may last as long as the broker does. Who says nothing, or is gone without a word, is closed. When the broker
//! stops, calls that are under way are answered first.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tracing::debug;

use crate::tasks::Tasks;

/// What a client of the admin port may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) connections: usize,
    /// From a connection's begin to its first call.
    pub(super) first_call: Duration,
    /// How often a connection is looked after, and how long the answer may take.
    pub(super) keepalive: Duration,
    /// Calls of one connection at once.
    pub(super) streams: u32,
    /// Bytes of a call's header.
    pub(super) header_size: u32,
}

impl Limits {
    /// Far above what an operator, its successor and a person need.
    pub(super) const DEFAULT: Self = Self {
        connections: 64,
        first_call: Duration::from_secs(30),
        keepalive: Duration::from_secs(20),
        streams: 64,
        header_size: 16 * 1024,
    };
}

/// Calls run as tasks of the process, by this name.
#[derive(Debug, Clone)]
struct Named(Tasks);

impl<F> Executor<F> for Named
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, call: F) {
        self.0.spawn("admin", async move {
            call.await;
        });
    }
}

/// Answers the calls of one connection until it ends, or the broker stops.
pub(super) async fn connection<S>(
    stream: TcpStream,
    service: S,
    limits: Limits,
    end: CancellationToken,
    tasks: Tasks,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send,
    S::Future: Send + 'static,
    S: 'static,
{
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let calls = service_fn(move |request| {
        begins.notify_one();
        service.clone().call(request)
    });
    let served = http2::Builder::new(Named(tasks))
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keepalive)
        .keep_alive_timeout(limits.keepalive)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_size)
        .serve_connection(TokioIo::new(stream), calls);
    let mut served = pin!(served);
    let silent = async {
        if tokio::time::timeout(limits.first_call, begun.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = &mut served => ended,
        () = end.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = silent => {
            debug!("admin connection closed: it has called nothing");
            return;
        }
    };
    if let Err(error) = ended {
        debug!(%error, "admin connection ended");
    }
}
