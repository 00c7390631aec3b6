//! Group commit: one thread a log directory makes appended bytes durable for everybody who waits.
//!
//! While one round of fdatasync runs, the next appends gather in the queue; the following round then
//! serves all of them, with one fdatasync for each file however many appends it took. So the price of
//! a sync is shared by as many as came during the last one, and nobody waits for a timer.
//!
//! A [`SyncPoint`] says "everything of this log up to here". It carries the segments that were rolled
//! since the last sync (oldest first), their indexes, and the directory if a file was created in it:
//! after its sync the log's recovery point may truthfully say `end_offset`.
//!
//! What waits is kept by log: the furthest point of each, and whom to tell. So the queue is no longer
//! than there are logs, [`Committer::submit`] never blocks, and a disk that no longer answers holds up
//! those who wait for it and nobody else. Syncs that nobody waits for come after all others.
//!
//! Errors: the first failed sync takes the directory offline, fails everything queued and everything
//! that comes later. A sync is never retried: the kernel reports a lost page once only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use broker_protocol::quantity::Offset;
use parking_lot::{Condvar, Mutex};

use crate::fs::{File, Fs, Open, lacks_descriptors};
use crate::offline::Offline;

/// How long the thread waits for a descriptor at a time: connections come and go by the second.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often it does: half a minute, for which clients wait by default.
const PATIENCE_COUNT: u32 = 600;

/// Who appends to a log, and is told on the commit thread how its syncs end. It must not block.
pub trait Synced: Send + Sync {
    /// Everything below the offset is durable, or the directory is offline.
    fn synced(&self, outcome: Result<Offset, CommitError>);
}

/// What runs on the commit thread, after the log's owner was told. It must not block.
pub type Callback = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// The bytes did not become durable, and the directory is offline.
#[derive(Debug, Clone, thiserror::Error)]
#[error("sync log directory {dir}", dir = dir.display())]
pub struct CommitError {
    /// The directory.
    pub dir: PathBuf,
    /// What the disk said first.
    #[source]
    pub source: Arc<io::Error>,
}

/// How much of one log is durable; shared by the log and the commit thread.
///
/// A log that is truncated starts a new one, so that syncs of cut bytes cannot move it.
#[derive(Debug)]
pub(crate) struct Flushed(AtomicI64);

impl Flushed {
    pub(crate) fn new(offset: Offset) -> Self {
        Self(AtomicI64::new(offset.0))
    }

    pub(crate) fn offset(&self) -> Offset {
        Offset(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn advance(&self, offset: Offset) {
        self.0.fetch_max(offset.0, Ordering::AcqRel);
    }
}

/// What must be synced for one segment.
pub(crate) struct SyncUnit {
    fs: Arc<dyn Fs>,
    dir: Arc<PathBuf>,
    file: Arc<dyn File>,
    flushed: Arc<Flushed>,
    /// Whether the names in `dir` are durable, this segment's among them.
    is_dir_synced: AtomicBool,
    /// Whether the file was cut and not synced since: then there is something to do though nothing was
    /// appended.
    owes_cut: AtomicBool,
    rest: Mutex<Rest>,
}

/// What a segment's sync must do before its own file. Empty most of the time.
#[derive(Default)]
struct Rest {
    /// The segment before, if it was rolled and not synced since.
    prior: Option<Arc<SyncUnit>>,
    /// The index and snapshot files that were finished when this segment was rolled.
    finished: Vec<PathBuf>,
}

impl fmt::Debug for SyncUnit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SyncUnit").field("file", &self.file).finish_non_exhaustive()
    }
}

