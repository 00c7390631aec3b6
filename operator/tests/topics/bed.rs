//! A cluster of brokers with its object, and an operator that looks after topics alone.

use std::sync::Arc;
use std::time::Duration;

use operator::admin::pool::Pool;
use operator::apply::Writer;
use operator::clock::Clock;
use operator::cluster::build::config_map::config_map;
use operator::cluster::build::stateful_set::stateful_set;
use operator::cluster::validate::{Images, Surroundings, validate};
use operator::event::Recorder;
use operator::health::Health;
use operator::lease::Leadership;
use operator::metrics::Metrics;
use operator::names::Names;
use operator::progress::Progress;
use operator::session::{self, Ground};
use operator::topic;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::support::brokers::state::State;
use super::support::brokers::{Model, dial};
use super::support::fake::Fake;
use super::support::fake::connection::Connection;

/// How long nothing moves once all is done.
const QUIET: Duration = Duration::from_secs(40);
/// Longer than any test.
const LEADS: Duration = Duration::from_hours(1_000);

/// The cluster `main` in `default`.
pub(crate) struct Bed {
    pub(crate) fake: Fake,
    pub(crate) model: Model,
    pub(crate) line: Connection,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) progress: Arc<Progress>,
    brokers: i32,
}

impl Bed {
    /// Runs a story beside the operator, on a cluster of so many brokers that serve.
    pub(crate) async fn run(brokers: i32, story: impl AsyncFnOnce(&Self)) {
        let bed = Self::new(brokers);
        bed.create(
            "Cluster",
            "main",
            &json!({ "brokers": brokers, "version": "0.1.0",
            "zookeeper": { "connect": "zookeeper:2181" } }),
        );
        bed.begin();
        let story = async {
            bed.rest().await;
            story(&bed).await;
        };
        tokio::select! {
            () = bed.fake.run() => {}
            () = bed.operator() => {}
            () = story => {}
        }
    }

    /// Makes what is there before anybody acts.
    pub(crate) fn new(brokers: i32) -> Self {
        let fake = Fake::new();
        for definition in operator::crd::all() {
            fake.create(serde_json::to_value(definition).unwrap());
        }
        let model = Model::new(&fake, "default", "main");
        let line = fake.connect("operator-0");
        let metrics = Arc::new(Metrics::new().unwrap());
        let progress = Arc::new(Progress::new(Clock::system()));
        Self { fake, model, line, metrics, progress, brokers }
    }

    /// Makes the brokers' pods.
    pub(crate) fn begin(&self) {
        let names = Names { cluster: "main".to_owned(), namespace: "default".to_owned() };
        let spec = json!({ "brokers": self.brokers, "version": "0.1.0",
            "zookeeper": { "connect": "zookeeper:2181" } });
        let images =
            Images { broker: "ottla/broker".to_owned(), zookeeper: "zookeeper".to_owned() };
        let spec = serde_json::from_value(spec).unwrap();
        let valid =
            validate(names, "uid".to_owned(), spec, &images, &Surroundings::default()).unwrap();
        let mut objects = Vec::new();
        for broker in 0..self.brokers {
            let config = serde_json::to_value(config_map(&valid, broker).unwrap()).unwrap();
            objects.push(("v1", "ConfigMap", config));
            let set = serde_json::to_value(stateful_set(&valid, broker).unwrap().unwrap()).unwrap();
            objects.push(("apps/v1", "StatefulSet", set));
        }
        for (version, kind, mut object) in objects {
            object["apiVersion"] = version.into();
            object["kind"] = kind.into();
            object["metadata"].as_object_mut().unwrap().shift_remove("ownerReferences");
            let _ = self.fake.try_create(object);
        }
    }

    /// Takes the brokers' pods away.
    pub(crate) async fn end(&self) {
        for broker in 0..self.brokers {
            self.model.excuse(broker);
            self.fake.delete("statefulsets", "default", &format!("main-{broker}"));
        }
        self.rest().await;
    }

    /// The operator, in a session that lasts.
    pub(crate) async fn operator(&self) {
        let client = self.line.client();
        let clock = Clock::system();
        let leadership = Leadership::new(7, "operator-0".to_owned(), clock.now() + LEADS);
        let leadership = watch::Sender::new(Some(leadership));
        let events = Recorder::new(client.clone(), "operator-0", clock);
        let ground = Ground {
            writer: Writer::new(client.clone(), Arc::clone(&self.metrics), events),
            client,
            home: None,
            namespaces: vec![None],
            workers: 8,
            leadership: leadership.subscribe(),
            clock,
            progress: Arc::clone(&self.progress),
            health: Arc::new(Health::new(clock, Arc::clone(&self.progress))),
            metrics: Arc::clone(&self.metrics),
        };
        let dial = dial(std::slice::from_ref(&self.model), &self.line);
        let pool = Pool::new(dial, clock);
        session::run(&ground, &[topic::controller(pool)], &CancellationToken::new()).await;
    }

