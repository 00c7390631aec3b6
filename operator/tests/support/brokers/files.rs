//! What a broker's process is started with, as its pod and the ConfigMaps say: arguments, mounted files, annotations.

use std::collections::BTreeMap;

use broker_config::broker::BrokerConfig;
use broker_config::raw::Properties;
use serde_json::Value;

use crate::support::fake::json::{items, text};
use crate::support::fake::store::{Key, Store};

/// What became of the look at a pod's files.
#[derive(Debug)]
pub(crate) enum Files {
    /// All that the process is started with.
    Settings(BTreeMap<String, String>),
    /// A volume's object, or a file that is waited for, is not there yet.
    Missing,
    /// The process ends at once, and says why.
    Refused(String),
}

/// Reads what the container `broker` of `pod` is started with.
pub(crate) fn read(store: &Store, pod: &Value) -> Files {
    let container = items(pod, "/spec/containers").iter().find(|one| one["name"] == "broker");
    let Some(container) = container else { return Files::Refused("no container broker".into()) };
    let expand = |text: &str| expand(pod, container, text);
    let arguments: Vec<String> =
        items(container, "/args").iter().filter_map(Value::as_str).map(expand).collect();
    let mut properties = Properties::default();
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Files::Refused(format!("an argument of {pair:?}")) };
        let added = match name.as_str() {
            "--config" | "--await-config" => match file(store, pod, container, value) {
                Some(text) if name == "--await-config" && text.trim().is_empty() => {
                    return Files::Missing;
                }
                Some(text) => Properties::parse(value, &text).map(|read| properties.extend(read)),
                None if name == "--await-config" => return Files::Missing,
                // Kubernetes starts no container whose volume's object is missing.
                None if !has_object(store, pod) => return Files::Missing,
                None => return Files::Refused(format!("there is no file {value}")),
            },
            "--set" => properties.set(value),
            _ => return Files::Refused(format!("an unknown argument {name}")),
        };
        if let Err(error) = added {
            return Files::Refused(error.to_string());
        }
    }
    match BrokerConfig::from_properties(&properties) {
        Ok(_) => Files::Settings(properties.to_map()),
        Err(errors) => {
            let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Files::Refused(words.join("; "))
        }
    }
}

/// Puts the values of variables in their places.
fn expand(pod: &Value, container: &Value, argument: &str) -> String {
    let variables = items(container, "/env").iter();
    variables.fold(argument.to_owned(), |argument, variable| {
        let path = text(variable, "/valueFrom/fieldRef/fieldPath");
        let value = match path {
            "" => text(variable, "/value").to_owned(),
            path => field(pod, path),
        };
        argument.replace(&format!("$({})", text(variable, "/name")), &value)
    })
}

/// A field of the pod by its path, such as `metadata.labels['a/b']`; empty where there is none.
fn field(pod: &Value, path: &str) -> String {
    let (map, key) = match path.split_once('[') {
        Some((map, key)) => (map, Some(key.trim_matches(['\'', ']', '"']))),
        None => (path, None),
    };
    let pointer = format!("/{}", map.replace('.', "/"));
    match key {
        Some(key) => pod.pointer(&pointer).map_or("", |map| map[key].as_str().unwrap_or_default()),
        None => text(pod, &pointer),
    }
    .to_owned()
}

/// The text of a file that is mounted at `path`.
fn file(store: &Store, pod: &Value, container: &Value, path: &str) -> Option<String> {
    let mounts = items(container, "/volumeMounts").iter();
    let inside = |mount: &&Value| path.starts_with(&format!("{}/", text(mount, "/mountPath")));
    let mount = mounts.filter(inside).max_by_key(|mount| text(mount, "/mountPath").len())?;
    let name = path.strip_prefix(text(mount, "/mountPath"))?.trim_start_matches('/');
    let mut volumes = items(pod, "/spec/volumes").iter();
    let volume = volumes.find(|volume| volume["name"] == mount["name"])?;
    let projected = items(volume, "/projected/sources").iter();
    std::iter::once(volume).chain(projected).find_map(|source| in_source(store, pod, source, name))
}

fn in_source(store: &Store, pod: &Value, source: &Value, file: &str) -> Option<String> {
    let mut fields = items(source, "/downwardAPI/items").iter();
    if let Some(item) = fields.find(|item| text(item, "/path") == file) {
        return Some(field(pod, text(item, "/fieldRef/fieldPath")));
    }
    let map = source.get("configMap")?;
    let chosen = items(map, "/items");
    let key = match chosen.iter().find(|item| text(item, "/path") == file) {
        Some(item) => text(item, "/key"),
        None if chosen.is_empty() => file,
        None => return None,
    };
    let data = config_map(store, pod, map)?.get("data")?;
    data[key].as_str().map(str::to_owned)
}

fn config_map<'a>(store: &'a Store, pod: &Value, map: &Value) -> Option<&'a Value> {
    let namespace = text(pod, "/metadata/namespace");
    store.get(&Key::new("configmaps", namespace, text(map, "/name")))
}

/// Whether every ConfigMap that the pod names is there.
fn has_object(store: &Store, pod: &Value) -> bool {
    let volumes = items(pod, "/spec/volumes").iter();
    let sources = volumes
        .flat_map(|volume| std::iter::once(volume).chain(items(volume, "/projected/sources")));
    let mut maps = sources.filter_map(|source| source.get("configMap"));
    maps.all(|map| config_map(store, pod, map).is_some())
}