impl SyncUnit {
    /// Describes a segment whose file may be new in its directory.
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        dir: Arc<PathBuf>,
        file: Arc<dyn File>,
        flushed: Arc<Flushed>,
        prior: Option<Arc<SyncUnit>>,
    ) -> Arc<Self> {
        let rest = Mutex::new(Rest { prior, finished: Vec::new() });
        let (is_dir_synced, owes_cut) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { fs, dir, file, flushed, is_dir_synced, owes_cut, rest })
    }

    /// Describes the same segment after its end was cut off: what it owed it owes still.
    pub(crate) fn after_cut(&self, flushed: Arc<Flushed>) -> Arc<Self> {
        let rest = std::mem::take(&mut *self.rest.lock());
        Arc::new(Self {
            fs: self.fs.clone(),
            dir: self.dir.clone(),
            file: self.file.clone(),
            flushed,
            is_dir_synced: AtomicBool::new(self.is_dir_synced.load(Ordering::Acquire)),
            owes_cut: AtomicBool::new(true),
            rest: Mutex::new(rest),
        })
    }

    /// Says that the file was cut.
    pub(crate) fn owing_a_cut(self: Arc<Self>) -> Arc<Self> {
        self.owes_cut.store(true, Ordering::Release);
        self
    }

    /// Returns whether everything below `end_offset` is durable, and so is the last cut.
    pub(crate) fn is_synced(&self, end_offset: Offset) -> bool {
        self.flushed.offset() >= end_offset && !self.owes_cut.load(Ordering::Acquire)
    }

    /// Adds files that the roll of this segment finished.
    pub(crate) fn finish(&self, files: Vec<PathBuf>) {
        self.rest.lock().finished.extend(files);
    }

    /// Makes this segment, and every rolled one before it, durable.
    fn sync(self: &Arc<Self>) -> io::Result<()> {
        let mut chain = vec![self.clone()];
        while let Some(prior) = chain.last().and_then(|unit| unit.rest.lock().prior.clone()) {
            chain.push(prior);
        }
        for unit in chain.iter().rev() {
            unit.sync_alone()?;
        }
        // Only now are the older ones done with: had one failed, the directory would be offline.
        self.rest.lock().prior = None;
        Ok(())
    }

    fn sync_alone(&self) -> io::Result<()> {
        let finished = std::mem::take(&mut self.rest.lock().finished);
        for path in finished {
            match patiently(|| self.fs.open(&path, Open::Write)) {
                Ok(file) => file.sync_data()?,
                // Retention removed the segment in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.file.sync_data()?;
        self.owes_cut.store(false, Ordering::Release);
        if !self.is_dir_synced.load(Ordering::Acquire) {
            match patiently(|| self.fs.sync_dir(&self.dir)) {
                Ok(()) => {}
                // The partition was deleted in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.is_dir_synced.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// Tries again what found no descriptor, for some [`PATIENCE_COUNT`] times [`PATIENCE`]: nothing was
/// synced then, so there is an answer to hope for.
fn patiently<T>(attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..PATIENCE_COUNT {
        match attempt() {
            Err(error) if lacks_descriptors(&error) => std::thread::park_timeout(PATIENCE),
            done => return done,
        }
    }
    attempt()
}

/// A place in a log that shall become durable, with everything before it.
#[derive(Debug, Clone)]
pub struct SyncPoint {
    pub(crate) unit: Arc<SyncUnit>,
    /// Exclusive: the recovery point after the sync.
    pub(crate) end_offset: Offset,
}

impl SyncPoint {
    /// Returns the offset (exclusive) up to which the log is durable after the sync.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Returns a number that is one log's for as long as the point lives.
    fn log(&self) -> usize {
        Arc::as_ptr(&self.unit.flushed).addr()
    }

    /// Takes in another point of the same log. Points arrive in any order, since they are queued outside
    /// the lock under which the log handed them out; the furthest stands for all.
    fn further(&mut self, other: SyncPoint) {
        if other.end_offset >= self.end_offset {
            *self = other;
        }
    }

    /// Syncs on the calling thread. Whoever calls it takes the directory offline if it fails.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.unit.sync()?;
        self.unit.flushed.advance(self.end_offset);
        Ok(())
    }
}

/// The commit thread of one log directory.
#[derive(Debug)]
pub struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    offline: Offline,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("offline", &self.offline).finish_non_exhaustive()
    }
}

/// What the thread has still to do, by [`SyncPoint::log`].
#[derive(Default)]
struct Queue {
    waiting: HashMap<usize, Waiting>,
    /// Points that nobody waits for.
    write_backs: HashMap<usize, SyncPoint>,
    /// How many appends `waiting` stands for.
    append_count: usize,
    is_closed: bool,
}

/// The sync that those who wait for one log need.
struct Waiting {
    /// Which came first is synced first.
    place: usize,
    point: SyncPoint,
    owner: Arc<dyn Synced>,
    callbacks: Vec<Callback>,
}

impl Committer {
    /// Starts the thread of a directory.
    ///
    /// # Errors
    /// The operating system's, if it has no thread to give.
    pub fn start(offline: Offline) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), arrived: Condvar::new(), offline });
        let runner = shared.clone();
        let thread = std::thread::Builder::new()
            .name("log-commit".to_owned())
            .spawn(move || runner.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a sync of a log; its one `owner` is told on the commit thread, once for all points that
    /// came until then.
    ///
    /// Never blocks. If the directory is offline already, it is told at once on the calling thread.
    pub fn submit(&self, point: SyncPoint, owner: Arc<dyn Synced>) {
        self.add(point, owner, None);
    }

    /// As [`Committer::submit`]; `callback` runs after the owner was told, exactly once.
    pub fn submit_and(&self, point: SyncPoint, owner: Arc<dyn Synced>, callback: Callback) {
        self.add(point, owner, Some(callback));
    }

    fn add(&self, point: SyncPoint, owner: Arc<dyn Synced>, callback: Option<Callback>) {
        let callbacks = callback.into_iter().collect();
        let mut queue = self.shared.queue.lock();
        let waiting = Waiting { place: queue.waiting.len(), point, owner, callbacks };
        if let Some(source) = self.shared.offline.error() {
            drop(queue);
            return waiting.tell(&Err(self.shared.error(source)));
        }
        queue.append_count += 1;
        match queue.waiting.entry(waiting.point.log()) {
            Entry::Vacant(vacant) => _ = vacant.insert(waiting),
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.point.further(waiting.point);
                known.callbacks.extend(waiting.callbacks);
            }
        }
        drop(queue);
        self.shared.arrived.notify_one();
    }

    /// Queues a sync that nobody waits for, so that dirty pages leave early and evenly.
    pub fn write_back(&self, point: SyncPoint) {
        let mut queue = self.shared.queue.lock();
        if self.shared.offline.is_offline() {
            return;
        }
        match queue.write_backs.entry(point.log()) {
            Entry::Vacant(vacant) => _ = vacant.insert(point),
            Entry::Occupied(mut known) => known.get_mut().further(point),
        }
        drop(queue);
        self.shared.arrived.notify_one();
    }

    /// Returns how many appends wait for a sync to begin.
    pub fn queue_count(&self) -> usize {
        self.shared.queue.lock().append_count
    }
}