    /// Returns once nothing moves.
    pub(crate) async fn rest(&self) {
        self.fake.rest(QUIET).await;
    }

    /// Creates an object as a user.
    pub(crate) fn create(&self, kind: &str, name: &str, spec: &Value) {
        self.fake.create(json!({
            "apiVersion": "ottla.dev/v1alpha1", "kind": kind,
            "metadata": { "name": name, "namespace": "default" },
            "spec": spec,
        }));
    }

    /// Creates a `Topic` of `main`, with a few fields besides, and waits until nothing moves.
    pub(crate) async fn topic(&self, name: &str, fields: Value) {
        let mut spec = json!({ "cluster": "main", "partitions": 4, "replicas": 2 });
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.create("Topic", name, &spec);
        self.rest().await;
    }

    /// Changes one field of a `Topic`'s spec, and waits until nothing moves.
    pub(crate) async fn set(&self, name: &str, field: &str, value: impl Into<Value>) {
        self.fake.edit("topics", "default", name, &format!("/spec/{field}"), value).unwrap();
        self.rest().await;
    }

    /// Deletes a `Topic`, and waits until nothing moves.
    pub(crate) async fn delete(&self, name: &str) {
        self.fake.delete("topics", "default", name);
        self.rest().await;
    }

    /// Returns what the status of a `Topic` says at a place; null where it, or the object, is not there.
    pub(crate) fn said(&self, name: &str, pointer: &str) -> Value {
        let object = self.fake.get("topics", "default", name).unwrap_or_default();
        object.pointer(&format!("/status{pointer}")).cloned().unwrap_or_default()
    }

    /// Returns the status, reason and message of a condition.
    pub(crate) fn condition(&self, name: &str, r#type: &str) -> [String; 3] {
        let all = self.said(name, "/conditions");
        let all = all.as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|one| one["type"] == r#type).unwrap_or_default();
        ["status", "reason", "message"]
            .map(|field| found[field].as_str().unwrap_or_default().to_owned())
    }

    /// Panics where a `Topic` is not said to be ready.
    pub(crate) fn assert_ready(&self, name: &str) {
        let [status, reason, message] = self.condition(name, "Ready");
        assert_eq!((&*status, &*reason), ("True", "Ready"), "{name}: {message}");
    }

    /// Panics where `Ready` does not say this of a `Topic`, for a reason whose message has these words.
    pub(crate) fn assert_said(&self, name: &str, expected: (&str, &str), words: &str) {
        let [status, reason, message] = self.condition(name, "Ready");
        assert_eq!((&*status, &*reason), expected, "{name}: {message}");
        assert!(message.contains(words), "{name}: {message}");
    }

    /// Returns the notes of all events of a reason.
    pub(crate) fn events(&self, reason: &str) -> Vec<String> {
        let events = self.fake.list("events.events.k8s.io", "");
        let events = events.into_iter().filter(|event| event["reason"] == reason);
        events.map(|event| event["note"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Asks the model.
    pub(crate) fn state<R>(&self, ask: impl FnOnce(&mut State) -> R) -> R {
        self.model.with(ask)
    }

    /// Returns the replicas of each partition of a topic; `None` where there is no such topic.
    pub(crate) fn replicas(&self, topic: &str) -> Option<Vec<Vec<i32>>> {
        self.state(|state| {
            let topic = state.tree.topics.get(topic)?;
            Some(topic.partitions.iter().map(|one| one.replicas.clone()).collect())
        })
    }

    /// Returns a setting of a topic.
    pub(crate) fn setting(&self, topic: &str, name: &str) -> Option<String> {
        self.state(|state| state.tree.topics[topic].settings.get(name).cloned())
    }

    /// Returns what a metric counts, over all its labels.
    pub(crate) fn counted(&self, metric: &str) -> f64 {
        let page = String::from_utf8(self.metrics.page(&self.progress).unwrap()).unwrap();
        let lines = page.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Lets time pass on the paused clock.
pub(crate) async fn pass(time: Duration) {
    super::support::fake::clock::Clock::pass(time).await;
}
