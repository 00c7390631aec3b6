//! Whole sessions against a server with a few topics.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::apply::Writer;
use crate::clock::Clock;
use crate::crd::topic::Topic;
use crate::event::Recorder;
use crate::health::Health;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::session::{self, Ground};
use crate::tests::server::{Asked, Log, leads, pass, server};

struct Bed {
    ground: Ground,
    log: Log,
    leadership: watch::Sender<Option<Leadership>>,
    stop: CancellationToken,
}

impl Bed {
    fn new(answer: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static) -> Self {
        let (client, log) = server(answer);
        let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new().unwrap()));
        let progress = Arc::new(Progress::new(clock));
        let events = Recorder::new(client.clone(), "operator-0", clock);
        let leadership = leads(clock, 3, 10_000);
        let ground = Ground {
            writer: Writer::new(client.clone(), Arc::clone(&metrics), events),
            client,
            home: None,
            namespaces: vec![None],
            workers: 2,
            leadership: leadership.subscribe(),
            clock,
            health: Arc::new(Health::new(clock, Arc::clone(&progress))),
            progress,
            metrics,
        };
        Self { ground, log, leadership, stop: CancellationToken::new() }
    }

    /// Runs `reconcile` for topics until `story` is over, then to the end of all looks.
    async fn run(&self, reconcile: Reconcile<Topic>, story: impl Future<Output = ()>) {
        let controllers = [plug(Kind::Topic, reconcile, None)];
        let story = async {
            story.await;
            self.stop.cancel();
        };
        tokio::join!(session::run(&self.ground, &controllers, &self.stop), story);
    }

    fn page(&self) -> String {
        String::from_utf8(self.ground.metrics.page(&self.ground.progress).unwrap()).unwrap()
    }
}

fn topic(name: &str, generation: i64) -> Value {
    json!({
        "apiVersion": "ottla.dev/v1alpha1", "kind": "Topic",
        "metadata": { "name": name, "namespace": "shop", "uid": name, "generation": generation,
            "resourceVersion": generation.to_string() },
        "spec": { "cluster": "main", "replicas": 1 },
    })
}

/// Lists `topics`; a watch is never answered, and events are taken.
fn with(topics: Vec<Value>) -> impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static {
    move |asked| match &*asked.method {
        "GET" if asked.query.contains("watch=true") => None,
        "GET" => {
            let list = json!({
                "apiVersion": "ottla.dev/v1alpha1", "kind": "TopicList",
                "metadata": { "resourceVersion": "1" }, "items": topics,
            });
            Some((200, list))
        }
        _ => Some((201, asked.body.clone())),
    }
}

/// Every look, by the name of its object.
type Looks = Arc<Mutex<Vec<(String, u64)>>>;

fn reconcile(
    looks: &Looks,
    clock: Clock,
    ended: impl Fn(&str) -> Result<Done, Error> + Send + Sync + 'static,
) -> Reconcile<Topic> {
    let (looks, begun) = (Arc::clone(looks), clock.now());
    Arc::new(move |topic: Arc<Topic>, _| {
        let name = topic.name_any();
        let at = clock.now().duration_since(begun).as_secs();
        let result = ended(&name);
        looks.lock().push((name, at));
        Box::pin(std::future::ready(result))
    })
}

const CONVERGED: Done = Done { is_converged: true, again: None };

/// A topic that cannot be read is told of; one that fails is left alone for longer and longer; the others are well.
#[tokio::test(start_paused = true)]
async fn one_bad_object_hurts_no_other() {
    let mut unreadable = topic("unreadable", 1);
    unreadable["spec"] = json!({ "cluster": 7 });
    let bed = Bed::new(with(vec![unreadable, topic("failing", 1), topic("good", 1)]));
    let looks = Looks::default();
    let reconcile = reconcile(&looks, bed.ground.clock, |name| match name {
        "failing" => Err(Error::Transient {
            doing: "ask",
            what: "broker 1".to_owned(),
            source: "refused".into(),
        }),
        _ => Ok(CONVERGED),
    });
    bed.run(reconcile, pass(Duration::from_mins(10))).await;
    let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (name, at) in looks.lock().iter() {
        times.entry(name.clone()).or_default().push(*at);
    }
    assert_eq!(times["good"], [0]);
    assert_eq!(times.len(), 2);
    let failing = &times["failing"];
    assert!((9..=12).contains(&failing.len()), "{failing:?}");
    let events: Vec<(String, String)> = bed
        .log
        .lock()
        .iter()
        .filter(|asked| asked.method == "POST")
        .map(|asked| {
            let text = |name: &str| asked.body[name].as_str().unwrap_or_default().to_owned();
            (text("reason"), text("note"))
        })
        .collect();
    assert_eq!(events[0].0, "Unreadable");
    assert!(events[0].1.contains("cannot read this object"), "{events:?}");
    assert_eq!(events[1].0, "Retrying");
    assert_eq!(events[1].1, "ask broker 1 did not work; it is tried again");
    assert_eq!(events.len(), 2);
    for line in [
        "reconciles_total{kind=\"Topic\",outcome=\"converged\"} 1",
        "reconciles_total{kind=\"Topic\",outcome=\"unreadable\"} 1",
        "queue_depth{kind=\"Topic\"} 0",
        "reconcile_in_progress_since_seconds{kind=\"Topic\"} 0",
    ] {
        assert!(bed.page().contains(line), "{line}: {}", bed.page());
    }
}

