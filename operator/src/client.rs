//! The client of the Kubernetes API server: every request is counted, and ends.
//!
//! A watch may last; everything else is given up after [`PATIENCE`], so that no look at an object hangs on one answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::{Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{BoxError, Layer, Service};

use crate::metrics::Metrics;

mod ending;
mod request;

use ending::Ending;
use request::{Asked, outcome};

/// How long an answer may take that is no watch. The API server itself gives up after a minute.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the client of the cluster that `config` names.
///
/// # Errors
/// When its certificates or tokens cannot be used.
pub fn client(config: Config, metrics: Arc<Metrics>) -> Result<Client, kube::Error> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Counted { metrics }).build())
}

/// Puts counting and patience around a service.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

impl<S> Layer<S> for Counted {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountedService { inner, metrics: Arc::clone(&self.metrics) }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct CountedService<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<Body>> for CountedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Ending<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = Asked::of(request.method(), request.uri());
        let answer = self.inner.call(request);
        let metrics = Arc::clone(&self.metrics);
        Box::pin(async move {
            let time = (asked.verb != "watch").then_some(PATIENCE);
            let answer = if asked.verb == "watch" {
                answer.await.map_err(Into::into)
            } else {
                match tokio::time::timeout(PATIENCE, answer).await {
                    Ok(answer) => answer.map_err(Into::into),
                    Err(late) => Err(late.into()),
                }
            };
            let code = answer.as_ref().ok().map(Response::status);
            metrics.requested(asked.verb, asked.kind, outcome(code));
            answer.map(|answer| answer.map(|body| Ending::new(body, time)))
        })
    }
}
