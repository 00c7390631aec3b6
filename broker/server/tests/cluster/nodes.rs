//! Brokers that a test starts, stops, kills and starts again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker_config::broker::BrokerConfig;
use broker_config::raw::Properties;
use broker_server::broker::Broker;
use broker_zookeeper::embedded::{EmbeddedTree, Held};
use broker_zookeeper::path;
use broker_zookeeper::sessions::Origin;
use broker_zookeeper::store::{CreateMode, Op, Stat, Store};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::client::{Client, page};

/// How long what a killed broker had begun may still take.
const DRAIN: Duration = Duration::from_secs(20);

/// A cluster; brokers are 1 to the number there are.
pub(crate) struct Cluster {
    tree: EmbeddedTree,
    runtime: Runtime,
    settings: Vec<String>,
    nodes: Vec<Node>,
}

struct Node {
    id: i32,
    dir: TempDir,
    running: Option<Running>,
}

struct Running {
    /// Each listener, by its name, the first one of the setting first.
    addresses: Vec<(String, SocketAddr)>,
    metrics: SocketAddr,
    admin: SocketAddr,
    ends: oneshot::Sender<End>,
    thread: JoinHandle<()>,
    /// Ends with the thread.
    ended: mpsc::Receiver<()>,
}

enum End {
    Stop,
    Kill,
}

impl Cluster {
    /// Starts `count` brokers with `settings`, in which `{dir}` is the directory of each.
    pub(crate) fn start(count: i32, settings: &[&str]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let nodes =
            (1..=count).map(|id| Node { id, dir: tempfile::tempdir().unwrap(), running: None });
        let mut cluster = Self {
            tree: EmbeddedTree::in_memory(),
            runtime,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            nodes: nodes.collect(),
        };
        for id in 1..=count {
            cluster.begin(id);
        }
        cluster
    }

