//! Ends what a start has made, however far it came: answers in progress, then logs, then the session, so
//! that the broker is gone for the others only when its logs are closed.
//!
//! Each step waits for a while at most, so that a stop ends; only the disk is waited for. Who is in haste
//! waits for nobody but the disk.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::remote::Connection;
use broker_zookeeper::sessions::Sessions;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::DRAIN;
use crate::context::Context;
use crate::control;
use crate::group::coordinator;
use crate::replica::fetcher;

/// What is waited for once all were told to end: whoever answers clients, or changes logs.
const WAITED_FOR: [&str; 6] =
    ["listener", "connection", "cleaner", control::TASK, fetcher::TASK, coordinator::TASK];

/// How long the tree has to end the session where the process is to end at once.
const IN_HASTE: Duration = Duration::from_millis(500);

/// What a start has made so far.
#[derive(Default)]
pub(super) struct Made {
    pub(super) sessions: OnceLock<Arc<Sessions>>,
    pub(super) context: OnceLock<Arc<Context>>,
}

impl Made {
    /// Ends it, as a stop does.
    pub(super) async fn end(&self) {
        let haste = CancellationToken::new();
        if let Some(context) = self.context.get() {
            close_logs(context, &haste).await;
        }
        if let Some(sessions) = self.sessions.get() {
            close_session(sessions, &haste).await;
        }
    }
}

/// Waits for `wanted`, unless the stop is in haste.
pub(super) async fn unless<T>(
    haste: &CancellationToken,
    wanted: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = haste.cancelled() => None,
        done = wanted => Some(done),
    }
}

/// Has every task end, and nobody wait for what does not come any more, then closes the logs, so that the next
/// start reads nothing twice.
pub(super) async fn close_logs(context: &Context, haste: &CancellationToken) {
    let tasks = &context.tasks;
    tasks.shutdown();
    let replicas = Arc::clone(&context.replicas);
    let left = tokio::task::spawn_blocking(move || replicas.leave_to_others());
    let drained = async {
        let limit = DRAIN + Duration::from_secs(1);
        let ended = async {
            for task in WAITED_FOR {
                tasks.drain(task, limit).await;
            }
        };
        tokio::join!(left, tokio::time::timeout(limit, ended))
    };
    let was_patient = unless(haste, drained).await.is_some();
    for (task, left) in tasks.running() {
        if was_patient && WAITED_FOR.contains(&task) {
            warn!(task, left, "still running; ended with the process");
        }
    }
    let broker_epoch = context.broker_epoch.load(Ordering::Acquire);
    let replicas = Arc::clone(&context.replicas);
    let closed = tokio::task::spawn_blocking(move || replicas.close(broker_epoch)).await;
    if let Err(error) = closed {
        error!(%error, "logs are not closed; the next start recovers them");
    }
}

/// Ends the session in order, if the tree answers.
pub(super) async fn close_session(sessions: &Sessions, haste: &CancellationToken) {
    let answers = sessions.connection() == Connection::Connected;
    let limit = if answers && !haste.is_cancelled() { DRAIN } else { IN_HASTE };
    if tokio::time::timeout(limit, sessions.close()).await.is_err() {
        warn!("the coordination tree does not answer; the session ends by itself");
    }
}

/// Ends a tree that lives in this process.
pub(super) async fn close_tree(tree: &EmbeddedTree) {
    if tokio::time::timeout(DRAIN, tree.close()).await.is_err() {
        warn!("the coordination tree's disk does not answer; the tree ends with the process");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_in_haste_waits_for_nobody() {
        let haste = CancellationToken::new();
        assert_eq!(unless(&haste, async { 1 }).await, Some(1));
        haste.cancel();
        assert_eq!(unless(&haste, std::future::pending::<()>()).await, None);
    }
}
