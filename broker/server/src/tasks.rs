//! Every task of the process is spawned here, by name, so that shutdown can say what still runs.
//!
//! Two phases: `shutdown` tells tasks to end by themselves; `drain` waits for them until a
//! deadline and names the ones that are left.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The process's tasks. Cheap to clone; all clones are one set.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    shutdown: CancellationToken,
    failure: CancellationToken,
    /// How many tasks of each name run. One short lock, taken at spawn and end only.
    running: Mutex<BTreeMap<&'static str, usize>>,
    ended: Notify,
}

impl Tasks {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the token that is cancelled when the process is to end.
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shared.shutdown.clone()
    }

    /// Says that the process cannot go on; whoever runs it stops it.
    pub fn fail(&self) {
        self.shared.failure.cancel();
    }

    /// Waits until the process cannot go on. Cancel-safe.
    pub async fn failed(&self) {
        self.shared.failure.cancelled().await;
    }

    /// Spawns `task` on the runtime of `handle`.
    pub fn spawn_on<F>(&self, handle: &Handle, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = Running::enter(&self.shared, name);
        handle.spawn(async move {
            task.await;
            drop(guard);
        });
    }

    /// Spawns `task` on the runtime that the caller runs on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), name, task);
    }

    /// Runs what waits for the disk where nothing else waits for it. It counts as a task of this name: it goes on
    /// where the task that waits for it is dropped.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let guard = Running::enter(&self.shared, name);
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(guard);
            done
        })
    }

    /// Tells every task to end.
    pub fn shutdown(&self) {
        self.shared.shutdown.cancel();
    }

    /// Waits until no task named `name` runs, at most for `limit`; returns how many still do.
    pub async fn drain(&self, name: &'static str, limit: Duration) -> usize {
        let gone = async {
            loop {
                let ended = self.shared.ended.notified();
                if self.count(name) == 0 {
                    return;
                }
                ended.await;
            }
        };
        let _ = tokio::time::timeout(limit, gone).await;
        self.count(name)
    }

    /// Returns the names of the tasks that run, with how many of each.
    pub fn running(&self) -> Vec<(&'static str, usize)> {
        self.shared.running.lock().iter().map(|(name, count)| (*name, *count)).collect()
    }

    fn count(&self, name: &'static str) -> usize {
        self.shared.running.lock().get(name).copied().unwrap_or(0)
    }
}

/// Counts a task for as long as it lives, also when it is dropped half-way.
struct Running {
    shared: Arc<Shared>,
    name: &'static str,
}

impl Running {
    fn enter(shared: &Arc<Shared>, name: &'static str) -> Self {
        *shared.running.lock().entry(name).or_insert(0) += 1;
        Self { shared: Arc::clone(shared), name }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.shared.running.lock();
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
        drop(running);
        if std::thread::panicking() {
            // Nobody does its work any more: as in a build that ends at once.
            tracing::error!(task = self.name, "a task panicked: the process cannot go on");
            self.shared.failure.cancel();
        }
        self.shared.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process in which a task panicked does not go on without it.
    #[tokio::test]
    async fn a_task_that_panics_ends_the_process() {
        let tasks = Tasks::new();
        tasks.spawn("fetcher", async { panic!("planted") });
        tasks.failed().await;
        assert_eq!(tasks.drain("fetcher", Duration::from_secs(5)).await, 0);
    }

    /// Who is waited for has not ended while a thread does its work.
    #[tokio::test]
    async fn work_on_another_thread_is_waited_for() {
        let tasks = Tasks::new();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        // Nobody waits for it any more.
        drop(tasks.spawn_blocking("control", move || ended.recv().is_err()));
        assert_eq!(tasks.drain("control", Duration::from_millis(10)).await, 1);
        drop(end);
        assert_eq!(tasks.drain("control", Duration::from_secs(5)).await, 0);
    }

    /// A task that ends leaves the set; one that does not is named.
    #[tokio::test]
    async fn drain_names_what_still_runs() {
        let tasks = Tasks::new();
        let token = tasks.shutdown_token();
        tasks.spawn("polite", async move { token.cancelled().await });
        tasks.spawn("stubborn", std::future::pending());
        tasks.shutdown();
        assert_eq!(tasks.drain("polite", Duration::from_secs(5)).await, 0);
        assert_eq!(tasks.drain("stubborn", Duration::from_millis(1)).await, 1);
        assert_eq!(tasks.running(), vec![("stubborn", 1)]);
    }
}
