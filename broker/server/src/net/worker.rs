//! The network threads: each runs one single-threaded runtime. A connection lives on one of them, so
//! that no request is ever handed between threads; between two requests it may move.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use super::placement::{Placement, Seat, Worked};

/// Threads of one worker that wait for cold pages, for a sync or for a name; each waits most of its time, and ends
/// where nothing is to be done. Enough that those who wait for a disk that hangs leave some to the others: most
/// connections may live on one worker.
const WAITING_THREADS: usize = 64;

/// The network threads of the process.
#[derive(Debug)]
pub struct Workers {
    places: Arc<Places>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

/// Which connection lives on which thread. Shared by the connections; the lock is short, and taken a few
/// times a second by each that serves.
#[derive(Debug)]
pub(crate) struct Places {
    runtimes: Vec<Handle>,
    placement: Mutex<Placement>,
}

impl Workers {
    /// Starts `count` threads (`num.network.threads`).
    ///
    /// # Errors
    /// When the system gives no thread or no poller.
    pub fn start(count: usize, now: Instant) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let started = (0..count.max(1)).map(|n| start(n, &stop)).collect::<io::Result<Vec<_>>>()?;
        let (runtimes, threads): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        let placement = Mutex::new(Placement::new(runtimes.len(), now));
        Ok(Self { places: Arc::new(Places { runtimes, placement }), threads, stop })
    }

    /// Returns who says where connections live.
    pub(crate) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }

    /// Returns the runtimes of the threads, in order.
    pub fn runtimes(&self) -> Vec<Handle> {
        self.places.runtimes.clone()
    }

    /// Ends the threads; tasks that still run on them are dropped.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            // A worker that panicked has already said so.
            let _ = thread.join();
        }
    }
}

impl Places {
    /// Returns a place for a new connection.
    pub(crate) fn seat(&self, now: Instant) -> Seat {
        self.look(now).seat(now)
    }

    /// Returns whether the connection of `seat`, which serves, is to go to another thread, which its seat
    /// then names.
    pub(crate) fn moves(&self, seat: &mut Seat, now: Instant) -> bool {
        seat.is_due(now) && self.look(now).moves(seat, now)
    }

    /// Returns the runtime of the thread of `seat`.
    pub(crate) fn runtime(&self, seat: &Seat) -> &Handle {
        &self.runtimes[seat.thread]
    }

    fn look(&self, now: Instant) -> parking_lot::MutexGuard<'_, Placement> {
        let mut placement = self.placement.lock();
        if placement.is_over(now) {
            let worked = |runtime: &Handle| {
                let metrics = runtime.metrics();
                let time = metrics.worker_total_busy_duration(0);
                Worked { time, waits: metrics.worker_park_unpark_count(0) }
            };
            placement.turn(now, self.runtimes.iter().map(worked));
        }
        placement
    }
}

fn start(n: usize, stop: &CancellationToken) -> io::Result<(Handle, JoinHandle<()>)> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WAITING_THREADS)
        .thread_name(format!("net-{n}-cold"))
        .build()?;
    let handle = runtime.handle().clone();
    let stop = stop.clone();
    let thread = std::thread::Builder::new().name(format!("net-{n}")).spawn(move || {
        runtime.block_on(stop.cancelled());
        runtime.shutdown_background();
    })?;
    Ok((handle, thread))
}
