//! Several members on one embedded tree, with and without lost answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU32;

use broker_protocol::uuid::Uuid;
use broker_storage::fs::faulty::{Failure, FaultyFs};
use broker_storage::fs::real::RealFs;
use broker_zookeeper::embedded::{EmbeddedStore, EmbeddedTree};
use broker_zookeeper::faulty::Faults;
use broker_zookeeper::sessions::Origin;
use broker_zookeeper::store::{CreateMode, Op};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::clock::SystemClock;
use crate::controller::membership::ensure_paths;
use crate::tasks::Tasks;

/// What a member was told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    StopLeading,
    Start(Term),
    Drop,
}

struct Bed {
    tree: EmbeddedTree,
    look: EmbeddedStore,
    tasks: Tasks,
}

/// A member that runs.
struct Running {
    unproven: Arc<Mutex<BTreeSet<TopicPartition>>>,
    /// How often it was read, to be told.
    reads: Arc<AtomicU32>,
    changes: watch::Sender<u64>,
    broker_epoch: Arc<AtomicI64>,
    controller: watch::Receiver<Option<BrokerId>>,
    resigned: mpsc::Sender<(Term, Resignation)>,
    sessions: Arc<Sessions>,
    told: mpsc::UnboundedReceiver<Told>,
    ended: oneshot::Receiver<Result<(), MemberError>>,
    stop: CancellationToken,
}

impl Bed {
    async fn new() -> Self {
        let tree = EmbeddedTree::in_memory();
        let look = tree.session().await;
        ensure_paths(&look).await.unwrap();
        Self { tree, look, tasks: Tasks::new() }
    }

    async fn join(&self, id: i32, dir: &Path, faults: Faults) -> Running {
        self.join_on(Arc::new(RealFs), id, dir, faults).await
    }

    async fn join_on(&self, fs: Arc<dyn Fs>, id: i32, dir: &Path, faults: Faults) -> Running {
        let origin = Origin::Embedded(self.tree.clone());
        let sessions = Sessions::begin_faulty(origin, faults).await.unwrap();
        let broker_epoch = Arc::new(AtomicI64::new(-1));
        let unproven = Arc::new(Mutex::new(BTreeSet::from([name("t", id)])));
        let (changes, news) = watch::channel(0);
        let reads = Arc::<AtomicU32>::default();
        let (known, counted) = (Arc::clone(&unproven), Arc::clone(&reads));
        let read = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            known.lock().clone()
        };
        let joining = Joining {
            sessions: Arc::clone(&sessions),
            id: BrokerId(id),
            broker: Broker {
                version: 5,
                endpoints: Vec::new(),
                rack: None,
                features: BTreeMap::new(),
                timestamp_ms: 0,
            },
            past: Identity::read(&*fs, dir).unwrap().unwrap_or_default(),
            fs,
            dir: dir.to_owned(),
            clock: Arc::new(SystemClock),
            broker_epoch: Arc::clone(&broker_epoch),
            is_registering: watch::Sender::new(true),
            presence: Arc::new(Presence::new(Uuid::ZERO)),
            unproven: Unproven { read: Box::new(read), changes: news },
        };
        let membership = soon(Membership::join(joining)).await.unwrap();
        let controller = membership.controller.subscribe();
        let resigned = membership.resigned();
        let (duties, inbox) = mpsc::channel(1);
        let (tell, told) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let stop = CancellationToken::new();
        self.tasks.spawn("duties", do_duties(inbox, tell));
        let shutdown = stop.clone();
        self.tasks.spawn("membership", async move {
            let _ = end.send(membership.run(duties, shutdown).await);
        });
        Running {
            unproven,
            reads,
            changes,
            broker_epoch,
            controller,
            resigned,
            sessions,
            told,
            ended,
            stop,
        }
    }

    async fn office(&self) -> Option<i32> {
        let (data, _) = self.look.get(path::CONTROLLER).await.ok()?;
        Some(Controller::decode(path::CONTROLLER, &data).unwrap().brokerid)
    }
}

fn name(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

async fn do_duties(mut inbox: mpsc::Receiver<Duty>, tell: mpsc::UnboundedSender<Told>) {
    while let Some(duty) = inbox.recv().await {
        let (told, done) = match duty {
            Duty::StopLeading { done } => (Told::StopLeading, Some(done)),
            Duty::DropController { done } => (Told::Drop, Some(done)),
            Duty::StartController { term, .. } => (Told::Start(term), None),
        };
        let _ = tell.send(told);
        drop(done);
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), future).await.expect("within a minute")
}

impl Running {
    fn epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Acquire)
    }

    async fn knows(&mut self, controller: i32) {
        let is_it = |known: &Option<BrokerId>| *known == Some(BrokerId(controller));
        soon(self.controller.wait_for(is_it)).await.unwrap();
    }

    async fn told(&mut self) -> Told {
        soon(self.told.recv()).await.unwrap()
    }
}

