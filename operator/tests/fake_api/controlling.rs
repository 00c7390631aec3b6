//! A controller of the client's own runtime against the server: it watches, places a finalizer, applies, cleans up; and
//! does so wherever it is killed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::objects::config_map;
use super::support::fake::Fake;
use super::support::fake::connection::Connection;
use super::support::fake::exhaustive::{Scenario, kill_at_every_call};

const FINALIZER: &str = "example.dev/secret";

/// Keeps a secret for each map, of the same name and not owned by it, and takes it away before the map goes.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let client = Client::clone(&client);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    let done = finalizer(&maps, FINALIZER, map, async |event| {
        match event {
            Event::Apply(map) => {
                let secret = json!({
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": { "name": map.name_any() },
                    "stringData": { "of": map.name_any() },
                });
                let who = PatchParams::apply("controller").force();
                secrets.patch(&map.name_any(), &who, &Patch::Apply(&secret)).await?;
            }
            Event::Cleanup(map) => {
                match secrets.delete(&map.name_any(), &DeleteParams::default()).await {
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Action::await_change())
    });
    Ok(done.await.unwrap_or_else(|_| Action::requeue(Duration::from_secs(1))))
}

async fn control(connection: Connection) {
    let client = connection.client();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let again = |_: Arc<ConfigMap>, _: &kube::Error, _: Arc<Client>| {
        Action::requeue(Duration::from_secs(1))
    };
    Controller::new(maps, watcher::Config::default())
        .owns(secrets, watcher::Config::default())
        .run(reconcile, again, Arc::new(client))
        .for_each(async |_| {})
        .await;
}

fn scenario(
    user: impl AsyncFn(Fake),
) -> Scenario<impl Fn() -> Fake, impl AsyncFn(Connection), impl AsyncFn(Fake)> {
    let quiet = Duration::from_mins(2);
    Scenario {
        world: Fake::new,
        operator: control,
        user,
        before: Duration::ZERO,
        quiet,
        ignored: &[],
    }
}

/// Killed anywhere while two objects are made and one of them is deleted, it ends with one secret.
#[test]
fn a_controller_killed_at_any_call_ends_where_it_should() {
    let scenario = scenario(async |fake| {
        fake.create(config_map("a", &json!({})));
        fake.create(config_map("b", &json!({})));
        fake.rest(Duration::from_secs(10)).await;
        fake.delete("configmaps", "default", "a");
    });
    let calls = kill_at_every_call(|disturbance| {
        let end = scenario.run(disturbance);
        let names = |resource: &str| -> Vec<String> {
            let objects = end.fake.list(resource, "default");
            let name = |object: &serde_json::Value| object["metadata"]["name"].to_string();
            objects.iter().map(name).collect()
        };
        assert_eq!(names("configmaps"), [r#""b""#]);
        assert_eq!(names("secrets"), [r#""b""#]);
        end
    });
    assert!(calls > 8, "lists, watches and writes: {calls}");
}

/// Once all is as it should be, hours pass without a write; watches end and begin again.
#[test]
fn a_controller_at_rest_writes_nothing() {
    let scenario = scenario(async |fake| {
        fake.create(config_map("a", &json!({})));
        fake.rest(Duration::from_secs(10)).await;
        fake.forget_calls();
        tokio::time::advance(Duration::from_hours(1)).await;
    });
    let end = scenario.run(None);
    assert!(end.fake.writes().is_empty(), "{:?}", end.fake.writes());
    assert!(!end.fake.calls().is_empty(), "watches end with their time");
}