    /// Starts a broker that does not run.
    pub(crate) fn begin(&mut self, id: i32) {
        let origin = Origin::Embedded(self.tree.clone());
        let config = self.config(id, self.dir(id), &[]);
        let (started, addresses) = mpsc::channel();
        let (ends, end) = oneshot::channel();
        let (lives, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _lives: mpsc::Sender<()> = lives;
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let killed = runtime.block_on(async {
                let broker = Broker::start_on(config, origin).await.unwrap();
                let metrics = broker.metrics_address.unwrap();
                let admin = broker.admin_address.unwrap();
                started.send((broker.addresses.clone(), metrics, admin)).unwrap();
                // A test that failed kills its brokers.
                match end.await.unwrap_or(End::Kill) {
                    End::Stop => {
                        broker.stop().await;
                        None
                    }
                    End::Kill => Some(broker),
                }
            });
            runtime.shutdown_timeout(DRAIN);
            drop(killed);
        });
        let (addresses, metrics, admin) = addresses.recv().unwrap();
        self.node(id).running = Some(Running { addresses, metrics, admin, ends, thread, ended });
    }

    /// Starts a broker `id` on `dir` besides those that there are, which must fail; returns why.
    pub(crate) fn refusal(&self, id: i32, dir: &Path, settings: &[String]) -> String {
        let origin = Origin::Embedded(self.tree.clone());
        let config = self.config(id, dir, settings);
        let start = move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let started = runtime.block_on(Broker::start_on(config, origin));
            let refused = started.err().map(|error| format!("{error:#}"));
            runtime.shutdown_timeout(DRAIN);
            refused.unwrap_or_else(|| panic!("broker {id} has started"))
        };
        std::thread::spawn(start).join().unwrap()
    }

    fn config(&self, id: i32, dir: &Path, settings: &[String]) -> BrokerConfig {
        let dir = dir.display().to_string();
        let mut properties = Properties::default();
        let own = [
            // The tree is the one that the broker is handed.
            "zookeeper.connect=tree.invalid:1".to_owned(),
            format!("broker.id={id}"),
            format!("broker.rack=r{id}"),
            "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
            "num.network.threads=1".to_owned(),
            "metrics.listener=127.0.0.1:0".to_owned(),
            "admin.listener=127.0.0.1:0".to_owned(),
            "offsets.topic.num.partitions=1".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            format!("log.dirs={dir}"),
        ];
        for setting in own.iter().chain(&self.settings).chain(settings) {
            properties.set(&setting.replace("{dir}", &dir)).unwrap();
        }
        BrokerConfig::from_properties(&properties).unwrap()
    }

    /// Stops a broker as an operator does.
    pub(crate) fn stop(&mut self, id: i32) {
        self.end(id, End::Stop);
    }

    /// Stops a broker as an operator does; returns what the nodes at `paths` held when it cut its clients off.
    pub(crate) fn stop_and_look(&mut self, id: i32, paths: Vec<String>) -> Vec<Vec<u8>> {
        let store = self.runtime.block_on(self.tree.session());
        let idle = self.client(id);
        let look = std::thread::spawn(move || {
            idle.await_close();
            let runtime = Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(store.get_many(&paths)).unwrap();
            read.into_iter().map(|node| node.unwrap().0).collect()
        });
        self.stop(id);
        look.join().unwrap()
    }

    /// Ends a broker as `kill -9` does; its session goes on.
    pub(crate) fn kill(&mut self, id: i32) {
        self.end(id, End::Kill);
    }

    fn end(&mut self, id: i32, end: End) {
        let running = self.node(id).running.take().unwrap();
        assert!(running.ends.send(end).is_ok(), "broker {id} has ended by itself");
        running.thread.join().unwrap();
    }

    /// Stops a broker as an operator does who has only so much patience.
    pub(crate) fn stop_within(&mut self, id: i32, limit: Duration) {
        let running = self.node(id).running.take().unwrap();
        assert!(running.ends.send(End::Stop).is_ok(), "broker {id} has ended by itself");
        let ended = running.ended.recv_timeout(limit);
        assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected), "broker {id} does not stop");
        running.thread.join().unwrap();
    }

    /// Starts a broker that does not run, and stops it when it is registered and has not started.
    pub(crate) fn begin_in_vain(&mut self, id: i32) {
        let (config, tree) = (self.config(id, self.dir(id), &[]), self.tree.clone());
        let started = self.runtime.block_on(async {
            let (store, path) = (tree.session().await, path::broker_id(id));
            let is_registered = async {
                loop {
                    let (found, mut watch) = store.exists_and_watch(&path).await.unwrap();
                    if found.is_some() {
                        return;
                    }
                    watch.next().await;
                }
            };
            Broker::start_on_unless(config, Origin::Embedded(tree.clone()), is_registered).await
        });
        assert!(started.unwrap().is_none(), "nobody told it what is its own");
    }

    /// Whether a broker is registered.
    pub(crate) fn is_registered(&self, id: i32) -> bool {
        let store = self.runtime.block_on(self.tree.session());
        self.runtime.block_on(store.exists(&path::broker_id(id))).unwrap().is_some()
    }

    /// Has the tree answer nobody until the returned value is dropped.
    pub(crate) fn hold(&self) -> Held {
        self.tree.hold()
    }

    /// Ends the session that a broker is registered in, if it is.
    pub(crate) fn expire(&self, id: i32) {
        let tree = &self.tree;
        self.runtime.block_on(async {
            let store = tree.session().await;
            if let Ok((_, stat)) = store.get(&path::broker_id(id)).await {
                tree.expire(stat.ephemeral_owner).await;
            }
        });
    }

    /// Returns who is controller.
    pub(crate) fn controller(&self) -> i32 {
        let store = self.runtime.block_on(self.tree.session());
        let (data, _) = self.runtime.block_on(store.get(path::CONTROLLER)).unwrap();
        let node = String::from_utf8(data).unwrap();
        let id = node.split("\"brokerid\":").nth(1).unwrap();
        id.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    /// Whether there is a controller, and another than `former`.
    pub(crate) fn has_controller_beside(&self, former: i32) -> bool {
        let store = self.runtime.block_on(self.tree.session());
        let node = self.runtime.block_on(store.get(path::CONTROLLER));
        let former = format!("\"brokerid\":{former},");
        node.is_ok_and(|(data, _)| !String::from_utf8(data).unwrap().contains(&former))
    }

    /// Reads a node.
    pub(crate) fn get(&self, path: &str) -> (Vec<u8>, Stat) {
        let store = self.runtime.block_on(self.tree.session());
        self.runtime.block_on(store.get(path)).unwrap()
    }

    /// Returns the names of a node's children.
    pub(crate) fn children(&self, path: &str) -> Vec<String> {
        let store = self.runtime.block_on(self.tree.session());
        self.runtime.block_on(store.children(path)).unwrap()
    }

    /// Returns the epoch of a broker that is registered.
    pub(crate) fn epoch(&self, id: i32) -> i64 {
        self.get(&path::broker_id(id)).1.czxid
    }

    /// Writes a node by hand; returns what it was.
    pub(crate) fn put(&self, path: &str, data: &[u8]) -> Vec<u8> {
        let store = self.runtime.block_on(self.tree.session());
        let (former, _) = self.runtime.block_on(store.get(path)).unwrap();
        self.runtime.block_on(store.set(path, data, None)).unwrap();
        former
    }

    /// Makes a node by hand.
    pub(crate) fn make(&self, path: &str, data: &[u8]) {
        let store = self.runtime.block_on(self.tree.session());
        self.runtime.block_on(store.create(path, data, CreateMode::Persistent)).unwrap();
    }

    /// Deletes the nodes of a topic of one partition by hand, all at once; returns what its own was.
    pub(crate) fn unmake(&self, topic: &str) -> Vec<u8> {
        let store = self.runtime.block_on(self.tree.session());
        let (former, _) = self.runtime.block_on(store.get(&path::topic(topic))).unwrap();
        let paths = [
            path::partition_state(topic, 0),
            path::partition(topic, 0),
            path::partitions(topic),
            path::topic(topic),
        ];
        let delete = |path| Op::Delete { path, version: None };
        self.runtime.block_on(store.multi(paths.map(delete).into())).unwrap();
        former
    }

    /// Returns the names of the logs that a broker has put aside.
    pub(crate) fn strays(&self, id: i32) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir(id)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with("-stray")).collect()
    }

    /// Returns where a broker that runs is reached.
    pub(crate) fn address(&self, id: i32) -> SocketAddr {
        self.of(id).addresses[0].1
    }

    /// Copies the directory of a broker, as it is.
    pub(crate) fn copy(&self, id: i32) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_all(self.dir(id), copy.path());
        copy
    }

    /// Connects to a broker that runs.
    pub(crate) fn client(&self, id: i32) -> Client {
        Client::connect(self.address(id))
    }

    /// Connects to one listener of a broker that runs.
    pub(crate) fn client_at(&self, id: i32, listener: &str) -> Client {
        let mut addresses = self.of(id).addresses.iter();
        Client::connect(addresses.find(|(name, _)| name == listener).unwrap().1)
    }

    /// Returns what the metrics of a broker that runs say now.
    pub(crate) fn page(&self, id: i32) -> String {
        page(self.of(id).metrics)
    }

    /// Returns where the operator reaches a broker that runs.
    pub(crate) fn admin(&self, id: i32) -> SocketAddr {
        self.of(id).admin
    }

    fn of(&self, id: i32) -> &Running {
        let node = self.nodes.iter().find(|node| node.id == id).unwrap();
        node.running.as_ref().unwrap()
    }

    /// Returns the directory of a broker.
    pub(crate) fn dir(&self, id: i32) -> &Path {
        self.nodes.iter().find(|node| node.id == id).unwrap().dir.path()
    }

    /// Returns the brokers that run.
    pub(crate) fn running(&self) -> Vec<i32> {
        self.nodes.iter().filter(|node| node.running.is_some()).map(|node| node.id).collect()
    }

    /// Ends all brokers: the last could hand over to nobody.
    pub(crate) fn kill_all(&mut self) {
        for id in self.running() {
            self.kill(id);
        }
    }

    /// Has the machine of a broker that has ended be another start of it: its power was cut.
    pub(crate) fn forget_the_boot(&self, id: i32) {
        let path = self.dir(id).join("ottla-standing");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("boot.id=").unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        std::fs::write(&path, format!("{before}boot.id=another\n{after}")).unwrap();
    }

    /// Cuts the second half off a log of a broker that has ended, as a power cut may.
    pub(crate) fn cut_the_log(&self, id: i32, topic: &str, partition: i32) {
        let path = self.dir(id).join(format!("{topic}-{partition}/00000000000000000000.log"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }

    /// Deletes a replica of a broker that has ended.
    pub(crate) fn wipe(&self, id: i32, topic: &str, partition: i32) {
        std::fs::remove_dir_all(self.dir(id).join(format!("{topic}-{partition}"))).unwrap();
    }

    /// Returns the bytes of a partition's log on a broker.
    pub(crate) fn log(&self, id: i32, topic: &str, partition: i32) -> Vec<u8> {
        let dir = self.dir(id).join(format!("{topic}-{partition}"));
        let mut segments: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        segments.sort();
        segments.iter().flat_map(|segment| std::fs::read(segment).unwrap()).collect()
    }

    fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).unwrap()
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}