impl Drop for Committer {
    /// Serves what is queued, then ends the thread.
    fn drop(&mut self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.arrived.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the commit thread ended by a panic");
        }
    }
}

impl Waiting {
    fn tell(self, outcome: &Result<(), CommitError>) {
        self.owner.synced(outcome.clone().map(|()| self.point.end_offset));
        for callback in self.callbacks {
            callback(outcome.clone());
        }
    }
}

impl Shared {
    fn error(&self, source: Arc<io::Error>) -> CommitError {
        CommitError { dir: self.offline.dir().to_owned(), source }
    }

    fn run(&self) {
        let mut round = Vec::new();
        loop {
            let mut queue = self.queue.lock();
            while queue.waiting.is_empty() {
                if let Some(log) = queue.write_backs.keys().next().copied() {
                    let point = queue.write_backs.remove(&log);
                    drop(queue);
                    // A failure is told to those who come later: the directory is offline.
                    _ = point.map(|point| self.sync(&point));
                    queue = self.queue.lock();
                } else if queue.is_closed {
                    return;
                } else {
                    self.arrived.wait(&mut queue);
                }
            }
            round.extend(queue.waiting.drain().map(|(_, waiting)| waiting));
            queue.append_count = 0;
            drop(queue);
            round.sort_unstable_by_key(|waiting| waiting.place);
            for waiting in round.drain(..) {
                let outcome = self.sync(&waiting.point);
                waiting.tell(&outcome);
            }
        }
    }

    fn sync(&self, point: &SyncPoint) -> Result<(), CommitError> {
        if let Some(source) = self.offline.error() {
            return Err(self.error(source));
        }
        if point.unit.is_synced(point.end_offset) {
            return Ok(());
        }
        point.sync().map_err(|error| self.error(self.offline.take_offline(Arc::new(error))))
    }
}

#[cfg(test)]
mod tests;
