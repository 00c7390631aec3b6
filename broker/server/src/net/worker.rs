//! The network threads: each runs one single-threaded runtime, and a connection stays on one of
//! them for life, so that no request is ever handed between threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Threads of one worker that wait for cold pages; each waits for the disk most of its time.
const COLD_READ_THREADS: usize = 8;

/// The network threads of the process.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    load: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// One connection's share of a worker; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts `count` threads (`num.network.threads`).
    ///
    /// # Errors
    /// When the system gives no thread or no poller.
    pub fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let workers =
            (0..count.max(1)).map(|n| Worker::start(n, &stop)).collect::<io::Result<_>>()?;
        Ok(Self { workers, stop })
    }

    /// Picks the worker with the fewest connections and counts one more for it; returns its number
    /// too.
    pub(crate) fn least_loaded(&self) -> (usize, Handle, Load) {
        let load = |worker: &Worker| worker.load.load(Ordering::Relaxed);
        let mut least = 0;
        for (number, worker) in self.workers.iter().enumerate().skip(1) {
            if load(worker) < load(&self.workers[least]) {
                least = number;
            }
        }
        let worker = &self.workers[least];
        worker.load.fetch_add(1, Ordering::Relaxed);
        (least, worker.handle.clone(), Load(Arc::clone(&worker.load)))
    }

    /// Returns the runtimes of the threads, in order.
    pub fn runtimes(&self) -> Vec<Handle> {
        self.workers.iter().map(|worker| worker.handle.clone()).collect()
    }

    /// Returns the number of connections of each worker.
    pub fn loads(&self) -> Vec<usize> {
        self.workers.iter().map(|worker| worker.load.load(Ordering::Relaxed)).collect()
    }

    /// Ends the threads; tasks that still run on them are dropped.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker that panicked has already said so.
                let _ = thread.join();
            }
        }
    }
}

impl Worker {
    fn start(n: usize, stop: &CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(COLD_READ_THREADS)
            .thread_name(format!("net-{n}-cold"))
            .build()?;
        let handle = runtime.handle().clone();
        let stop = stop.clone();
        let thread = std::thread::Builder::new().name(format!("net-{n}")).spawn(move || {
            runtime.block_on(stop.cancelled());
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, load: Arc::default(), thread: Some(thread) })
    }
}
