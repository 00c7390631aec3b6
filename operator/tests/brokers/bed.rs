//! A cluster of brokers without an operator: the test makes sets and files, and asks.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_admin::v1::{CreateTopicRequest, Fence, ReplicaList};
use operator::admin::client::Broker;
use operator::cluster::build::config_map::config_map;
use operator::cluster::build::stateful_set::stateful_set;
use operator::cluster::validate::{Images, Surroundings, Valid, validate};
use operator::names::Names;
use serde_json::{Value, json};

use super::support::brokers::{Model, dial};
use super::support::fake::Fake;
use super::support::fake::clock::Clock;
use super::support::fake::connection::Connection;

/// The cluster `orders` in `default`.
pub(crate) struct Bed {
    pub(crate) fake: Fake,
    pub(crate) model: Model,
    pub(crate) line: Connection,
}

impl Bed {
    /// Starts so many brokers, and waits until they serve.
    pub(crate) async fn start(brokers: i32) -> Self {
        let fake = Fake::new();
        let model = Model::new(&fake, "default", "orders");
        let line = fake.connect("operator-0");
        let bed = Self { fake, model, line };
        bed.apply(brokers, "0.1.0", &[]);
        bed.pass(30).await;
        bed
    }

    /// Makes the files and the sets, or changes their templates; restarts nothing.
    pub(crate) fn apply(&self, brokers: i32, version: &str, config: &[(&str, &str)]) {
        apply(&self.fake, brokers, version, config);
    }

    /// Lets so many seconds pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::select! {
            () = self.fake.run() => {}
            () = Clock::pass(Duration::from_secs(seconds)) => {}
        }
    }

    /// A client of a broker.
    pub(crate) fn broker(&self, broker: i32) -> Broker {
        let address = format!("{}:9095", names().host(broker));
        Broker::new(dial(std::slice::from_ref(&self.model), &self.line)(&address).unwrap(), address)
    }

    /// Makes a topic, of whose partitions the replicas are these.
    pub(crate) async fn topic(&self, name: &str, replicas: &[&[i32]], settings: &[(&str, &str)]) {
        let replicas = replicas.iter().map(|brokers| ReplicaList { brokers: brokers.to_vec() });
        let request = CreateTopicRequest {
            fence: Some(fence(1)),
            name: name.to_owned(),
            topic_id: topic_id(name),
            assignment: replicas.collect(),
            configuration: pairs(settings).into_iter().collect(),
        };
        self.broker(0).create_topic(request).await.unwrap();
    }

    /// Who is in sync of each partition of a topic.
    pub(crate) fn in_sync(&self, topic: &str) -> Vec<Vec<i32>> {
        self.model.with(|state| {
            state.tree.topics[topic].partitions.iter().map(|one| one.isr.clone()).collect()
        })
    }

    /// What has happened that must never happen.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.model.with(|state| state.violations.clone())
    }
}

/// Makes the files and the sets of the cluster, or changes their templates.
pub(crate) fn apply(fake: &Fake, brokers: i32, version: &str, config: &[(&str, &str)]) {
    let valid = valid(brokers, version, config);
    for broker in 0..brokers {
        let map = serde_json::to_value(config_map(&valid, broker).unwrap()).unwrap();
        put(fake, "configmaps", "v1", "ConfigMap", map, "/data");
        let set = serde_json::to_value(stateful_set(&valid, broker).unwrap().unwrap()).unwrap();
        put(fake, "statefulsets", "apps/v1", "StatefulSet", set, "/spec/template");
    }
}

fn put(fake: &Fake, resource: &str, version: &str, kind: &str, mut object: Value, part: &str) {
    object["apiVersion"] = version.into();
    object["kind"] = kind.into();
    // The object that owns them is not there.
    object["metadata"].as_object_mut().unwrap().shift_remove("ownerReferences");
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    if fake.get(resource, "default", &name).is_none() {
        fake.create(object);
        return;
    }
    let changed = object.pointer(part).unwrap().clone();
    fake.edit(resource, "default", &name, part, changed).unwrap();
}

/// The names of the cluster.
pub(crate) fn names() -> Names {
    Names { cluster: "orders".to_owned(), namespace: "default".to_owned() }
}

/// An operator's word.
pub(crate) fn fence(term: u64) -> Fence {
    Fence { term, holder: "operator-0".to_owned() }
}

/// An id for a topic.
pub(crate) fn topic_id(name: &str) -> String {
    format!("{name:A<22}")
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn valid(brokers: i32, version: &str, config: &[(&str, &str)]) -> Valid {
    let spec = json!({
        "brokers": brokers, "version": version, "zookeeper": { "connect": "zookeeper:2181" },
        "config": pairs(config),
    });
    let images = Images { broker: "ottla/broker".to_owned(), zookeeper: "zookeeper".to_owned() };
    let spec = serde_json::from_value(spec).unwrap();
    validate(names(), "uid".to_owned(), spec, &images, &Surroundings::default()).unwrap()
}
