//! Tells the controller that it should ask again which replicas are here: after a log directory failed,
//! since others must lead what is in it, and after logs could not be created in one that works, since
//! they may be created once its disk has room again.
//!
//! The event says only who tells it; the controller answers with a LeaderAndIsr of all our replicas.
//! Source: Kafka 3.9 `ReplicaManager.handleLogDirFailure`, `KafkaController.processLogDirEventNotification`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::manager::Manager;

/// Writes an event; returns whether it was heard.
pub type Tell = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// How long an event that was not heard is kept.
const RETRY: Duration = Duration::from_millis(50);

/// How long a disk that had no room is left alone: what the controller answers names every replica.
const ROOM: Duration = Duration::from_secs(10);

/// Tells until `shutdown`.
pub async fn run(replicas: Arc<Manager>, tell: Tell, shutdown: CancellationToken) {
    let telling = tell_of(replicas.failed_dirs(), replicas.uncreated(), tell);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = telling => {}
    }
}

async fn tell_of(
    mut failed: watch::Receiver<usize>,
    mut uncreated: watch::Receiver<usize>,
    tell: Tell,
) {
    // Those of the start were there before anyone looked.
    for counted in [&mut failed, &mut uncreated] {
        if *counted.borrow() > 0 {
            counted.mark_changed();
        }
    }
    loop {
        tokio::select! {
            changed = failed.changed() => if changed.is_err() { return },
            // A wait that a failure cuts short is over: the answer to that asks for the same logs.
            () = has_room(&mut uncreated) => {}
        }
        while !tell().await {
            sleep(RETRY).await;
        }
    }
}

async fn has_room(uncreated: &mut watch::Receiver<usize>) {
    if uncreated.changed().await.is_err() {
        return std::future::pending().await;
    }
    sleep(ROOM).await;
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    struct Told {
        failed: watch::Sender<usize>,
        uncreated: watch::Sender<usize>,
        at: mpsc::UnboundedReceiver<Instant>,
    }

    /// An ear that hears every second time.
    fn listen(failed_before: usize) -> Told {
        let (failed, uncreated) = (watch::Sender::new(failed_before), watch::Sender::new(0));
        let (heard, at) = mpsc::unbounded_channel();
        let times = std::sync::atomic::AtomicUsize::new(0);
        let tell: Tell = Box::new(move || {
            let is_heard = times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 == 1;
            if is_heard {
                heard.send(Instant::now()).unwrap();
            }
            Box::pin(async move { is_heard })
        });
        tokio::spawn(tell_of(failed.subscribe(), uncreated.subscribe(), tell));
        Told { failed, uncreated, at }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_at_once_until_it_is_heard_and_one_of_before_too() {
        let begin = Instant::now();
        let mut told = listen(1);
        assert_eq!(told.at.recv().await.unwrap() - begin, RETRY);
        told.failed.send_modify(|count| *count += 1);
        assert_eq!(told.at.recv().await.unwrap() - begin, 2 * RETRY);
    }

    #[tokio::test(start_paused = true)]
    async fn logs_that_could_not_be_created_are_asked_for_once_there_may_be_room() {
        let begin = Instant::now();
        let mut told = listen(0);
        told.uncreated.send_modify(|count| *count += 1);
        assert_eq!(told.at.recv().await.unwrap() - begin, ROOM + RETRY);
        told.uncreated.send_modify(|count| *count += 1);
        assert_eq!(told.at.recv().await.unwrap() - begin, 2 * (ROOM + RETRY), "still none");
    }
}
