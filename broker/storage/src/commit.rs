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
//! The queue holds [`QUEUE_COUNT_MAX`] waiters; [`Committer::submit`] blocks beyond that.
//!
//! Errors: the first failed sync takes the directory offline, fails everything queued and everything
//! that comes later. A sync is never retried: the kernel reports a lost page once only.

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

/// The most waiters that queue. More than any broker has requests in flight, so that a full queue means
/// a disk that no longer answers; at some 100 bytes each it bounds the memory to a few MiB.
pub const QUEUE_COUNT_MAX: usize = 32_768;

/// How long the thread waits for a descriptor at a time: connections come and go by the second.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often it does: half a minute, for which clients wait by default.
const PATIENCE_COUNT: u32 = 600;

/// What runs on the commit thread once the bytes are durable or never will be. It must not block.
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
        Arc::new(Self { fs, dir, file, flushed, is_dir_synced: AtomicBool::new(false), rest })
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
    drained: Condvar,
    offline: Offline,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("offline", &self.offline).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(SyncPoint, Option<Callback>)>,
    is_closed: bool,
}

impl Committer {
    /// Starts the thread of a directory.
    ///
    /// # Errors
    /// The operating system's, if it has no thread to give.
    pub fn start(offline: Offline) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            drained: Condvar::new(),
            offline,
        });
        let runner = shared.clone();
        let thread = std::thread::Builder::new()
            .name("log-commit".to_owned())
            .spawn(move || runner.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a sync; `callback` runs on the commit thread, exactly once.
    ///
    /// Blocks while the queue is full. If the directory is offline already, the callback runs at once
    /// on the calling thread.
    pub fn submit(&self, point: SyncPoint, callback: Callback) {
        let mut queue = self.shared.queue.lock();
        while queue.waiting.len() >= QUEUE_COUNT_MAX && !queue.is_closed {
            self.shared.drained.wait(&mut queue);
        }
        if let Some(source) = self.shared.offline.error() {
            drop(queue);
            return callback(Err(self.shared.error(source)));
        }
        queue.waiting.push((point, Some(callback)));
        self.shared.wake(queue);
    }

    /// Queues a sync that nobody waits for, so that dirty pages leave early and evenly.
    ///
    /// Never blocks: with a full queue the disk is busy writing anyway, and the request is dropped.
    pub fn write_back(&self, point: SyncPoint) {
        let mut queue = self.shared.queue.lock();
        if queue.waiting.len() < QUEUE_COUNT_MAX && !self.shared.offline.is_offline() {
            queue.waiting.push((point, None));
            self.shared.wake(queue);
        }
    }

    /// Returns how many syncs wait.
    pub fn queue_count(&self) -> usize {
        self.shared.queue.lock().waiting.len()
    }
}

impl Drop for Committer {
    /// Serves what is queued, then ends the thread.
    fn drop(&mut self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.arrived.notify_all();
        self.shared.drained.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the commit thread ended by a panic");
        }
    }
}

impl Shared {
    fn error(&self, source: Arc<io::Error>) -> CommitError {
        CommitError { dir: self.offline.dir().to_owned(), source }
    }

    fn wake(&self, queue: parking_lot::MutexGuard<'_, Queue>) {
        let is_first = queue.waiting.len() == 1;
        drop(queue);
        // The thread sleeps only with an empty queue, so nobody but the first needs to wake it.
        if is_first {
            self.arrived.notify_one();
        }
    }

    fn run(&self) {
        let mut batch = Vec::new();
        loop {
            let mut queue = self.queue.lock();
            while queue.waiting.is_empty() {
                if queue.is_closed {
                    return;
                }
                self.arrived.wait(&mut queue);
            }
            std::mem::swap(&mut batch, &mut queue.waiting);
            drop(queue);
            self.drained.notify_all();
            self.serve(&mut batch);
        }
    }

    /// Syncs each segment of the batch once and answers everybody.
    fn serve(&self, batch: &mut Vec<(SyncPoint, Option<Callback>)>) {
        let mut outcome = match self.offline.error() {
            Some(source) => Err(self.error(source)),
            None => Ok(()),
        };
        // The same segment side by side, and of those the furthest offset last: points arrive in any
        // order, since they are queued outside the lock under which the log handed them out.
        batch.sort_by_key(|(point, _)| (Arc::as_ptr(&point.unit).addr(), point.end_offset));
        let mut rest = batch.drain(..).peekable();
        let mut same = Vec::new();
        while let Some((point, callback)) = rest.next() {
            same.extend(callback);
            if rest.peek().is_some_and(|(next, _)| Arc::ptr_eq(&next.unit, &point.unit)) {
                continue;
            }
            if outcome.is_ok()
                && let Err(error) = point.sync()
            {
                let source = self.offline.take_offline(Arc::new(error));
                outcome = Err(self.error(source));
            }
            for callback in same.drain(..) {
                callback(outcome.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fs::faulty::FaultyFs;

    #[test]
    fn one_sync_serves_the_furthest_point_whatever_the_order_they_came_in() {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        let file = fs.open(Path::new("/log"), Open::Create).unwrap();
        let flushed = Arc::new(Flushed::new(Offset(0)));
        let dir = Arc::new(PathBuf::from("/"));
        let unit = SyncUnit::new(fs, dir, file, flushed.clone(), None);
        let shared = Shared {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            drained: Condvar::new(),
            offline: Offline::new(Path::new("/")),
        };
        let point = |end| (SyncPoint { unit: unit.clone(), end_offset: Offset(end) }, None);
        shared.serve(&mut vec![point(1), point(3), point(2)]);
        assert_eq!(flushed.offset(), Offset(3));
    }
}
