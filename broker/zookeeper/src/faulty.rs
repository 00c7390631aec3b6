//! A store with the faults of a bad network around another, for tests of those who use one.
//!
//! With a given probability an answer is lost: the caller gets [`StoreError::ConnectionLoss`], and
//! whether the operation was done is drawn too. Watch events can be dropped without a trace, and
//! answers delayed, watches refused, and a connection can be lost and found. Everything is decided by the seed and the order of the calls. The end of the
//! session is never hidden. What this does not do: a write that is done only after later reads.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::store::{
    Answer, CreateMode, EventKind, NodeRead, Op, OpResult, Stat, Store, StoreError, Watch,
    WatchEvent, WatchMode,
};

/// What goes wrong, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Decides all that follows.
    pub seed: u64,
    /// The share of answers that are lost, 0 to 1.
    pub lost_answers: f64,
    /// The share of watch events that are dropped, 0 to 1.
    pub dropped_events: f64,
    /// The longest that an answer is late; they are from at once to this.
    pub latest_answer: Duration,
    /// How many lasting watches are refused, but for those of the root.
    pub refused_watches: u32,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        seed: 0,
        lost_answers: 0.0,
        dropped_events: 0.0,
        latest_answer: Duration::ZERO,
        refused_watches: 0,
    };
}

/// A session of another store, seen through faults.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    faults: Faults,
    random: Mutex<fastrand::Rng>,
    is_calm: AtomicBool,
    refused_watches: AtomicU32,
    /// Counts the times that the connection was found again.
    reconnects: watch::Sender<u64>,
}

/// What becomes of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    DoneButLost,
    NeverDone,
}

impl Shared {
    fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn happens(&self, share: f64) -> bool {
        !self.is_calm.load(Ordering::Relaxed) && self.draw(|random| random.f64() < share)
    }

    fn refuses_watch(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        let counted =
            self.refused_watches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        counted.is_ok()
    }

    fn fate(&self) -> Fate {
        if !self.happens(self.faults.lost_answers) {
            Fate::Answered
        } else if self.draw(fastrand::Rng::bool) {
            Fate::DoneButLost
        } else {
            Fate::NeverDone
        }
    }
}

impl FaultyStore {
    /// Puts `faults` around a session.
    pub fn new(inner: Arc<dyn Store>, faults: Faults) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(faults.seed));
        let (is_calm, reconnects) = (false.into(), watch::Sender::default());
        let refused_watches = faults.refused_watches.into();
        let faults = Shared { faults, random, is_calm, refused_watches, reconnects };
        Self { inner, faults: Arc::new(faults) }
    }

    /// Says on every lasting watch that the connection was lost and found; one for one event hears nothing of
    /// it, for the client sets it again by itself.
    pub fn reconnect(&self) {
        self.faults.reconnects.send_modify(|count| *count += 1);
    }

    /// Returns how many lasting watches there are.
    pub fn lasting_watches(&self) -> usize {
        self.faults.reconnects.receiver_count()
    }

    /// Ends the faults, for good: what was dropped stays so.
    pub fn calm_down(&self) {
        self.faults.is_calm.store(true, Ordering::Relaxed);
    }

    async fn pass<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let latest = self.faults.faults.latest_answer;
        if !latest.is_zero() && !self.faults.is_calm.load(Ordering::Relaxed) {
            tokio::time::sleep(latest.mul_f64(self.faults.draw(fastrand::Rng::f64))).await;
        }
        match self.faults.fate() {
            Fate::Answered => operation.await,
            Fate::NeverDone => Err(StoreError::ConnectionLoss),
            Fate::DoneButLost => match operation.await {
                Err(StoreError::SessionExpired) => Err(StoreError::SessionExpired),
                Ok(_) | Err(_) => Err(StoreError::ConnectionLoss),
            },
        }
    }

    /// A watch that says what `watch` does, but for what is dropped, and if it lasts that the connection was
    /// lost.
    #[allow(clippy::disallowed_methods, reason = "it ends with the watch, which the caller owns")]
    fn leaky(&self, mut watch: Watch, is_lasting: bool) -> Watch {
        let (events, receiver) = mpsc::unbounded_channel();
        let faults = Arc::clone(&self.faults);
        let mut reconnects = is_lasting.then(|| faults.reconnects.subscribe());
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    () = events.closed() => return,
                    () = changed(&mut reconnects) => {
                        let missed = WatchEvent { kind: EventKind::Missed, path: String::new() };
                        // Nobody may be left to hear it.
                        let _ = events.send(missed);
                        continue;
                    }
                    event = watch.next() => event,
                };
                // The end of the channel says that the session is over.
                if event.kind == EventKind::SessionExpired {
                    return;
                }
                if !faults.happens(faults.faults.dropped_events) && events.send(event).is_err() {
                    return;
                }
            }
        });
        Watch::new(receiver)
    }
}

