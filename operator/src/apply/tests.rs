//! What is sent, and what is not.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use tokio::sync::watch;

use super::*;
use crate::clock::Clock;
use crate::crd::topic::Topic;
use crate::lease::Leadership;
use crate::tests::server::{Asked, Log, leads, server, status};

/// One controller, its server and its leadership.
struct Bed {
    writer: Writer,
    metrics: Arc<Metrics>,
    log: Log,
    clock: Clock,
    leadership: watch::Sender<Option<Leadership>>,
}

impl Bed {
    fn new(answer: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static) -> Self {
        let (client, log) = server(answer);
        let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new().unwrap()));
        let events = Recorder::new(client.clone(), "operator-0", clock);
        let writer = Writer::new(client, Arc::clone(&metrics), events);
        Self { writer, metrics, log, clock, leadership: leads(clock, 3, 10) }
    }

    fn pass(&self, converged: Option<Mark>) -> Pass {
        let fence = Fence::present(&self.leadership.subscribe(), self.clock).unwrap();
        let about = ObjectReference { namespace: Some("shop".to_owned()), ..Default::default() };
        Pass::new(self.writer.clone(), Kind::Topic, (about, 4), fence, converged)
    }

    fn counted(&self, line: &str) -> bool {
        let progress = crate::progress::Progress::new(self.clock);
        let page = String::from_utf8(self.metrics.page(&progress).unwrap()).unwrap();
        page.lines().any(|there| there == format!("ottla_operator_{line}"))
    }
}

