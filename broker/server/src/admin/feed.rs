//! How the broker is, for all who watch it: looked at once for all of them, and not while there is nobody.

use std::time::Duration;

use broker_admin::v1::Health;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// What was seen last, and whether it is the last that is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    health: Health,
    is_last: bool,
}

/// Shared; [`Feed::run`] is the one writer beside those who begin to watch.
#[derive(Debug)]
pub(super) struct Feed {
    seen: watch::Sender<Seen>,
    /// Somebody has begun to watch.
    begun: Notify,
}

impl Feed {
    /// Begins with what is seen now.
    pub(super) fn new(health: Health) -> Self {
        let seen = watch::Sender::new(Seen { health, is_last: false });
        Self { seen, begun: Notify::new() }
    }

    /// Begins to watch: what is seen `now`, then every change, until the broker stops.
    pub(super) fn watch(&self, now: Health) -> watch::Receiver<Seen> {
        self.see(now, false);
        self.begun.notify_one();
        self.seen.subscribe()
    }

    /// Looks for as long as somebody watches, until the end; then once more.
    pub(super) async fn run(&self, look: impl Fn() -> Health, end: &CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            let waits = async {
                if self.seen.is_closed() {
                    self.begun.notified().await;
                }
                looks.tick().await;
            };
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                () = waits => self.see(look(), false),
            }
        }
        self.see(look(), true);
    }

    fn see(&self, health: Health, is_last: bool) {
        self.seen.send_if_modified(|seen| {
            let is_last = is_last || seen.is_last;
            let new = Seen { health, is_last };
            let is_new = *seen != new;
            *seen = new;
            is_new
        });
    }
}

/// Tells what is seen until the last is told, or nobody listens.
pub(super) async fn tell<E>(
    mut watched: watch::Receiver<Seen>,
    told: mpsc::Sender<Result<Health, E>>,
) {
    loop {
        let Seen { health, is_last } = watched.borrow_and_update().clone();
        if told.send(Ok(health)).await.is_err() || is_last {
            return;
        }
        let changed = tokio::select! {
            biased;
            () = told.closed() => return,
            changed = watched.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn health(leaders: u64) -> Health {
        Health { leaders, ..Health::default() }
    }

    /// Nobody looks for nobody; who watches sees changes alone, and the last one before the end.
    #[tokio::test(start_paused = true)]
    async fn changes_are_told_while_somebody_watches() {
        let (feed, end) = (Arc::new(Feed::new(health(0))), CancellationToken::new());
        let (leaders, looks) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
        let running = {
            let (feed, end) = (Arc::clone(&feed), end.clone());
            let (leaders, looks) = (Arc::clone(&leaders), Arc::clone(&looks));
            let look = move || {
                looks.fetch_add(1, Ordering::Relaxed);
                health(leaders.load(Ordering::Relaxed))
            };
            tokio::task::spawn(async move { feed.run(look, &end).await })
        };
        tokio::time::advance(LOOK * 10).await;
        tokio::task::yield_now().await;
        assert_eq!(looks.load(Ordering::Relaxed), 0);

        let (told, mut heard) = mpsc::channel::<Result<Health, ()>>(1);
        let telling = tokio::task::spawn(tell(feed.watch(health(1)), told));
        assert_eq!(heard.recv().await, Some(Ok(health(1))));
        leaders.store(2, Ordering::Relaxed);
        assert_eq!(heard.recv().await, Some(Ok(health(2))));
        let before = looks.load(Ordering::Relaxed);
        let nothing = tokio::time::timeout(LOOK * 5, heard.recv()).await;
        assert!(nothing.is_err(), "nothing has changed");
        assert!(looks.load(Ordering::Relaxed) > before);

        leaders.store(3, Ordering::Relaxed);
        end.cancel();
        assert_eq!(heard.recv().await, Some(Ok(health(3))));
        assert_eq!(heard.recv().await, None);
        running.await.unwrap();
        telling.await.unwrap();
    }

    /// Who has gone costs nothing more.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_listen_is_not_told() {
        let feed = Feed::new(health(0));
        let (told, heard) = mpsc::channel::<Result<Health, ()>>(1);
        let telling = tokio::task::spawn(tell(feed.watch(health(0)), told));
        drop(heard);
        telling.await.unwrap();
        assert!(feed.seen.is_closed());
    }
}
