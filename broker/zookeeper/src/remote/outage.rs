//! Tells of the times when no server of the tree answers: when one has begun, every minute while it lasts, and
//! when it is over. The end of a session is told elsewhere.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Connection, probe};

/// An outage that is no longer than this is a move from one server to the next.
const BRIEF: Duration = Duration::from_secs(1);

/// How often it is said that it goes on.
const AGAIN: Duration = Duration::from_mins(1);

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The server is lost, and no other has taken over in a while.
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
            let since = self.outage().await?;
            self.now = Some((since, since + AGAIN));
            return Some(News::Lost);
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

    /// Waits for an outage that is none of the brief ones, and returns when it began.
    async fn outage(&mut self) -> Option<Instant> {
        while changed(&mut self.connections, Connection::Connected).await?
            == Connection::Disconnected
        {
            let since = Instant::now();
            let next = changed(&mut self.connections, Connection::Disconnected);
            let Ok(next) = tokio::time::timeout(BRIEF, next).await else { return Some(since) };
            if next? != Connection::Connected {
                break;
            }
        }
        None
    }
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
    async fn pass(time: Duration) {
        let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_of_until_it_is_over() {
        let s = Duration::from_secs;
        let connection = watch::Sender::new(Connection::Connected);
        let outage = async {
            tokio::task::yield_now().await;
            for _ in 0..3 {
                // One server goes, and another takes over.
                connection.send_replace(Connection::Disconnected);
                pass(BRIEF / 2).await;
                connection.send_replace(Connection::Connected);
                pass(BRIEF / 2).await;
            }
            connection.send_replace(Connection::Disconnected);
            pass(s(150)).await;
            connection.send_replace(Connection::Connected);
            pass(s(150)).await;
            connection.send_replace(Connection::Disconnected);
            pass(BRIEF * 2).await;
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
        let first = [News::Lost, News::Lasts(s(60)), News::Lasts(s(120)), News::Back(s(150))];
        assert_eq!(told, [&first[..], &[News::Lost]].concat());
    }
}
