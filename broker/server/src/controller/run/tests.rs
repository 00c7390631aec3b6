//! A whole controller on a tree that tells it of no change.
#![allow(
    clippy::disallowed_methods,
    reason = "a test has a deadline, and no shutdown for its tasks"
)]

use broker_config::release::Release;
use broker_protocol::quantity::BrokerId;
use broker_zookeeper::embedded::{EmbeddedStore, EmbeddedTree};
use broker_zookeeper::faulty::Faults;
use broker_zookeeper::node::broker::{Broker, Endpoint};
use broker_zookeeper::node::log_dir_event::LogDirEvent;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::sessions::{Origin, Sessions};
use broker_zookeeper::store::{CreateMode, Op};

use super::*;
use crate::clock::SystemClock;
use crate::controller::membership::ensure_paths;
use crate::controller::state::request::Request;
use crate::membership::controller_election::stand;
use crate::tasks::Tasks;
use crate::version::Versions;

const ME: i32 = 1;

/// Of real time: in the controller's many passes go by.
const LIMIT: Duration = Duration::from_secs(20);

async fn make(look: &EmbeddedStore, path: &str, data: &[u8], mode: CreateMode) {
    look.create(path, data, mode).await.unwrap();
}

/// The registration of a broker, so that it can lead.
fn registration() -> Vec<u8> {
    let endpoint = Endpoint {
        listener: "L".into(),
        security_protocol: "PLAINTEXT".into(),
        host: "127.0.0.1".into(),
        port: 1,
    };
    let broker = Broker {
        version: 5,
        endpoints: vec![endpoint],
        rack: None,
        features: BTreeMap::new(),
        timestamp_ms: 0,
    };
    broker.encode()
}

/// Asks until `holds`, while the time of the controller goes on by itself.
async fn await_that(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LIMIT, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

/// A topic without an id, as old tools make it, on this broker.
fn topic() -> Vec<u8> {
    Topic { partitions: BTreeMap::from([(0, vec![ME])]), ..Topic::default() }.encode()
}

/// A controller in office.
struct Bed {
    look: EmbeddedStore,
    handle: Arc<ControllerHandle>,
    office: tokio::task::JoinHandle<Option<Resignation>>,
    _obeyed: mpsc::Receiver<crate::order::Order>,
}

impl Bed {
    /// Elects a controller in a tree that lacks the nodes at `lacking`.
    async fn new(faults: Faults, lacking: &[&str]) -> Self {
        let tree = EmbeddedTree::in_memory();
        let look = tree.session().await;
        ensure_paths(&look).await.unwrap();
        make(&look, &path::broker_id(ME), &registration(), CreateMode::Ephemeral).await;
        let sessions = Sessions::begin_faulty(Origin::Embedded(tree), faults).await.unwrap();
        let store = sessions.current();
        let term = stand(&*store, BrokerId(ME), 0).await.unwrap().unwrap();
        for path in lacking {
            look.delete(path, None).await.unwrap();
        }
        let ((events, heard), (orders, obeyed)) = (mpsc::channel(EVENTS), mpsc::channel(1));
        let common = Common {
            controller: BrokerId(ME),
            controller_epoch: term.epoch,
            listener: "L".into(),
            inter_broker_listener: "L".into(),
            timeout: LIMIT,
            connect_timeout: LIMIT,
            versions: Versions::of(Release::NEWEST),
            orders,
            events,
            metadata: Arc::default(),
            tasks: Tasks::new(),
            clock: Arc::new(SystemClock),
        };
        let settings = || Settings {
            balance: None,
            elects_uncleanly: false,
            deletes_topics: true,
            marks_recovery: true,
        };
        let handle = Arc::<ControllerHandle>::default();
        let controller =
            Controller::new(store, term, Box::new(settings), common, heard, Arc::clone(&handle));
        let office = tokio::spawn(controller.run(CancellationToken::new()));
        let bed = Self { look, handle, office, _obeyed: obeyed };
        // It has read everything, since it answers.
        await_that("the controller in office", async || bed.handle.summary().await.is_some()).await;
        bed
    }

    async fn is_there(&self, path: &str) -> bool {
        self.look.exists(path).await.unwrap().is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_watch_tells_is_found_by_the_next_pass() {
    let bed = Bed::new(Faults { dropped_events: 1.0, ..Faults::NONE }, &[]).await;
    let look = &bed.look;
    make(look, &path::topic("t"), &topic(), CreateMode::Persistent).await;
    let event = LogDirEvent::failure(ME).encode();
    make(look, &path::log_dir_event(), &event, CreateMode::PersistentSequential).await;
    let has_leader = async || bed.is_there(&path::partition_state("t", 0)).await;
    await_that("a leader of the topic", has_leader).await;
    let has_id = async || {
        let (data, _) = look.get(&path::topic("t")).await.unwrap();
        Topic::decode("t", &data).unwrap().topic_id.is_some()
    };
    await_that("an id of the topic", has_id).await;
    let is_heard = async || look.children(path::LOG_DIR_EVENTS).await.unwrap().is_empty();
    await_that("the notification is taken away", is_heard).await;

    // Tools have another controller elected so.
    look.delete(path::CONTROLLER, None).await.unwrap();
    assert_eq!(bed.office.await.unwrap(), Some(Resignation::Over));
}

/// The next controller would end by it as well.
#[tokio::test(start_paused = true)]
async fn a_state_of_a_controller_that_never_was_is_no_end_of_the_term() {
    let bed = Bed::new(Faults::NONE, &[]).await;
    let state = br#"{"controller_epoch":9,"leader":1,"version":1,"leader_epoch":0,"isr":[1]}"#;
    let place = path::partition_state("t", 0);
    let node = |path: &str, data: &[u8]| Op::Create {
        path: path.to_owned(),
        data: data.to_owned(),
        mode: CreateMode::Persistent,
    };
    let nodes = [
        node(&path::topic("t"), &topic()),
        node(&path::partitions("t"), b""),
        node(&path::partition("t", 0), b""),
        node(&place, state),
    ];
    bed.look.multi(nodes.into()).await.unwrap();
    assert_eq!(bed.office.await.unwrap(), Some(Resignation::Refused));
}

/// What people delete in the tree that every cluster has is made again, and ends no term.
#[tokio::test(start_paused = true)]
async fn a_node_that_somebody_deletes_is_made_again() {
    const ASKED_AT: [&str; 4] =
        [path::DELETE_TOPICS, path::ISR_CHANGES, path::LOG_DIR_EVENTS, path::CONFIG_TOPICS];
    let bed = Bed::new(Faults::NONE, &ASKED_AT).await;
    for path in ASKED_AT {
        assert!(bed.is_there(path).await, "{path}");
    }
    // The settings are not read again.
    for path in &ASKED_AT[..3] {
        bed.look.delete(path, None).await.unwrap();
        await_that(path, async || bed.is_there(path).await).await;
    }
    bed.look.delete("/admin/delete_topics", None).await.unwrap();
    bed.look.delete("/admin", None).await.unwrap();
    await_that("both", async || bed.is_there(path::DELETE_TOPICS).await).await;

    let place = bed.look.exists(&path::broker_id(ME)).await.unwrap().unwrap();
    for start in [0, 1000] {
        bed.look.delete(path::PRODUCER_ID_BLOCK, None).await.unwrap();
        let broker_epoch = place.czxid;
        let ask = Request::AllocateProducerIds { broker: BrokerId(ME), broker_epoch };
        let given = bed.handle.ask(ask).await;
        assert_eq!(given, Some(Reply::AllocateProducerIds(Ok(start))));
    }
    assert!(!bed.office.is_finished());
}
