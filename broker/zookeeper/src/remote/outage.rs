//! Tells of the times when no server of the tree answers: when one begins, every minute while it lasts, and
//! when it is over. The end of a session is told elsewhere.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Connection, probe};

/// How often it is said that it goes on.
const AGAIN: Duration = Duration::from_mins(1);

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The server is lost, and no other has taken over yet.
    Lost,
    /// For so long by now.
    Lasts(Duration),
    /// It was away for so long.
    Back(Duration),
}

/// Writes into the log what becomes of the connection with `servers`, until its session is over.
pub(super) async fn tell(connections: watch::Receiver<Connection>, servers: String) {
    let mut outages = Outages { connections, now: None };
    while let Some(news) = outages.next().await {
        match news {
            News::Lost => {
                let why = probe::why(&servers).await;
                warn!(
                    why,
                    "no server of ZooKeeper answers: leaders go on to serve clients, but nothing is created, \
                     altered or elected until one does"
                );
            }
            News::Lasts(since) => {
                let why = probe::why(&servers).await;
                warn!(for_s = since.as_secs(), why, "still no server of ZooKeeper answers");
            }
            News::Back(after) => info!(after_s = after.as_secs_f32(), "ZooKeeper answers again"),
        }
    }
}

/// The outages of one session, one after the other.
struct Outages {
    connections: watch::Receiver<Connection>,
    /// Since when no server answers, and when that is told again.
    now: Option<(Instant, Instant)>,
}

impl Outages {
    /// Waits for what is to be told next; `None` once the session is over.
    async fn next(&mut self) -> Option<News> {
        let Some((since, again)) = self.now else {
            let found = changed(&mut self.connections, Connection::Connected).await;
            let since = now();
            self.now = Some((since, since + AGAIN));
            return (found == Some(Connection::Disconnected)).then_some(News::Lost);
        };
        tokio::select! {
            biased;
            found = changed(&mut self.connections, Connection::Disconnected) => {
                self.now = None;
                (found == Some(Connection::Connected)).then(|| News::Back(since.elapsed()))
            }
            () = tokio::time::sleep_until(again) => {
                self.now = Some((since, again + AGAIN));
                Some(News::Lasts(since.elapsed()))
            }
        }
    }
}

/// The time of tokio's clock, which tests pause.
fn now() -> Instant {
    tokio::time::sleep(Duration::ZERO).deadline()
}

/// Waits for another connection than `last`; `None` when the session has no owner any more. Cancel-safe.
async fn changed(
    connections: &mut watch::Receiver<Connection>,
    last: Connection,
) -> Option<Connection> {
    connections.wait_for(|now| *now != last).await.ok().map(|now| *now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the clock paused it moves on as soon as all wait.
    async fn pass(seconds: u64) {
        let never = std::future::pending::<()>();
        let _ = tokio::time::timeout(Duration::from_secs(seconds), never).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_of_until_it_is_over() {
        let connection = watch::Sender::new(Connection::Connected);
        let outage = async {
            tokio::task::yield_now().await;
            connection.send_replace(Connection::Disconnected);
            pass(150).await;
            connection.send_replace(Connection::Connected);
            pass(150).await;
            connection.send_replace(Connection::Disconnected);
            pass(1).await;
            connection.send_replace(Connection::Expired);
        };
        let mut outages = Outages { connections: connection.subscribe(), now: None };
        let follow = async {
            let mut told = Vec::new();
            while let Some(news) = outages.next().await {
                told.push(news);
            }
            told
        };
        let (told, ()) = tokio::join!(follow, outage);
        let s = Duration::from_secs;
        let first = [News::Lost, News::Lasts(s(60)), News::Lasts(s(120)), News::Back(s(150))];
        assert_eq!(told, [&first[..], &[News::Lost]].concat());
    }
}
