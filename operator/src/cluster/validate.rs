//! A spec that can be built, or why it cannot. Pure.
//!
//! What one object alone can know the API server has refused already (`crd/cluster`). Here: what follows from the spec,
//! and what the table of settings says of it before a broker can be asked.

use std::collections::BTreeMap;

use broker_config::broker::BrokerConfig;
use broker_config::error::ConfigError;
use broker_config::key;
use broker_config::raw::Properties;

use super::dynamic;
use super::settings::{Common, Outside, Settings, broker_file, file, sort};
use crate::admin::schema::Schema;
use crate::crd::cluster::ClusterSpec;
use crate::crd::cluster::listener::Listener;
use crate::crd::cluster::status::Image;
use crate::names::{Names, broker_ids, listeners};

/// Where the volumes of a broker are mounted.
const MOUNTS: &str = "/var/lib/ottla";

/// Which images there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// The brokers', without a tag: that is the release.
    pub broker: String,
    /// ZooKeeper's.
    pub zookeeper: String,
}

/// A spec that can be built.
#[derive(Debug, Clone, PartialEq)]
pub struct Valid {
    /// What things are called.
    pub names: Names,
    /// The uid of the object, which owns all that is made for it.
    pub uid: String,
    /// What was asked for.
    pub spec: ClusterSpec,
    /// The brokers that are to be, and those that are not gone yet.
    pub broker_ids: Vec<i32>,
    /// What they run.
    pub image: Image,
    /// What the ensemble runs, if it is managed.
    pub zookeeper_image: String,
    /// Where clients find them.
    pub listeners: Vec<Listener>,
    /// Settings that need no restart.
    pub dynamic: Settings,
    /// What brokers speak among themselves; none where that is what their release speaks.
    pub protocol_version: Option<String>,
    /// The file of all brokers.
    pub file: String,
    /// The same without what brokers speak among themselves: who speaks that already needs no restart for it.
    pub lasting_file: String,
    /// The file of each broker; none of one that does not know yet where it is found.
    pub broker_files: BTreeMap<i32, Option<String>>,
    /// The namespace of the operator's pod, where that is known.
    pub home: Option<String>,
}

/// What a spec is looked at with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// What brokers say of their settings.
    pub schema: Schema,
    /// Where each broker is found at each listener that is found from outside.
    pub outside: BTreeMap<i32, BTreeMap<String, Outside>>,
    /// The image that was chosen last, and the release that it was chosen for.
    pub image: Option<Image>,
    /// What brokers are to speak among themselves, where that was chosen.
    pub protocol_version: Option<String>,
    /// Brokers that are to be built (`members::present`); none of them for those that the spec says.
    pub present: Vec<i32>,
    /// The namespace of the operator's pod, where that is known.
    pub home: Option<String>,
}

/// Makes of a spec what can be built.
///
/// # Errors
/// What is wrong with it, each with what to do.
pub fn validate(
    names: Names,
    uid: String,
    spec: ClusterSpec,
    images: &Images,
    surroundings: &Surroundings,
) -> Result<Valid, Vec<String>> {
    let listeners = listeners(&spec.listeners);
    let dynamic = sort(&spec.config, &surroundings.schema);
    let connect = zookeeper_connect(&names, &spec);
    let log_dirs: Vec<String> = spec.storage.volumes.iter().map(|one| mount(&one.name)).collect();
    let protocol_version = surroundings.protocol_version.clone();
    let protocol_version = protocol_version.or_else(|| spec.protocol_version.clone());
    let common = |protocol_version| Common {
        listeners: &listeners,
        zookeeper_connect: connect.as_deref(),
        log_dirs: &log_dirs,
        protocol_version,
    };
    let (lasting_file, file) = (
        file(&common(None), &dynamic.file),
        file(&common(protocol_version.as_deref()), &dynamic.file),
    );
    let broker_ids = match &surroundings.present[..] {
        [] => broker_ids(spec.brokers, &spec.removed),
        present => present.to_vec(),
    };
    let nowhere = BTreeMap::new();
    let own = |id: &i32| {
        let outside = surroundings.outside.get(id).unwrap_or(&nowhere);
        (*id, broker_file(&names, *id, &listeners, outside))
    };
    let broker_files: BTreeMap<_, _> = broker_ids.iter().map(own).collect();
    let image = image(&spec, images, surroundings.image.as_ref());
    // Who runs something else soon may know other settings then.
    let runs_on = surroundings.image.as_ref() == Some(&image);
    check(&spec, &file, &example(&names, &listeners), &surroundings.schema, runs_on)?;
    let managed = spec.zookeeper.as_ref().and_then(|zookeeper| zookeeper.managed.as_ref());
    let zookeeper_image = managed.and_then(|managed| managed.image.clone());
    let zookeeper_image = zookeeper_image.unwrap_or_else(|| images.zookeeper.clone());
    Ok(Valid {
        names,
        uid,
        spec,
        broker_ids,
        image,
        zookeeper_image,
        listeners,
        dynamic,
        protocol_version,
        file,
        lasting_file,
        broker_files,
        home: surroundings.home.clone(),
    })
}

