//! What became of a write whose answer was lost.
//!
//! [`StoreError::ConnectionLoss`] leaves it open whether a write was done. The functions here look
//! at the node and say; but for [`replace`] they write nothing. They read as often as the connection breaks, until the
//! session is over: reads can be repeated.
//!
//! [`Outcome::NotDone`] may still be followed by the write itself, where it waits in a server that
//! lost its connection: only a write that names its version, or that creates a node, may be
//! repeated. If both are done after all, the second fails, and is settled in its turn.

use crate::store::{CreateMode, Stat, Store, StoreError};

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The node is as the write would leave it. For a deletion there is no stat.
    Done(Option<Stat>),
    /// The node is as it was before: the write may be tried again.
    NotDone,
    /// The node has moved on: the write was done and overtaken, or came too late. Start anew.
    Overtaken,
}

/// Says what became of the creation of the node `path` with `data` by this session.
///
/// An ephemeral node is known by its owner. Of a persistent one only its data can be compared: that
/// somebody else created the same is as good. A sequential one is not known again.
///
/// # Errors
/// Any but [`StoreError::ConnectionLoss`].
pub async fn created(
    store: &dyn Store,
    path: &str,
    data: &[u8],
    mode: CreateMode,
) -> Result<Outcome, StoreError> {
    let Some((found, stat)) = current(store, path).await? else { return Ok(Outcome::NotDone) };
    let owner = if mode == CreateMode::Ephemeral { store.session_id() } else { 0 };
    let ours = stat.ephemeral_owner == owner && stat.version == 0 && found == data;
    Ok(if ours { Outcome::Done(Some(stat)) } else { Outcome::Overtaken })
}

/// Replaces version `version` of the node `path` by `data`, and says what became of it: by the answer, or by
/// the node where the answer was lost.
///
/// # Errors
/// Any but [`StoreError::ConnectionLoss`] and [`StoreError::BadVersion`].
pub async fn replace(
    store: &dyn Store,
    path: &str,
    data: &[u8],
    version: i32,
) -> Result<Outcome, StoreError> {
    match store.set(path, data, Some(version)).await {
        Ok(stat) => Ok(Outcome::Done(Some(stat))),
        Err(StoreError::BadVersion { .. }) => Ok(Outcome::Overtaken),
        Err(StoreError::ConnectionLoss) => replaced(store, path, data, version).await,
        Err(error) => Err(error),
    }
}

/// Says what became of replacing version `version` of the node `path` by `data`.
///
/// # Errors
/// Any but [`StoreError::ConnectionLoss`].
pub async fn replaced(
    store: &dyn Store,
    path: &str,
    data: &[u8],
    version: i32,
) -> Result<Outcome, StoreError> {
    Ok(match current(store, path).await? {
        Some((_, stat)) if stat.version == version => Outcome::NotDone,
        Some((found, stat)) if stat.version == version.wrapping_add(1) && found == data => {
            Outcome::Done(Some(stat))
        }
        Some(_) | None => Outcome::Overtaken,
    })
}

/// Says what became of the deletion of version `version` of the node `path`.
///
/// # Errors
/// Any but [`StoreError::ConnectionLoss`].
pub async fn deleted(store: &dyn Store, path: &str, version: i32) -> Result<Outcome, StoreError> {
    Ok(match current(store, path).await? {
        None => Outcome::Done(None),
        Some((_, stat)) if stat.version == version => Outcome::NotDone,
        Some(_) => Outcome::Overtaken,
    })
}

/// Reads a node as it is after every write that was done so far; `None` if it does not exist.
///
/// # Errors
/// Any but [`StoreError::ConnectionLoss`].
pub async fn current(store: &dyn Store, path: &str) -> Result<Option<(Vec<u8>, Stat)>, StoreError> {
    loop {
        // Another server may answer now, and be behind the one that did the write.
        let read = match store.sync(path).await {
            Ok(()) => store.get(path).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(node) => return Ok(Some(node)),
            Err(StoreError::NoNode { .. }) => return Ok(None),
            // Not a busy loop: a store waits with the next request until it is connected again.
            Err(StoreError::ConnectionLoss) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedTree;

    /// Each outcome of each write is told from the node alone.
    #[tokio::test]
    async fn a_node_tells_what_became_of_a_write() {
        let tree = EmbeddedTree::in_memory();
        let (ours, other) = (tree.session().await, tree.session().await);
        let mode = CreateMode::Ephemeral;
        assert_eq!(created(&ours, "/e", b"x", mode).await, Ok(Outcome::NotDone));
        let (_, stat) = ours.create("/e", b"x", mode).await.unwrap();
        assert_eq!(created(&ours, "/e", b"x", mode).await, Ok(Outcome::Done(Some(stat))));
        assert_eq!(created(&other, "/e", b"x", mode).await, Ok(Outcome::Overtaken));

        assert_eq!(replaced(&ours, "/e", b"y", 0).await, Ok(Outcome::NotDone));
        let stat = ours.set("/e", b"y", Some(0)).await.unwrap();
        assert_eq!(replaced(&ours, "/e", b"y", 0).await, Ok(Outcome::Done(Some(stat))));
        assert_eq!(replaced(&ours, "/e", b"z", 0).await, Ok(Outcome::Overtaken));
        assert_eq!(deleted(&ours, "/e", 1).await, Ok(Outcome::NotDone));
        assert_eq!(deleted(&ours, "/e", 0).await, Ok(Outcome::Overtaken));
        ours.delete("/e", Some(1)).await.unwrap();
        assert_eq!(deleted(&ours, "/e", 1).await, Ok(Outcome::Done(None)));
        assert_eq!(replaced(&ours, "/e", b"y", 0).await, Ok(Outcome::Overtaken));
    }
}
