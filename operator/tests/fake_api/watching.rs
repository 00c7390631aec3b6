//! Watches and lists: from a revision, by selectors, too old, with what there is first.

use std::pin::pin;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event};
use serde_json::json;

use super::objects::config_map;
use super::support::fake::Fake;

fn show(event: &WatchEvent<ConfigMap>) -> String {
    let name = |map: &ConfigMap| map.metadata.name.clone().unwrap_or_default();
    match event {
        WatchEvent::Added(map) => format!("added {}", name(map)),
        WatchEvent::Modified(map) => format!("modified {}", name(map)),
        WatchEvent::Deleted(map) => format!("deleted {}", name(map)),
        WatchEvent::Bookmark(_) => "bookmark".to_owned(),
        WatchEvent::Error(status) => format!("error {} {}", status.code, status.reason),
    }
}

/// Returns the first `count` events of a watch from `version` on.
async fn events(
    maps: &Api<ConfigMap>,
    params: &WatchParams,
    version: &str,
    count: usize,
) -> Vec<String> {
    let events = pin!(maps.watch(params, version).await.unwrap());
    let events: Vec<_> = events.take(count).try_collect().await.unwrap();
    events.iter().map(show).collect()
}

/// A watch tells what came after the list, each change once, in order.
#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_the_list_ended() {
    let fake = Fake::new();
    let maps: Api<ConfigMap> = Api::namespaced(fake.connect("a").client(), "default");
    fake.create(config_map("a", &json!({})));
    let listed = maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let version = listed.metadata.resource_version.unwrap();
    fake.create(config_map("b", &json!({})));
    fake.edit("configmaps", "default", "a", "/data/x", "1").unwrap();
    fake.delete("configmaps", "default", "a");
    let told = events(&maps, &WatchParams::default(), &version, 3).await;
    assert_eq!(told, ["added b", "modified a", "deleted a"]);
    let told = events(&maps, &WatchParams::default(), "0", 1).await;
    assert_eq!(told, ["added b"], "what there is");
}

/// An object that no longer matches is told as deleted, one that does again as added.
#[tokio::test(start_paused = true)]
async fn a_selector_turns_changes_into_coming_and_going() {
    let fake = Fake::new();
    let maps: Api<ConfigMap> = Api::namespaced(fake.connect("a").client(), "default");
    let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version;
    let mut map = config_map("a", &json!({}));
    map["metadata"]["labels"] = json!({ "in": "yes" });
    fake.create(map);
    fake.create(config_map("b", &json!({})));
    fake.edit("configmaps", "default", "a", "/metadata/labels/in", "no").unwrap();
    fake.edit("configmaps", "default", "a", "/metadata/labels/in", "maybe").unwrap();
    let params = WatchParams::default().labels("in in (yes,maybe)");
    let told = events(&maps, &params, &version.unwrap(), 3).await;
    assert_eq!(told, ["added a", "deleted a", "added a"]);
    let listed = maps.list(&ListParams::default().labels("!in")).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let listed = maps.list(&ListParams::default().fields("metadata.name=b")).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let refused = maps.list(&ListParams::default().fields("data.x=1")).await;
    assert_eq!(super::objects::code(refused), 400);
}

/// A revision that is forgotten is an event with 410, after which the watch is over.
#[tokio::test(start_paused = true)]
async fn a_revision_that_is_forgotten_is_gone() {
    let fake = Fake::new();
    let maps: Api<ConfigMap> = Api::namespaced(fake.connect("a").client(), "default");
    fake.create(config_map("a", &json!({})));
    let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version;
    fake.create(config_map("b", &json!({})));
    fake.compact();
    let told = events(&maps, &WatchParams::default(), &version.unwrap(), 2).await;
    assert_eq!(told, ["error 410 Expired"]);
}

/// With `sendInitialEvents` a bookmark marks the end of what there is; bookmarks come when asked for.
#[tokio::test(start_paused = true)]
async fn what_there_is_ends_with_a_bookmark() {
    let fake = Fake::new();
    let maps: Api<ConfigMap> = Api::namespaced(fake.connect("a").client(), "default");
    fake.create(config_map("a", &json!({})));
    let mut stream = pin!(maps.watch(&WatchParams::default().initial_events(), "").await.unwrap());
    let first: Vec<_> = stream.by_ref().take(2).try_collect().await.unwrap();
    assert_eq!(first.iter().map(show).collect::<Vec<_>>(), ["added a", "bookmark"]);
    fake.bookmark();
    assert_eq!(show(&stream.next().await.unwrap().unwrap()), "bookmark");
    assert_eq!(fake.watches(), 1);
    assert!(stream.next().await.is_none(), "it ends with its time");
}

/// The client's own watcher lists, watches, lives through 410 and through the end of its watch.
#[tokio::test(start_paused = true)]
async fn a_watcher_of_the_client_keeps_up() {
    let fake = Fake::new();
    let connection = fake.connect("a");
    let maps: Api<ConfigMap> = Api::namespaced(connection.client(), "default");
    fake.create(config_map("a", &json!({})));
    let mut events = pin!(watcher::watcher(maps, watcher::Config::default()));
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match events.next().await.unwrap() {
            Ok(Event::InitApply(map)) => {
                seen.push(format!("there is {}", map.metadata.name.unwrap()));
            }
            Ok(Event::InitDone) => {
                if seen.len() == 1 {
                    fake.create(config_map("b", &json!({})));
                }
            }
            Ok(Event::Apply(map)) => {
                seen.push(format!("applied {}", map.metadata.name.unwrap()));
                // Held back, then forgotten: the watcher must list again.
                connection.hold_watches(true);
                fake.delete("configmaps", "default", "a");
                fake.compact();
                connection.hold_watches(false);
            }
            Ok(Event::Init | Event::Delete(_)) => {}
            Err(watcher::Error::WatchError(status)) => seen.push(status.code.to_string()),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(seen, ["there is a", "applied b", "410", "there is b"]);
}