fn lossy(seed: u64) -> Faults {
    Faults { seed, lost_answers: 0.3, ..Faults::NONE }
}

/// One member is controller; when its session is over it stops, comes back as another registration,
/// and knows who has the office now. So it is with answers lost, too.
#[tokio::test]
async fn the_office_moves_when_its_session_is_over() {
    for faults in [Faults::NONE, lossy(1), lossy(2), lossy(3), lossy(4), lossy(5)] {
        let bed = Bed::new().await;
        let dirs: [TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        let mut first = bed.join(0, dirs[0].path(), faults).await;
        let first_term = Term { epoch: 1, version: 1 };
        assert_eq!(first.told().await, Told::Start(first_term));
        let mut second = bed.join(1, dirs[1].path(), faults).await;
        second.knows(0).await;
        let before = first.epoch();

        bed.tree.expire(first.sessions.current().session_id()).await;
        assert_eq!(first.told().await, Told::Drop);
        assert_eq!(first.told().await, Told::StopLeading);
        let office = loop {
            // Either may be faster.
            if let Some(office) = bed.office().await {
                break office;
            }
            tokio::task::yield_now().await;
        };
        first.knows(office).await;
        assert!(first.epoch() > before);
        second.knows(office).await;
        let winner = if office == 0 { &mut first } else { &mut second };
        assert_eq!(winner.told().await, Told::Start(Term { epoch: 2, version: 2 }));
    }
}

/// A broker that was killed and starts again is back at once, and its office is free again, though
/// its past session lives.
#[tokio::test]
async fn a_killed_broker_is_back_at_once() {
    for faults in [Faults::NONE, lossy(1), lossy(2), lossy(3)] {
        let bed = Bed::new().await;
        let dir = tempfile::tempdir().unwrap();
        let mut killed = bed.join(0, dir.path(), faults).await;
        killed.knows(0).await;
        killed.stop.cancel();
        soon(&mut killed.ended).await.unwrap().unwrap();
        let past = killed.sessions.current().session_id();
        assert_eq!(bed.office().await, Some(0));

        let mut again = bed.join(0, dir.path(), faults).await;
        assert!(again.epoch() > killed.epoch());
        assert_eq!(again.told().await, Told::Start(Term { epoch: 2, version: 2 }));
        bed.tree.expire(past).await;
        assert_eq!(bed.office().await, Some(0));
        let identity = Identity::read(&RealFs, dir.path()).unwrap().unwrap();
        assert_eq!(identity.sessions, [again.sessions.current().session_id()]);
    }
}

/// Of two that hold the same identity the older one stops, in words; it never takes the place back.
#[tokio::test]
async fn a_twin_makes_the_other_stop() {
    let bed = Bed::new().await;
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = bed.join(0, dir.path(), Faults::NONE).await;
    Identity::read(&RealFs, dir.path()).unwrap().unwrap().write(&RealFs, copy.path()).unwrap();
    let twin = bed.join(0, copy.path(), Faults::NONE).await;
    let ended = soon(first.ended).await.unwrap().unwrap_err();
    assert!(ended.to_string().contains("broker.id=0 was taken over"), "{ended}");
    let (_, stat) = bed.look.get(&path::broker_id(0)).await.unwrap();
    assert_eq!(stat.czxid, twin.epoch());
}

/// The watches are deaf: that the office is free, and that the registration is gone, is found by the next
/// look, in the time of the test.
#[tokio::test]
async fn what_no_watch_tells_is_seen_at_the_next_look() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let other = br#"{"version":1,"brokerid":9,"timestamp":"0"}"#;
    bed.look.create(path::CONTROLLER, other, CreateMode::Ephemeral).await.unwrap();
    let deaf = Faults { dropped_events: 1.0, ..Faults::NONE };
    let one = bed.join(0, dir.path(), deaf).await;
    tokio::time::pause();
    passes_until(|| *one.controller.borrow() == Some(BrokerId(9))).await;
    bed.look.delete(path::CONTROLLER, None).await.unwrap();
    passes_until(|| *one.controller.borrow() == Some(BrokerId(0))).await;
    let before = one.epoch();
    bed.look.delete(&path::broker_id(0), None).await.unwrap();
    let sees = || {
        // Other news come all the time.
        one.changes.send_modify(|count| *count += 1);
        one.epoch() > before
    };
    passes_until(sees).await;
}