/// Waits for the next count; for ever where there is none.
async fn changed(counts: &mut Option<watch::Receiver<u64>>) {
    if let Some(counts) = counts
        && counts.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

impl Store for FaultyStore {
    fn session_id(&self) -> i64 {
        self.inner.session_id()
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        mode: CreateMode,
    ) -> Answer<'a, (String, Stat)> {
        Box::pin(self.pass(self.inner.create(path, data, mode)))
    }

    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat)> {
        Box::pin(self.pass(self.inner.get(path)))
    }

    fn get_many<'a>(&'a self, paths: &'a [String]) -> Answer<'a, Vec<NodeRead>> {
        Box::pin(self.pass(self.inner.get_many(paths)))
    }

    fn get_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat, Watch)> {
        Box::pin(async move {
            let (data, stat, watch) = self.pass(self.inner.get_and_watch(path)).await?;
            Ok((data, stat, self.leaky(watch, false)))
        })
    }

    fn exists<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Stat>> {
        Box::pin(self.pass(self.inner.exists(path)))
    }

    fn exists_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Option<Stat>, Watch)> {
        Box::pin(async move {
            let (stat, watch) = self.pass(self.inner.exists_and_watch(path)).await?;
            Ok((stat, self.leaky(watch, false)))
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<String>> {
        Box::pin(self.pass(self.inner.children(path)))
    }

    fn children_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<String>, Watch)> {
        Box::pin(async move {
            let (names, watch) = self.pass(self.inner.children_and_watch(path)).await?;
            Ok((names, self.leaky(watch, false)))
        })
    }

    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> Answer<'a, Stat> {
        Box::pin(self.pass(self.inner.set(path, data, version)))
    }

    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> Answer<'a, ()> {
        Box::pin(self.pass(self.inner.delete(path, version)))
    }

    fn multi(&self, ops: Vec<Op>) -> Answer<'_, Vec<OpResult>> {
        Box::pin(self.pass(self.inner.multi(ops)))
    }

    fn sync<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        Box::pin(self.pass(self.inner.sync(path)))
    }

    fn watch<'a>(&'a self, path: &'a str, mode: WatchMode) -> Answer<'a, Watch> {
        Box::pin(async move {
            if path != "/" && self.faults.refuses_watch() {
                return Err(StoreError::NoPermission { path: path.to_owned() });
            }
            let watch = self.pass(self.inner.watch(path, mode)).await?;
            Ok(self.leaky(watch, true))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedTree;
    use crate::settle::{self, Outcome};

    /// Sets the node to one more than its version says, once, whatever becomes of answers.
    async fn count(store: &dyn Store, path: &str) {
        loop {
            let Ok((_, stat)) = store.get(path).await else { continue };
            let data = (stat.version + 1).to_string();
            match store.set(path, data.as_bytes(), Some(stat.version)).await {
                Ok(_) => return,
                Err(StoreError::ConnectionLoss) => {
                    let settled = settle::replaced(store, path, data.as_bytes(), stat.version);
                    if let Outcome::Done(_) = settled.await.unwrap() {
                        return;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// With settled losses each write is done once, though almost one in three was unclear.
    #[tokio::test]
    async fn what_is_settled_is_done_once() {
        let tree = EmbeddedTree::in_memory();
        let inner = tree.session().await;
        inner.create("/n", b"0", CreateMode::Persistent).await.unwrap();
        let faults = Faults { seed: 7, lost_answers: 0.3, ..Faults::NONE };
        let store = FaultyStore::new(Arc::new(inner), faults);
        for _ in 0..300 {
            count(&store, "/n").await;
        }
        store.calm_down();
        let (data, stat) = store.get("/n").await.unwrap();
        assert_eq!((data.as_slice(), stat.version), (b"300".as_slice(), 300));
    }

    /// Events are dropped, the end of the session is not.
    #[tokio::test]
    async fn the_end_of_the_session_is_always_seen() {
        let tree = EmbeddedTree::in_memory();
        let inner = Arc::new(tree.session().await);
        let faults = Faults { seed: 7, dropped_events: 0.5, ..Faults::NONE };
        let store = FaultyStore::new(inner, faults);
        let mut watch = store.watch("/", WatchMode::PersistentRecursive).await.unwrap();
        for number in 0..100 {
            store.create(&format!("/{number}"), b"", CreateMode::Persistent).await.unwrap();
        }
        tree.expire(store.session_id()).await;
        let mut seen = 0;
        while watch.next().await.kind != EventKind::SessionExpired {
            seen += 1;
        }
        assert!((10..90).contains(&seen), "{seen}");
        assert_eq!(store.get("/").await.unwrap_err(), StoreError::SessionExpired);
    }
}
