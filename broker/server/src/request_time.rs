//! How long one request of a client may take that needs the coordination tree.
//!
//! A request has one deadline, however many topics it names: until then it waits for what it asks for to be seen.
//! While no server of the tree answers, what is asked of the tree waits, for as long as that lasts; a client is to
//! hear why nothing becomes of its request. So that is waited for once in a request.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep, timeout};

/// The longest wait for the tree, whatever a request allows: clients wait 30 seconds for an answer, and a tree that
/// takes longer than this is not there.
const MOST: Duration = Duration::from_secs(10);

/// The shortest: what allows no time at all, as old tools ask, is still to be done, and so is what comes after the
/// deadline in a request, while the tree answers.
const LEAST: Duration = Duration::from_millis(500);

/// The tree did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "the coordination tree (ZooKeeper) did not answer within {0:?}: its servers are away or cannot be \
     reached; what was asked may still be done once they are back"
)]
pub struct TreeSilent(Duration);

/// What was asked for cannot be seen in time.
#[derive(Debug, thiserror::Error)]
#[error("the change was accepted and is not finished after {0:?}")]
pub struct TimedOut(Duration);

/// The time that one request has.
#[derive(Debug)]
pub struct RequestTime {
    allowed: Duration,
    /// Ends at the deadline, and stays so.
    deadline: Pin<Box<Sleep>>,
    /// The tree did not answer: nothing more is asked of it.
    is_silent: bool,
}

impl RequestTime {
    /// Of a request that is to be answered within `allowed` from now on.
    pub fn new(allowed: Duration) -> Self {
        Self { allowed, deadline: Box::pin(sleep(allowed)), is_silent: false }
    }

    /// Of a request that names its time as Kafka's do.
    pub fn of_ms(timeout_ms: i32) -> Self {
        Self::new(Duration::from_millis(timeout_ms.max(0) as u64))
    }

    /// Waits for what the tree answers.
    ///
    /// # Errors
    /// Those of `asked`, and that there is no answer: what was asked may then still be done.
    pub async fn tree<T, E: From<TreeSilent>>(
        &mut self,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if !self.is_silent {
            let over = async { tokio::join!(sleep(LEAST), self.deadline.as_mut()) };
            tokio::select! {
                biased;
                answered = timeout(MOST, asked) => {
                    if let Ok(answered) = answered {
                        return answered;
                    }
                }
                _ = over => {}
            }
            self.is_silent = true;
        }
        Err(TreeSilent(self.allowed.clamp(LEAST, MOST)).into())
    }

    /// Waits for what is to be seen; what has come to pass is seen after the deadline too.
    ///
    /// # Errors
    /// When the deadline is over.
    pub async fn seen<T>(&mut self, seen: impl Future<Output = T>) -> Result<T, TimedOut> {
        tokio::select! {
            biased;
            seen = seen => Ok(seen),
            () = self.deadline.as_mut() => Err(TimedOut(self.allowed)),
        }
    }
}

impl Default for RequestTime {
    /// Of a request that names no time.
    fn default() -> Self {
        Self::new(MOST)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    /// However much is asked of a tree that is away, it is waited for once; nothing more is begun.
    #[tokio::test(start_paused = true)]
    async fn a_tree_that_is_away_is_waited_for_once() {
        for (allowed, waited) in [(0, LEAST), (3_000, Duration::from_secs(3)), (300_000, MOST)] {
            let begun = Instant::now();
            let mut time = RequestTime::of_ms(allowed);
            let answered: Result<i32, TreeSilent> = time.tree(async { Ok(1) }).await;
            assert_eq!(answered.unwrap(), 1);
            for _ in 0..1000 {
                let silent = time.tree(pending::<Result<(), TreeSilent>>()).await;
                assert!(silent.unwrap_err().to_string().contains("ZooKeeper"));
            }
            let took = begun.elapsed();
            assert!(took < waited + LEAST, "{allowed} ms allowed, {took:?} waited");
        }
    }

    /// A hundred topics that no controller sees are answered in the time of one, and each is asked for.
    #[tokio::test(start_paused = true)]
    async fn a_request_has_one_deadline() {
        let begun = Instant::now();
        let mut time = RequestTime::of_ms(3_000);
        for _ in 0..100 {
            let written: Result<(), TreeSilent> = time.tree(async { Ok(()) }).await;
            written.unwrap();
            time.seen(pending::<()>()).await.unwrap_err();
        }
        assert!(begun.elapsed() < Duration::from_secs(3) + LEAST, "{:?}", begun.elapsed());
        assert_eq!(time.seen(async { 1 }).await.unwrap(), 1);
    }
}
