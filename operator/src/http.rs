//! The HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet.
//!
//! It answers from the moment that the address is bound. What a client may take, `connections` says.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::error;

use crate::health::Health;
use crate::metrics::Metrics;
use crate::progress::Progress;

mod connections;

/// The type of Prometheus's text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the pages are made from.
#[derive(Debug, Clone)]
pub struct Pages {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is worked on.
    pub progress: Arc<Progress>,
    /// Whether all is well.
    pub health: Arc<Health>,
}

/// Answers on `listener` for ever. Dropped, it drops every connection.
pub async fn serve(listener: TcpListener, pages: Pages) {
    connections::serve(listener, router(pages)).await;
}

/// Anything else is 404, and another method 405, without a body.
fn router(pages: Pages) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(pages)
}

async fn metrics(State(pages): State<Pages>) -> Response {
    match pages.metrics.page(&pages.progress) {
        Ok(page) => ([(header::CONTENT_TYPE, TEXT)], page).into_response(),
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "no page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn healthz(State(pages): State<Pages>) -> Response {
    answer("ok", pages.health.sickness())
}

async fn readyz(State(pages): State<Pages>) -> Response {
    answer("ready", pages.health.unready())
}

fn answer(well: &str, reason: Option<String>) -> Response {
    match reason {
        None => format!("{well}\n").into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;
    use crate::clock::Clock;

    /// A row is (method, path, code).
    #[tokio::test]
    async fn probes_and_scrapers_are_answered() {
        let progress = Arc::new(Progress::new(Clock::system()));
        let health = Arc::new(Health::new(Clock::system(), Arc::clone(&progress)));
        let metrics = Arc::new(Metrics::new().unwrap());
        let router = router(Pages { metrics, progress, health: Arc::clone(&health) });
        let ask = async |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap().status().as_u16()
        };
        let cases = [
            ("GET", "/metrics", 200),
            ("GET", "/healthz", 200),
            ("GET", "/readyz", 503),
            ("POST", "/metrics", 405),
            ("GET", "/", 404),
        ];
        for (method, path, code) in cases {
            assert_eq!(ask(method, path).await, code, "{path}");
        }
        health.served();
        assert_eq!(ask("GET", "/readyz").await, 200);
    }
}
