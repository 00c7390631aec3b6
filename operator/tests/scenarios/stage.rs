//! What scenarios stand on: a cluster of Kubernetes with the operator's definitions, and the brokers `orders`.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use operator::admin::pool::Pool;
use operator::cluster::{self, validate::Images};
use operator::metrics::Metrics;
use operator::session::Plug;
use operator::{crd, topic};
use serde_json::{Value, json};

use super::support::brokers::Model;
use super::support::brokers::state::{Asked, State};
use super::support::fake::Fake;
use super::support::fake::clock::Clock;
use super::support::fake::connection::Connection;
use super::support::fake::moment::Moment;
use super::support::operator::operate;

/// Where runs begin.
pub(crate) struct Start {
    moment: Moment,
    brokers: State,
}

/// One run after the other on the same stage, each with its own brokers.
pub(crate) struct Stage {
    model: RefCell<Option<Model>>,
    metrics: RefCell<Arc<Metrics>>,
    plugs: fn(Arc<Pool>) -> Vec<Plug>,
}

impl Stage {
    /// A stage for these controllers.
    pub(crate) fn new(plugs: fn(Arc<Pool>) -> Vec<Plug>) -> Self {
        Self { model: RefCell::default(), metrics: RefCell::new(metrics()), plugs }
    }

    /// Begins a run.
    pub(crate) fn world(&self) -> Fake {
        let fake = Fake::new();
        for definition in crd::all() {
            fake.create(serde_json::to_value(definition).unwrap());
        }
        *self.model.borrow_mut() = Some(Model::new(&fake, "default", "orders"));
        *self.metrics.borrow_mut() = metrics();
        fake
    }

    /// Returns what keeps all that there is, for other stages to begin there.
    pub(crate) fn keeper(&self) -> Box<dyn Fn(&Fake) -> Start + Send> {
        let model = self.model();
        Box::new(move |fake| {
            let brokers = model.with(|state| state.apart());
            Start { moment: fake.moment(), brokers }
        })
    }

    /// Begins a run where another one was.
    pub(crate) fn resume(&self, start: &Start) -> Fake {
        let fake = Fake::at(&start.moment);
        *self.model.borrow_mut() = Some(Model::at(&fake, start.brokers.apart()));
        *self.metrics.borrow_mut() = metrics();
        fake
    }

    /// The brokers of the present run.
    pub(crate) fn model(&self) -> Model {
        self.model.borrow().clone().unwrap()
    }

    /// What the operators of the present run have counted.
    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics.borrow())
    }

    /// An operator: the second one leads in a later term.
    pub(crate) async fn operate(&self, connection: Connection) {
        let term = if connection.ends().0 == "second" { 2 } else { 1 };
        let (model, metrics) = (self.model(), self.metrics());
        operate(&connection, &[model], term, &metrics, self.plugs).await;
    }

    /// How often a call was asked for that changed something, or a call at all.
    pub(crate) fn count(&self, call: &str, is_meant: impl Fn(&Asked) -> bool) -> usize {
        let asked = self.model().asked();
        asked.iter().filter(|one| one.call == call && is_meant(one)).count()
    }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

/// All that an operator runs.
pub(crate) fn controllers(pool: Arc<Pool>) -> Vec<Plug> {
    let images = Images { broker: "ottla".to_owned(), zookeeper: "zookeeper:3.9".to_owned() };
    vec![cluster::controller(Arc::clone(&pool), images), topic::controller(pool)]
}

/// Lets so many seconds pass.
pub(crate) async fn pass(seconds: u64) {
    Clock::pass(Duration::from_secs(seconds)).await;
}

/// The `Cluster` `orders`.
#[allow(clippy::needless_pass_by_value, reason = "it is written where it is used")]
pub(crate) fn cluster(spec: Value) -> Value {
    let mut all = json!({
        "brokers": 3, "version": "0.1.0", "zookeeper": { "connect": "zookeeper:2181" },
    });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object("Cluster", "orders", &all)
}

/// A `Topic` of it.
#[allow(clippy::needless_pass_by_value, reason = "it is written where it is used")]
pub(crate) fn topic(name: &str, spec: Value) -> Value {
    let mut all = json!({ "cluster": "orders", "partitions": 2, "replicas": 3 });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object("Topic", name, &all)
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "ottla.dev/v1alpha1", "kind": kind,
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    })
}

/// The status of a condition of an object.
pub(crate) fn condition(fake: &Fake, resource: &str, name: &str, condition: &str) -> String {
    let object = fake.get(resource, "default", name).unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let said = conditions.iter().find(|said| said["type"] == condition);
    said.map_or(String::new(), |said| said["status"].as_str().unwrap().to_owned())
}