/// A member whose watches are refused goes on to look and to listen, and watches as soon as it can.
#[tokio::test]
async fn a_member_that_cannot_watch_looks_until_it_can() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults { refused_watches: 1, ..Faults::NONE };
    let mut one = bed.join(0, dir.path(), faults).await;
    let Told::Start(term) = one.told().await else { panic!("no controller") };
    one.resigned.send((term, Resignation::Over)).await.unwrap();
    assert_eq!(one.told().await, Told::Drop, "it hears what is said to it");
    assert!(matches!(one.told().await, Told::Start(_)));
    let before = one.epoch();
    bed.look.delete(&path::broker_id(0), None).await.unwrap();
    tokio::time::pause();
    passes_until(|| one.epoch() > before).await;
    tokio::time::resume();
    let before = one.epoch();
    bed.look.delete(&path::broker_id(0), None).await.unwrap();
    soon(async {
        while one.epoch() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Who was registered and loses its place goes on to try, whatever the tree says but that it is another's.
#[tokio::test]
async fn a_tree_that_refuses_a_registration_is_asked_again() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut one = bed.join(0, dir.path(), Faults::NONE).await;
    let Told::Start(term) = one.told().await else { panic!("no controller") };
    let before = one.epoch();
    let delete = |path: &str| Op::Delete { path: path.to_owned(), version: None };
    let place = path::broker_id(0);
    bed.look.multi(vec![delete(&place), delete(path::BROKER_IDS)]).await.unwrap();
    tokio::time::pause();
    let ended = tokio::time::timeout(PAUSE * 3, &mut one.ended).await;
    assert!(ended.is_err(), "{ended:?}");
    // It hears meanwhile that it is controller no more, and leaves the office to others.
    tokio::time::resume();
    one.resigned.send((term, Resignation::Over)).await.unwrap();
    assert_eq!(one.told().await, Told::Drop);
    tokio::time::pause();
    passes_until_gone(&bed, path::CONTROLLER).await;
    bed.look.create(path::BROKER_IDS, b"", CreateMode::Persistent).await.unwrap();
    passes_until(|| one.epoch() > before).await;
    tokio::time::resume();
    let next = Term { epoch: term.epoch + 1, version: term.version + 1 };
    assert_eq!(one.told().await, Told::Start(next));
}

/// While who is controller cannot be read, all else goes on: a registration that is gone is made again, and
/// what is unproven is told.
#[tokio::test]
async fn an_office_that_cannot_be_read_is_in_the_way_of_nothing_else() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    bed.look.create(path::CONTROLLER, b"{", CreateMode::Ephemeral).await.unwrap();
    let one = bed.join(0, dir.path(), Faults::NONE).await;
    tokio::time::pause();
    let before = one.epoch();
    bed.look.delete(&path::broker_id(0), None).await.unwrap();
    passes_until(|| one.epoch() > before).await;
    one.unproven.lock().clear();
    one.changes.send_modify(|count| *count += 1);
    passes_until_gone(&bed, &path::standing(0)).await;
    bed.look.delete(path::CONTROLLER, None).await.unwrap();
    passes_until(|| *one.controller.borrow() == Some(BrokerId(0))).await;
}

/// Lets the time of the test pass until `holds`, or the test's real time is over.
async fn passes_until(holds: impl Fn() -> bool) {
    let began = SystemClock.now();
    while !holds() {
        assert!(SystemClock.now() - began < Duration::from_secs(20), "nobody looks");
        tokio::time::advance(LOOK / 10).await;
    }
}

/// Lets the time of the test pass until there is no node at `path`, or the test's real time is over.
async fn passes_until_gone(bed: &Bed, path: &str) {
    let began = SystemClock.now();
    while bed.look.exists(path).await.unwrap().is_some() {
        assert!(SystemClock.now() - began < Duration::from_secs(20), "{path} stays");
        tokio::time::advance(PAUSE / 10).await;
    }
}

/// A controller that was fenced gives the office up, and it is stood for again.
#[tokio::test]
async fn who_resigns_gives_the_office_up() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut one = bed.join(0, dir.path(), lossy(9)).await;
    let Told::Start(term) = one.told().await else { panic!("no controller") };
    one.resigned.send((term, Resignation::Over)).await.unwrap();
    assert_eq!(one.told().await, Told::Drop);
    let next = Term { epoch: term.epoch + 1, version: term.version + 1 };
    assert_eq!(one.told().await, Told::Start(next));
}

/// A controller that the tree refuses does not have one election after the other.
#[tokio::test]
async fn who_resigns_because_the_tree_refuses_stands_again_after_a_while() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut one = bed.join(0, dir.path(), Faults::NONE).await;
    let Told::Start(term) = one.told().await else { panic!("no controller") };
    let began = SystemClock.now();
    one.resigned.send((term, Resignation::Refused)).await.unwrap();
    assert_eq!(one.told().await, Told::Drop);
    assert!(matches!(one.told().await, Told::Start(_)));
    assert!(SystemClock.now() - began >= PAUSE);
}