/// Where a volume is mounted.
pub fn mount(volume: &str) -> String {
    format!("{MOUNTS}/{volume}")
}

fn zookeeper_connect(names: &Names, spec: &ClusterSpec) -> Option<String> {
    let zookeeper = spec.zookeeper.as_ref()?;
    let managed = || zookeeper.managed.as_ref().map(|one| names.zookeeper_connect(one.replicas));
    zookeeper.connect.clone().or_else(managed)
}

/// The image that was chosen last stays for as long as the spec says what it said then: another operator, which would
/// choose another, restarts nobody.
fn image(spec: &ClusterSpec, images: &Images, before: Option<&Image>) -> Image {
    let of_version = spec.version.clone().unwrap_or_default();
    if let Some(image) = &spec.image {
        return Image { name: image.clone(), of_version: String::new() };
    }
    match before {
        Some(before) if before.of_version == of_version => before.clone(),
        Some(_) | None => Image { name: format!("{}:{of_version}", images.broker), of_version },
    }
}

/// The file of a broker that is found everywhere, whichever it is.
fn example(names: &Names, listeners: &[Listener]) -> String {
    let found = |one: &Listener| {
        (one.name.clone(), Outside { host: Some("broker".to_owned()), port: one.port })
    };
    let outside = listeners.iter().map(found).collect();
    broker_file(names, 0, listeners, &outside).unwrap_or_default()
}

/// The field of the spec that a setting is made of which `config` cannot have.
fn field(key: &str) -> Option<&'static str> {
    match key {
        "inter.broker.protocol.version" => Some("spec.protocolVersion"),
        "zookeeper.connect" => Some("spec.zookeeper.connect"),
        "log.dirs" => Some("spec.storage"),
        "listeners" | "advertised.listeners" => Some("spec.listeners"),
        _ => None,
    }
}

/// Reads the settings as a broker of this operator's release does, but for those that only the brokers know: a release
/// that this operator does not know may know more. Of one that only this operator knows, brokers that run on as they are
/// would say the same.
fn check(
    spec: &ClusterSpec,
    common: &str,
    own: &str,
    schema: &Schema,
    runs_on: bool,
) -> Result<(), Vec<String>> {
    let is_theirs = |name: &str| key::broker(name).is_err() && schema.has(name);
    let parse = |text| Properties::parse("spec", text).map_err(|error| vec![error]);
    let read = || {
        let mut properties = Properties::default();
        let mut given = parse(common)?;
        given.extend(parse(own)?);
        let given = given.to_map();
        for (name, value) in given.iter().chain(&spec.config) {
            // What is dynamic is not in the file.
            if properties.get(name).is_none() && !is_theirs(name) {
                properties.set(&format!("{name}={value}")).map_err(|error| vec![error])?;
            }
        }
        BrokerConfig::from_properties(&properties)
    };
    let words = |error: ConfigError| {
        let keys: Vec<&str> = error.keys().collect();
        let is_theirs = keys.iter().any(|key| spec.config.contains_key(*key));
        let derived = keys.iter().find_map(|key| field(key)).filter(|_| !is_theirs);
        format!("{}: {}", derived.unwrap_or("spec.config"), error.clone().nowhere())
    };
    let mut wrong: Vec<String> = read().err().into_iter().flatten().map(words).collect();
    if spec.rebalance.throttle().is_none() {
        wrong.push("spec.rebalance.throttle: it is at least 1 byte and at most 1Pi".to_owned());
    }
    for name in spec.config.keys() {
        if dynamic::THROTTLES.contains(&name.as_str()) {
            wrong.push(format!(
                "spec.config: {name} is set while replicas move: see spec.rebalance.throttle"
            ));
        } else if runs_on && schema.lacks(name) {
            wrong.push(format!(
                "spec.config: the brokers' release does not know {name}: upgrade them first"
            ));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}