fn map(value: &str) -> ConfigMap {
    let data = [("key".to_owned(), value.to_owned())].into();
    let metadata = ObjectMeta {
        name: Some("settings".to_owned()),
        namespace: Some("shop".to_owned()),
        uid: Some("7".to_owned()),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

/// `object` as it is after `fields` of it were applied by the controller of topics.
fn applied<K: Serialize + DeserializeOwned>(object: &K, subresource: &str, fields: &Value) -> K {
    let mut there = serde_json::to_value(object).unwrap();
    let mut entry = json!({
        "manager": "ottla-operator/topic", "operation": "Apply", "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    });
    if !subresource.is_empty() {
        entry["subresource"] = json!(subresource);
    }
    there["metadata"]["managedFields"] = json!([entry]);
    serde_json::from_value(there).unwrap()
}

/// What is so already is not sent; what differs is applied, by the controller's own field manager.
#[tokio::test]
async fn only_a_difference_is_sent() {
    let bed = Bed::new(|asked| Some((200, asked.body.clone())));
    let pass = bed.pass(None);
    let live = applied(&map("1"), "", &json!({ "f:data": { "f:key": {} } }));
    assert_eq!(pass.apply(&map("1"), Some(&live)).await.unwrap(), Applied::Unchanged);
    assert!(bed.log.lock().is_empty());
    let written = pass.apply(&map("2"), Some(&live)).await.unwrap();
    assert!(matches!(written, Applied::Written(map) if map.data.as_ref().unwrap()["key"] == "2"));
    let log = bed.log.lock();
    let [asked] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!(
        (&*asked.method, &*asked.path),
        ("PATCH", "/api/v1/namespaces/shop/configmaps/settings")
    );
    assert!(asked.query.contains("force=true"), "{}", asked.query);
    assert!(asked.query.contains("fieldManager=ottla-operator%2Ftopic"), "{}", asked.query);
    assert!(bed.counted("writes_total{kind=\"ConfigMap\"} 1"));
    assert!(bed.counted("writes_while_converged_total{kind=\"Topic\"} 0"));
}

/// A write for an object that was as it should be, and of which nothing is known to have changed, is one too many.
#[tokio::test]
async fn a_write_without_a_cause_is_counted() {
    let bed = Bed::new(|asked| Some((200, asked.body.clone())));
    let first = bed.pass(None);
    first.observed(11);
    let mark = first.mark();
    let changed = bed.pass(Some(mark));
    changed.observed(12);
    changed.apply(&map("1"), None).await.unwrap();
    assert!(bed.counted("writes_while_converged_total{kind=\"Topic\"} 0"));
    let same = bed.pass(Some(mark));
    same.observed(11);
    same.apply(&map("1"), None).await.unwrap();
    assert!(bed.counted("writes_while_converged_total{kind=\"Topic\"} 1"));
}

/// Nothing is sent in another term, or when the time is over, and what is under way is dropped.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_without_leadership() {
    let bed = Bed::new(|_| None);
    let pass = bed.pass(None);
    let begun = bed.clock.now();
    let lost = pass.apply(&map("1"), None).await;
    assert!(matches!(lost, Err(Error::Deposed(Deposed { term: 3 }))), "{lost:?}");
    assert_eq!(bed.clock.now().duration_since(begun), Duration::from_secs(10));
    assert_eq!(bed.log.lock().len(), 1);

    bed.leadership.send_replace(leads(bed.clock, 4, 10).borrow().clone());
    assert!(matches!(pass.apply(&map("1"), None).await, Err(Error::Deposed(_))));
    assert!(matches!(pass.delete(&map("1")).await, Err(Error::Deposed(_))));
    assert_eq!(bed.log.lock().len(), 1);
}

/// Another object of the same name is never deleted, one that is gone or going is left alone.
#[tokio::test]
async fn only_the_object_that_was_meant_is_deleted() {
    let bed = Bed::new(|_| Some((200, json!({ "metadata": {} }))));
    assert!(bed.pass(None).delete(&map("1")).await.unwrap());
    assert_eq!(bed.log.lock()[0].body["preconditions"], json!({ "uid": "7" }));
    let mut going = map("1");
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(bed.clock.wall()));
    assert!(!bed.pass(None).delete(&going).await.unwrap());
    assert_eq!(bed.log.lock().len(), 1);
    let gone = Bed::new(|_| Some(status(404)));
    assert!(!gone.pass(None).delete(&map("1")).await.unwrap());
    let another = Bed::new(|_| Some(status(409)));
    let error = another.pass(None).delete(&map("1")).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

fn topic() -> Topic {
    let topic = json!({
        "apiVersion": "ottla.dev/v1alpha1", "kind": "Topic",
        "metadata": { "name": "orders", "namespace": "shop", "uid": "9", "generation": 4 },
        "spec": { "cluster": "main", "replicas": 1 },
        "status": { "observedGeneration": 4, "conditions": [], "topicName": "orders" },
    });
    serde_json::from_value(topic).unwrap()
}

/// A status that says the same is not sent; another one goes to the object that was meant, and to nothing but the status.
#[tokio::test]
async fn a_status_is_written_when_it_says_something_new() {
    let bed = Bed::new(|asked| {
        let mut topic = serde_json::to_value(topic()).unwrap();
        topic["status"] = asked.body["status"].clone();
        Some((200, topic))
    });
    let fields = json!({ "f:status": {
        "f:conditions": {}, "f:observedGeneration": {}, "f:topicName": {} } });
    let live = applied(&topic(), "status", &fields);
    let status = live.status.clone().unwrap();
    let pass = bed.pass(None);
    assert_eq!(pass.status(&live, &status).await.unwrap(), Applied::Unchanged);
    let mut other = status.clone();
    other.partitions = Some(3);
    assert!(matches!(pass.status(&live, &other).await.unwrap(), Applied::Written(_)));
    let log = bed.log.lock();
    let [asked] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!(asked.path, "/apis/ottla.dev/v1alpha1/namespaces/shop/topics/orders/status");
    let keys: Vec<&String> = asked.body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["apiVersion", "kind", "metadata", "status"]);
    assert_eq!(asked.body["metadata"]["uid"], json!("9"));
}

/// The finalizer is put there once, and taken away by wanting none.
#[tokio::test]
async fn a_finalizer_comes_and_goes() {
    let bed = Bed::new(|_| Some((200, serde_json::to_value(topic()).unwrap())));
    let pass = bed.pass(None);
    pass.finalizers(&topic(), &["ottla.dev/topic"]).await.unwrap();
    let mut there = topic();
    there.metadata.finalizers = Some(vec!["ottla.dev/topic".to_owned()]);
    let fields =
        json!({ "f:metadata": { "f:finalizers": { ".": {}, "v:\"ottla.dev/topic\"": {} } } });
    let there = applied(&there, "", &fields);
    let again = pass.finalizers(&there, &["ottla.dev/topic"]).await.unwrap();
    assert_eq!(again, Applied::Unchanged);
    assert!(matches!(pass.finalizers(&there, &[]).await.unwrap(), Applied::Written(_)));
    let sent: Vec<Value> =
        bed.log.lock().iter().map(|asked| asked.body["metadata"]["finalizers"].clone()).collect();
    assert_eq!(sent, [json!(["ottla.dev/topic"]), json!([])]);
}