/// A registration that somebody deletes is made again, in the same session.
#[tokio::test]
async fn a_registration_that_is_gone_is_made_again() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut one = bed.join(0, dir.path(), lossy(3)).await;
    one.knows(0).await;
    let before = one.epoch();
    bed.look.delete(&path::broker_id(0), None).await.unwrap();
    assert!(matches!(one.told().await, Told::Start(_)));
    while one.epoch() == before {
        tokio::task::yield_now().await;
    }
    assert!(one.epoch() > before);
}

/// Each controller epoch is on disk before it is acted on.
#[tokio::test]
async fn the_controller_epoch_is_remembered() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut one = bed.join(0, dir.path(), Faults::NONE).await;
    assert!(matches!(one.told().await, Told::Start(_)));
    let identity = Identity::read(&RealFs, dir.path()).unwrap().unwrap();
    assert_eq!(identity.controller_epoch, 1);
}

/// A disk that takes nothing ends no membership: it joins, and joins again, and hears of controllers; once
/// the disk works it is remembered.
#[tokio::test]
async fn a_disk_that_takes_nothing_ends_no_membership() {
    for failure in [Failure::Full, Failure::Broken] {
        let bed = Bed::new().await;
        let (disk, dir) = (FaultyFs::new(1), Path::new("/data"));
        disk.create_dir_all(dir).unwrap();
        let mut one = bed.join_on(Arc::new(disk.clone()), 0, dir, Faults::NONE).await;
        assert!(matches!(one.told().await, Told::Start(_)));
        disk.fail_from(0, failure, true);
        for takes_nothing in [true, false] {
            if !takes_nothing {
                disk.heal();
            }
            let before = one.epoch();
            bed.tree.expire(one.sessions.current().session_id()).await;
            while !matches!(one.told().await, Told::Start(_)) {}
            assert!(one.epoch() > before, "{failure:?}");
            let known = Identity::read(&disk, dir).unwrap();
            let session = one.sessions.current().session_id();
            let is_remembered = known.is_some_and(|it| it.sessions == [session]);
            assert_eq!(is_remembered, !takes_nothing, "{failure:?}");
        }
    }
}

/// A broker whose first log directory is gone goes on when another is elected controller.
#[tokio::test]
async fn a_directory_that_is_gone_ends_no_membership() {
    let bed = Bed::new().await;
    let dirs: [TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let first = bed.join(0, dirs[0].path(), Faults::NONE).await;
    let mut second = bed.join(1, dirs[1].path(), Faults::NONE).await;
    second.knows(0).await;
    std::fs::remove_dir_all(dirs[1].path()).unwrap();
    first.stop.cancel();
    bed.tree.expire(first.sessions.current().session_id()).await;
    assert_eq!(second.told().await, Told::Start(Term { epoch: 2, version: 2 }));
    second.knows(1).await;
}

/// Which replicas are unproven is in the tree before the broker is, and follows what changes.
#[tokio::test]
async fn what_is_unproven_is_told_before_the_registration_and_when_it_changes() {
    for faults in [Faults::NONE, lossy(4), lossy(5)] {
        let bed = Bed::new().await;
        let dir = tempfile::tempdir().unwrap();
        let one = bed.join(3, dir.path(), faults).await;
        let path = path::standing(3);
        let (data, told) = bed.look.get(&path).await.unwrap();
        let (_, registered) = bed.look.get(&path::broker_id(3)).await.unwrap();
        let session = registered.ephemeral_owner;
        let list = format!(r#"{{"version":1,"session":{session},"unproven":{{"t":[3]}}}}"#);
        assert_eq!(String::from_utf8(data).unwrap(), list);
        assert!(told.mzxid <= registered.czxid);
        one.unproven.lock().clear();
        one.changes.send_modify(|count| *count += 1);
        let gone = async {
            while let (Some(_), mut watch) = bed.look.exists_and_watch(&path).await.unwrap() {
                watch.next().await;
            }
        };
        soon(gone).await;
    }
}

/// What the tree refuses to take is told again.
#[tokio::test]
async fn what_is_unproven_is_told_until_the_tree_takes_it() {
    let bed = Bed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let one = bed.join(3, dir.path(), Faults::NONE).await;
    let path = path::standing(3);
    let below = format!("{path}/in-the-way");
    bed.look.create(&below, b"", CreateMode::Persistent).await.unwrap();
    tokio::time::pause();
    one.unproven.lock().clear();
    one.changes.send_modify(|count| *count += 1);
    let before = one.reads.load(Ordering::Relaxed);
    passes_until(|| one.reads.load(Ordering::Relaxed) > before + 2).await;
    bed.look.delete(&below, None).await.unwrap();
    passes_until_gone(&bed, &path).await;
}
