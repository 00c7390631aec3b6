//! The embedded tree and a ZooKeeper, side by side: each step is done on both and compared.
//!
//! What cannot be equal is put in relation: transaction ids keep their order, a session is the first
//! or the second, wall times are left out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use broker_zookeeper::embedded::{EmbeddedStore, EmbeddedTree};
use broker_zookeeper::remote::RemoteStore;
use broker_zookeeper::store::{OpResult, Stat, Store, StoreError, Watch, WatchEvent};

use crate::connect;
use crate::script::{Step, Who};

/// A node's facts that are equal on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    version: i32,
    cversion: i32,
    owner: Option<Who>,
    data_length: i32,
    num_children: i32,
    is_changed: bool,
}

/// One watch, set on both sides by the same step.
struct Pair {
    who: Who,
    step: Step,
    embedded: Watch,
    remote: Watch,
}

/// Both trees, with two sessions each, and the watches that are held.
pub(crate) struct Sides {
    connect: String,
    tree: EmbeddedTree,
    embedded: Vec<EmbeddedStore>,
    remote: Vec<RemoteStore>,
    watches: Vec<Pair>,
}

/// The answer to a step, in words, and the watch that it set.
type Answered = (String, Option<Watch>);

impl Sides {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let tree = EmbeddedTree::in_memory();
        let embedded = vec![tree.session().await, tree.session().await];
        let remote = vec![connect(address).await?, connect(address).await?];
        Ok(Self { connect: address.to_owned(), tree, embedded, remote, watches: Vec::new() })
    }

    pub(crate) async fn close(self) {
        for store in self.remote {
            store.close().await;
        }
    }

    pub(crate) async fn run(&mut self, step: &Step) -> Result<()> {
        let is_ordered = !matches!(step, Step::Expire);
        if !is_ordered {
            self.expire().await?;
        } else if let Step::DropWatch(number) = step {
            if !self.watches.is_empty() {
                drop(self.watches.swap_remove(number % self.watches.len()));
            }
        } else {
            self.ask(step).await?;
        }
        self.compare_events(is_ordered).await
    }

    async fn ask(&mut self, step: &Step) -> Result<()> {
        let owners: Vec<i64> = self.embedded.iter().map(Store::session_id).collect();
        let (embedded, embedded_watch) = answer(step, &self.embedded, &owners).await;
        let owners: Vec<i64> = self.remote.iter().map(Store::session_id).collect();
        let (remote, remote_watch) = answer(step, &self.remote, &owners).await;
        ensure!(embedded == remote, "embedded: {embedded}\nZooKeeper: {remote}");
        if let (Some(embedded), Some(remote)) = (embedded_watch, remote_watch) {
            self.watches.push(Pair { who: who(step), step: step.clone(), embedded, remote });
        }
        Ok(())
    }

    async fn expire(&mut self) -> Result<()> {
        self.tree.expire(self.embedded[1].session_id()).await;
        self.embedded[1] = self.tree.session().await;
        let old = std::mem::replace(&mut self.remote[1], connect(&self.connect).await?);
        old.close().await;
        // The last events of a session are those of its own end, which a server does not send.
        self.watches.retain(|pair| pair.who == 0);
        Ok(())
    }

    /// Takes what every watch has said on both sides. When a session ends, its nodes go in one transaction,
    /// at a ZooKeeper in the order of a hash set: not `is_ordered` then, but for what is said of one path.
    async fn compare_events(&mut self, is_ordered: bool) -> Result<()> {
        for store in &self.remote {
            // Events come on the same connection, before the answer.
            store.get("/").await?;
        }
        for _ in 0..4 {
            // Each event is handed on by a task, which was woken before this one.
            tokio::task::yield_now().await;
        }
        for Pair { step, embedded, remote, .. } in &mut self.watches {
            let (mut embedded, mut remote) = (events(embedded), events(remote));
            if !is_ordered {
                for events in [&mut embedded, &mut remote] {
                    events.sort_by(|one, other| one.path.cmp(&other.path));
                }
            }
            ensure!(embedded == remote, "{step:?}\nembedded: {embedded:?}\nZooKeeper: {remote:?}");
        }
        Ok(())
    }

    pub(crate) async fn compare_trees(&self) -> Result<()> {
        let embedded = nodes(&self.embedded).await?;
        let remote = nodes(&self.remote).await?;
        ensure!(embedded == remote, "embedded: {embedded:#?}\nZooKeeper: {remote:#?}");
        Ok(())
    }
}

fn events(watch: &mut Watch) -> Vec<WatchEvent> {
    std::iter::from_fn(|| watch.try_next()).collect()
}

fn who(step: &Step) -> Who {
    match step {
        Step::Get(who, ..)
        | Step::GetMany(who, ..)
        | Step::Exists(who, ..)
        | Step::Children(who, ..)
        | Step::GetAndWatch(who, ..)
        | Step::ExistsAndWatch(who, ..)
        | Step::ChildrenAndWatch(who, ..)
        | Step::Watch(who, ..)
        | Step::Create(who, ..)
        | Step::Set(who, ..)
        | Step::Delete(who, ..)
        | Step::Multi(who, ..) => *who,
        Step::DropWatch(_) | Step::Expire => 0,
    }
}

