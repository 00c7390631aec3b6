//! A start goes on through what a running broker goes on through: a connection with the coordination
//! tree that is lost, and a session that ends.

use anyhow::Result;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::sessions::Sessions;
use broker_zookeeper::store::StoreError;
use tracing::info;

/// Who begins the next session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Nobody else: this broker is no member yet.
    Ours,
    /// The membership.
    Members,
}

/// Does `act`, which may be done twice, until the tree has answered it.
///
/// # Errors
/// Any of `act` that is not of the connection or the session.
pub(super) async fn patiently<T>(
    sessions: &Sessions,
    renewal: Renewal,
    act: impl AsyncFn() -> Result<T>,
) -> Result<T> {
    loop {
        let session = sessions.current().session_id();
        let error = match act().await {
            Err(error) => error,
            done => return done,
        };
        match of_the_tree(&error) {
            // The store waits with the next request until it is connected again.
            Some(StoreError::ConnectionLoss) => {}
            Some(StoreError::SessionExpired) => match renewal {
                Renewal::Ours => drop(sessions.renew().await),
                Renewal::Members => drop(sessions.after(session).await),
            },
            _ => return Err(error),
        }
        info!(%error, "a step of the start is done again");
    }
}

fn of_the_tree(error: &anyhow::Error) -> Option<&StoreError> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(TreeError::Store(error)) => Some(error),
        _ => cause.downcast_ref(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use anyhow::{Context as _, bail};
    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::sessions::Origin;

    use super::*;

    async fn begin(tree: &EmbeddedTree) -> std::sync::Arc<Sessions> {
        Sessions::begin(Origin::Embedded(tree.clone())).await.unwrap()
    }

    #[tokio::test]
    async fn a_lost_connection_is_no_end_of_a_start() {
        let sessions = begin(&EmbeddedTree::in_memory()).await;
        let tries = AtomicU32::new(0);
        let done = patiently(&sessions, Renewal::Ours, async || {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 => Err(StoreError::ConnectionLoss.into()),
                1 => Err(TreeError::from(StoreError::ConnectionLoss)).context("read the topics"),
                _ => Ok(tries.load(Ordering::Relaxed)),
            }
        });
        assert_eq!(done.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_session_that_is_over_is_followed_by_another() {
        let tree = EmbeddedTree::in_memory();
        let sessions = begin(&tree).await;
        let first = sessions.current().session_id();
        tree.expire(first).await;
        let read = async || Ok(sessions.live().children("/").await?);
        patiently(&sessions, Renewal::Ours, read).await.unwrap();
        let second = sessions.current().session_id();
        assert_ne!(second, first);
        // Begun by somebody else the next time.
        tree.expire(second).await;
        let renewed = async { drop(sessions.renew().await) };
        let (read, ()) = tokio::join!(patiently(&sessions, Renewal::Members, read), renewed);
        read.unwrap();
    }

    #[tokio::test]
    async fn any_other_error_ends_it() {
        let sessions = begin(&EmbeddedTree::in_memory()).await;
        let refused = async || -> Result<()> { bail!("a topic's settings are no JSON") };
        let error = patiently(&sessions, Renewal::Ours, refused).await.unwrap_err();
        assert!(error.to_string().contains("no JSON"));
    }
}
