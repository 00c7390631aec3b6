//! Waits until the API server serves the custom resources: discovery says so, which everybody may ask.

use std::time::Duration;

use kube::Client;
use tracing::{info, warn};

use crate::crd;
use crate::error::chain;

/// How often it is asked.
const PAUSE: Duration = Duration::from_secs(5);

/// Waits until every custom resource is served. Cancel-safe.
pub async fn wait(client: &Client) {
    let mut told = false;
    loop {
        let missing = match missing(client).await {
            Ok(missing) if missing.is_empty() => {
                if told {
                    info!("the custom resource definitions are there");
                }
                return;
            }
            Ok(missing) => missing.join(", "),
            Err(error) => chain(&error),
        };
        if !std::mem::replace(&mut told, true) {
            warn!(
                missing,
                "the custom resource definitions are waited for: apply the files of crds/, or see why \
                 the API server cannot be asked"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the definitions whose resources are not served.
async fn missing(client: &Client) -> Result<Vec<String>, kube::Error> {
    let mut missing = Vec::new();
    for definition in crd::all() {
        let spec = definition.spec;
        let mut is_served = false;
        for version in spec.versions {
            let group = format!("{}/{}", spec.group, version.name);
            let served = match client.list_api_group_resources(&group).await {
                Ok(served) => served.resources,
                Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
                Err(error) => return Err(error),
            };
            is_served |= served.iter().any(|resource| resource.name == spec.names.plural);
        }
        if !is_served {
            missing.push(definition.metadata.name.unwrap_or_default());
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hyper::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// What is missing at first is asked for again, until it is there.
    #[tokio::test(start_paused = true)]
    async fn definitions_that_come_later_are_waited_for() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let server = tower::service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri().path(), "/apis/ottla.dev/v1alpha1");
            let count = counter.fetch_add(1, Ordering::Relaxed);
            assert!(count < 100, "it is asked for ever");
            let served: &[&str] = if count < 3 { &["topics"] } else { &["clusters", "topics"] };
            let resource = |name| {
                json!({ "name": name, "singularName": "", "namespaced": true, "kind": "X",
                    "verbs": [] })
            };
            let list = json!({
                "groupVersion": "ottla.dev/v1alpha1",
                "resources": served.iter().map(resource).collect::<Vec<_>>(),
            });
            let (code, body) = match count {
                0 => (404, json!({ "code": 404, "message": "page not found" })),
                1 => (500, json!({ "code": 500, "message": "not yet" })),
                _ => (200, list),
            };
            let body = Body::from(body.to_string().into_bytes());
            async move { Response::builder().status(code).body(body) }
        });
        wait(&Client::new(server, "default")).await;
        // Of each definition once: the first look ends at the error, two more go through.
        assert_eq!(asked.load(Ordering::Relaxed), 6);
    }
}