/// Does a step on one side.
async fn answer<S: Store>(step: &Step, stores: &[S], owners: &[i64]) -> Answered {
    let store = &stores[who(step)];
    let facts = |stat: &Stat| facts(stat, owners);
    match step {
        Step::Get(_, path) => {
            said(store.get(path).await.map(|(data, stat)| ((data, facts(&stat)), None)))
        }
        Step::GetMany(_, paths) => {
            let read = store.get_many(paths).await;
            let read = read.map(|nodes| {
                let words = nodes.into_iter().map(|node| match node {
                    Ok((data, stat)) => format!("{data:?} {:?}", facts(&stat)),
                    Err(error) => format!("{error:?}"),
                });
                (words.collect::<Vec<_>>(), None)
            });
            said(read)
        }
        Step::GetAndWatch(_, path) => {
            let read = store.get_and_watch(path).await;
            said(read.map(|(data, stat, watch)| ((data, facts(&stat)), Some(watch))))
        }
        Step::Exists(_, path) => {
            said(store.exists(path).await.map(|stat| (stat.as_ref().map(facts), None)))
        }
        Step::ExistsAndWatch(_, path) => {
            let read = store.exists_and_watch(path).await;
            said(read.map(|(stat, watch)| (stat.as_ref().map(facts), Some(watch))))
        }
        Step::Children(_, path) => said(store.children(path).await.map(|names| (names, None))),
        Step::ChildrenAndWatch(_, path) => {
            let read = store.children_and_watch(path).await;
            said(read.map(|(names, watch)| (names, Some(watch))))
        }
        Step::Watch(_, path, mode) => {
            said(store.watch(path, *mode).await.map(|watch| ((), Some(watch))))
        }
        Step::Create(_, path, data, mode) => {
            let created = store.create(path, data, *mode).await;
            said(created.map(|(path, stat)| ((path, facts(&stat)), None)))
        }
        Step::Set(_, path, data, version) => {
            said(store.set(path, data, *version).await.map(|stat| (facts(&stat), None)))
        }
        Step::Delete(_, path, version) => {
            said(store.delete(path, *version).await.map(|()| ((), None)))
        }
        Step::Multi(_, ops) => {
            let done = store.multi(ops.clone()).await;
            let done = done.map(|results| {
                let words = results.iter().map(|result| result_facts(result, owners));
                (words.collect::<Vec<_>>(), None)
            });
            said(done)
        }
        Step::DropWatch(_) | Step::Expire => (String::new(), None),
    }
}

fn said<T: std::fmt::Debug>(answer: Result<(T, Option<Watch>), StoreError>) -> Answered {
    match answer {
        Ok((answer, watch)) => (format!("{answer:?}"), watch),
        Err(error) => (format!("{error:?}"), None),
    }
}

fn result_facts(result: &OpResult, owners: &[i64]) -> (String, Option<Facts>) {
    match result {
        OpResult::Created { path, stat } => (path.clone(), Some(facts(stat, owners))),
        OpResult::Set { stat } => ("set".to_owned(), Some(facts(stat, owners))),
        OpResult::Deleted => ("deleted".to_owned(), None),
        OpResult::Checked => ("checked".to_owned(), None),
    }
}

fn facts(stat: &Stat, owners: &[i64]) -> Facts {
    Facts {
        version: stat.version,
        cversion: stat.cversion,
        owner: owners.iter().position(|owner| *owner == stat.ephemeral_owner),
        data_length: stat.data_length,
        num_children: stat.num_children,
        is_changed: stat.mzxid != stat.czxid,
    }
}

/// What a node is, with its transactions by their place among all that left a trace.
type Portrait = (Vec<u8>, Facts, [usize; 3]);

async fn nodes<S: Store>(stores: &[S]) -> Result<BTreeMap<String, Portrait>> {
    let owners: Vec<i64> = stores.iter().map(Store::session_id).collect();
    let mut found = BTreeMap::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let parent = if path == "/" { "" } else { path.as_str() };
        for name in stores[0].children(&path).await? {
            open.push(format!("{parent}/{name}"));
        }
        let node = stores[0].get(&path).await?;
        found.insert(path, node);
    }
    // The root was there before: its own transactions say nothing.
    let zxids = |stat: &Stat| [stat.czxid, stat.mzxid, stat.pzxid];
    let traces: BTreeSet<i64> = (found.iter())
        .filter(|(path, _)| *path != "/")
        .flat_map(|(_, (_, stat))| zxids(stat))
        .collect();
    let place = |zxid: i64| traces.iter().position(|trace| *trace == zxid).unwrap_or_default();
    let mut portraits = BTreeMap::new();
    for (path, (data, stat)) in found {
        let places = if path == "/" { [0; 3] } else { zxids(&stat).map(place) };
        let before = portraits.insert(path.clone(), (data, facts(&stat, &owners), places));
        ensure!(before.is_none(), "{path} twice");
    }
    portraits.get("/").context("no root")?;
    Ok(portraits)
}