/// A change of the status triggers nothing, a change of the spec does; an object that is gone is forgotten.
#[tokio::test(start_paused = true)]
async fn a_look_follows_a_change_that_matters() {
    let watches = Mutex::new(0);
    let listed = with(vec![topic("orders", 1), topic("gone", 1)]);
    let bed = Bed::new(move |asked| {
        if !asked.query.contains("watch=true") {
            return listed(asked);
        }
        let mut watches = watches.lock();
        *watches += 1;
        let mut told = topic("orders", 1);
        told["status"] = json!({ "observedGeneration": 1 });
        let events = [
            json!({ "type": "MODIFIED", "object": told }),
            json!({ "type": "DELETED", "object": topic("gone", 1) }),
            json!({ "type": "MODIFIED", "object": topic("orders", 2) }),
        ];
        let event = events.get(*watches - 1)?;
        Some((200, Value::String(format!("{event}\n"))))
    });
    let looks = Looks::default();
    let reconcile = reconcile(&looks, bed.ground.clock, |_| Ok(CONVERGED));
    bed.run(reconcile, pass(Duration::from_mins(5))).await;
    let names: Vec<String> = looks.lock().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.iter().filter(|name| *name == "orders").count(), 2, "{names:?}");
    assert!(names.iter().filter(|name| *name == "gone").count() <= 1, "{names:?}");
}

/// Each namespace is watched by itself, and what is not there is not waited for.
#[tokio::test(start_paused = true)]
async fn only_the_named_namespaces_are_watched() {
    let mut bed = Bed::new(with(vec![topic("orders", 1)]));
    bed.ground.namespaces = ["shop", "store"].map(|name| Some(name.to_owned())).to_vec();
    let looks = Looks::default();
    let reconcile = reconcile(&looks, bed.ground.clock, |_| Ok(CONVERGED));
    let triggers: Triggers<Topic> = Arc::new(|_, namespace| {
        let absent = ObjectRef::new("absent").within(&namespace.unwrap_or_default());
        stream::once(std::future::ready(absent)).chain(stream::pending()).boxed()
    });
    let controllers = [plug(Kind::Topic, reconcile, Some(triggers))];
    let story = async {
        pass(Duration::from_mins(1)).await;
        assert_eq!(bed.ground.progress.depth(Kind::Topic), 0);
        bed.ground.health.served();
        assert_eq!(bed.ground.health.unready(), None);
        bed.stop.cancel();
    };
    tokio::join!(session::run(&bed.ground, &controllers, &bed.stop), story);
    let lists: Vec<String> = bed
        .log
        .lock()
        .iter()
        .filter(|asked| !asked.query.contains("watch=true"))
        .map(|asked| asked.path.clone())
        .collect();
    let path = |name: &str| format!("/apis/ottla.dev/v1alpha1/namespaces/{name}/topics");
    assert_eq!(lists, [path("shop"), path("store")]);
    assert_eq!(looks.lock().len(), 2);
}

/// When leadership is over a look is dropped where it is; the next term looks at everything anew.
#[tokio::test(start_paused = true)]
async fn a_term_ends_at_once_and_the_next_begins_anew() {
    let bed = Bed::new(with(vec![topic("orders", 1)]));
    let (tell, told) = watch::channel(Vec::new());
    let dropped = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&dropped);
    let reconcile: Reconcile<Topic> = Arc::new(move |_, pass: Arc<Pass>| {
        tell.send_modify(|terms| terms.push(pass.fence().term()));
        let guard = OnDrop(Arc::clone(&counter));
        Box::pin(async move {
            let _guard = guard;
            std::future::pending().await
        })
    });
    let mut terms = told.clone();
    let story = async {
        terms.wait_for(|terms| *terms == [3]).await.unwrap();
        assert_eq!(bed.ground.progress.stuck(Duration::ZERO), None);
        bed.leadership.send_replace(None);
        pass(Duration::from_secs(1)).await;
        assert_eq!(*dropped.lock(), 1);
        bed.leadership.send_replace(leads(bed.ground.clock, 4, 10_000).borrow().clone());
        terms.wait_for(|terms| *terms == [3, 4]).await.unwrap();
    };
    let begun = bed.ground.clock.now();
    bed.run(reconcile, story).await;
    // The look of the second term never ends by itself: it was given its time, then dropped.
    assert_eq!(*dropped.lock(), 2);
    assert!(bed.ground.clock.now().duration_since(begun) >= Duration::from_secs(20));
}

/// A look that is under way when the operator is told to stop comes to its end.
#[tokio::test(start_paused = true)]
async fn a_clean_stop_waits_for_looks() {
    let bed = Bed::new(with(vec![topic("orders", 1)]));
    let (tell, told) = watch::channel(0);
    let sender = tell.clone();
    let reconcile: Reconcile<Topic> = Arc::new(move |_, _| {
        let tell = sender.clone();
        Box::pin(async move {
            tell.send_replace(1);
            pass(Duration::from_secs(5)).await;
            tell.send_replace(2);
            Ok(CONVERGED)
        })
    });
    let mut began = told.clone();
    bed.run(reconcile, async move { drop(began.wait_for(|step| *step == 1).await.unwrap()) }).await;
    assert_eq!(*told.borrow(), 2);
}

struct OnDrop(Arc<Mutex<u32>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        *self.0.lock() += 1;
    }
}
