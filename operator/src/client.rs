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

pub mod config;
mod request;

use request::{Asked, outcome};

/// How long an answer may take that is no watch. The API server itself gives up after a minute.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the client of the cluster that `config` names.
///
/// # Errors
/// When its certificates or tokens cannot be used.
pub fn client(config: Config, metrics: Arc<Metrics>) -> Result<Client, kube::Error> {
    let address = Arc::from(config.cluster_url.to_string());
    Ok(ClientBuilder::try_from(config)?.with_layer(&Counted { metrics, address }).build())
}

/// Why a request has no answer; what lies below it says more.
#[derive(Debug, thiserror::Error)]
#[error("the API server at {address} does not answer")]
struct Unanswered {
    address: Arc<str>,
    source: BoxError,
}

/// What the client itself has found, such as no token, was not asked of anybody.
fn unanswered(address: Arc<str>, source: BoxError) -> BoxError {
    match source.downcast::<kube::Error>() {
        Ok(own) => own,
        Err(source) => Unanswered { address, source }.into(),
    }
}

/// Puts counting and patience around a service.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Who is asked, for who reads why there is no answer.
    pub address: Arc<str>,
}

impl<S> Layer<S> for Counted {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let (metrics, address) = (Arc::clone(&self.metrics), Arc::clone(&self.address));
        CountedService { inner, metrics, address }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct CountedService<S> {
    inner: S,
    metrics: Arc<Metrics>,
    address: Arc<str>,
}

impl<S, B> Service<Request<Body>> for CountedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = Asked::of(request.method(), request.uri());
        let answer = self.inner.call(request);
        let (metrics, address) = (Arc::clone(&self.metrics), Arc::clone(&self.address));
        Box::pin(async move {
            let answer: Result<_, BoxError> = if asked.verb == "watch" {
                answer.await.map_err(Into::into)
            } else {
                match tokio::time::timeout(PATIENCE, answer).await {
                    Ok(answer) => answer.map_err(Into::into),
                    Err(late) => Err(late.into()),
                }
            };
            let code = answer.as_ref().ok().map(Response::status);
            metrics.requested(asked.verb, asked.kind, outcome(code));
            answer.map_err(|source| unanswered(address, source))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    /// Who reads the log of an operator that reaches nobody has to know whom it tried.
    #[tokio::test]
    async fn a_request_without_an_answer_says_who_was_asked() {
        // Nobody listens where somebody did a moment ago.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let mut config = Config::new(address.parse().unwrap());
        config.default_retry = false;
        let client = client(config, Arc::new(Metrics::new().unwrap())).unwrap();
        let said = chain(&client.apiserver_version().await.unwrap_err());
        assert!(said.contains(&format!("the API server at {address} does not answer: ")), "{said}");
        assert!(said.contains("refused"), "{said}");
    }
}
