//! How long a client's request waits for the coordination tree. While no server of it answers, what is asked of
//! the tree waits, for as long as that lasts; a client is to hear why nothing becomes of its request.

use std::time::Duration;

/// The longest, whatever a request allows: clients wait 30 seconds for an answer, and a tree that takes longer
/// than this is not there.
const MOST: Duration = Duration::from_secs(10);

/// The shortest: what allows no time at all, as old tools ask, is still to be done.
const LEAST: Duration = Duration::from_millis(500);

/// The tree did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "the coordination tree (ZooKeeper) did not answer within {0:?}: its servers are away or cannot be \
     reached; what was asked may still be done once they are back"
)]
pub struct TreeSilent(Duration);

/// The patience of one request with the tree. Once it was in vain, there is none for the rest of it.
#[derive(Debug)]
pub(crate) struct Patience(Duration);

impl Patience {
    /// Of a request that is to be answered within `allowed`.
    pub(crate) fn new(allowed: Duration) -> Self {
        Self(allowed.clamp(LEAST, MOST))
    }

    /// Waits for what the tree answers.
    ///
    /// # Errors
    /// Those of `asked`, and that there is no answer: what was asked may then still be done.
    pub(crate) async fn wait<T, E: From<TreeSilent>>(
        &mut self,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let allowed = self.0;
        let answered = tokio::time::timeout(allowed, asked).await;
        answered.unwrap_or_else(|_| {
            self.0 = Duration::ZERO;
            Err(TreeSilent(allowed).into())
        })
    }
}

impl Default for Patience {
    /// Of a request that names no time.
    fn default() -> Self {
        Self(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However much is asked of a tree that is away, it is waited for once.
    #[tokio::test(start_paused = true)]
    async fn a_tree_that_is_away_is_waited_for_once() {
        let begun = tokio::time::Instant::now();
        let mut patience = Patience::new(Duration::from_secs(3));
        let answered: Result<i32, TreeSilent> = patience.wait(async { Ok(1) }).await;
        assert_eq!(answered.unwrap(), 1);
        for _ in 0..100 {
            let silent = patience.wait(std::future::pending::<Result<(), TreeSilent>>()).await;
            assert!(silent.unwrap_err().to_string().contains("ZooKeeper"));
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(Patience::new(Duration::ZERO).0, LEAST);
        assert_eq!(Patience::new(Duration::from_mins(5)).0, MOST);
    }
}
