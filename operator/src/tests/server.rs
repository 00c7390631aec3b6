//! An API server of one function: from what is asked to the answer; and what was asked of it.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clock::{Clock, sleep_until};
use crate::lease::Leadership;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// All requests so far.
pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// Makes a client of a server that answers with a code and a body, or never.
pub(crate) fn server(
    answer: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> (Client, Log) {
    let (log, answer) = (Log::default(), Arc::new(answer));
    let written = Arc::clone(&log);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (log, answer) = (Arc::clone(&written), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let asked = Asked {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            log.lock().push(asked.clone());
            let Some((code, body)) = answer(&asked) else { return std::future::pending().await };
            let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            Response::builder().status(code).body(Body::from(text.into_bytes()))
        }
    });
    (Client::new(service, "default"), log)
}

/// What a server says that refuses.
pub(crate) fn status(code: u16) -> (u16, Value) {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no",
        "reason": reason,
    });
    (code, status)
}

/// Leadership of `term` for so many seconds.
pub(crate) fn leads(clock: Clock, term: u64, seconds: u64) -> watch::Sender<Option<Leadership>> {
    let until = clock.now() + Duration::from_secs(seconds);
    watch::Sender::new(Some(Leadership::new(term, "operator-0".to_owned(), until)))
}

/// Lets time pass on the paused clock: once nothing else can happen before.
pub(crate) async fn pass(time: Duration) {
    sleep_until(Clock::system().now() + time).await;
}
