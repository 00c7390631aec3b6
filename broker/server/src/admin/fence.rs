//! Which operator may change something: the one with the highest term that was seen, and none before it.
//!
//! The term is kept in the coordination tree, so that a broker that never heard of the new operator refuses the old one,
//! too. What an old one was doing when the new one came first is of before.

use broker_admin::v1::Fence;
use broker_zookeeper::node::operator::Operator;
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Store, StoreError};
use tonic::Status;
use tracing::info;

use super::unavailable;
use crate::controller::membership::ensure;

/// Lets a caller through whose term is the highest, and remembers it.
///
/// # Errors
/// `INVALID_ARGUMENT` without a term, `PERMISSION_DENIED` for one that is over, `UNAVAILABLE` where the tree does not
/// answer: nothing is changed then that may not be asked for again.
pub(super) async fn admit(store: &dyn Store, fence: Option<Fence>) -> Result<(), Status> {
    let Some(Fence { term: term @ 1.., holder }) = fence else {
        return Err(Status::invalid_argument(
            "fence.term: the term of the operator's lease, at least 1",
        ));
    };
    let ours = Operator::new(term, holder);
    loop {
        let known = match store.get(path::OPERATOR).await {
            Ok((data, stat)) => {
                (Operator::decode(path::OPERATOR, &data).map_err(unavailable)?, stat)
            }
            Err(StoreError::NoNode { .. }) => {
                for parent in path::parents(path::OPERATOR) {
                    ensure(store, parent, &[]).await.map_err(unavailable)?;
                }
                match store.create(path::OPERATOR, &ours.encode(), CreateMode::Persistent).await {
                    Ok(_) => break,
                    Err(StoreError::NodeExists { .. }) => continue,
                    Err(error) => return Err(unavailable(error)),
                }
            }
            Err(error) => return Err(unavailable(error)),
        };
        let (Operator { term: known, holder, .. }, stat) = known;
        if ours.term == known && ours.holder == holder {
            return Ok(());
        }
        if ours.term <= known {
            return Err(Status::permission_denied(format!(
                "term {term} of {} is over: {holder} has term {known}; an operator that has lost its lease stops",
                ours.holder
            )));
        }
        match store.set(path::OPERATOR, &ours.encode(), Some(stat.version)).await {
            Ok(_) => break,
            Err(StoreError::BadVersion { .. }) => {}
            Err(error) => return Err(unavailable(error)),
        }
    }
    info!(term = ours.term, holder = ours.holder, "another operator");
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::EmbeddedTree;
    use tonic::Code;

    use super::*;

    fn fence(term: u64, holder: &str) -> Fence {
        Fence { term, holder: holder.to_owned() }
    }

    /// Terms rise; what is lower, or the same of another, changes nothing.
    #[tokio::test]
    async fn only_the_newest_operator_is_let_through() {
        let tree = EmbeddedTree::in_memory();
        let store = tree.session().await;
        let cases = [
            (None, Some(Code::InvalidArgument)),
            (Some(fence(0, "a")), Some(Code::InvalidArgument)),
            (Some(fence(2, "a")), None),
            (Some(fence(2, "a")), None),
            (Some(fence(2, "b")), Some(Code::PermissionDenied)),
            (Some(fence(1, "b")), Some(Code::PermissionDenied)),
            (Some(fence(3, "b")), None),
            (Some(fence(2, "a")), Some(Code::PermissionDenied)),
        ];
        for (fence, expected) in cases {
            let code = admit(&store, fence.clone()).await.err().map(|status| status.code());
            assert_eq!(code, expected, "{fence:?}");
        }
        let (data, _) = store.get(path::OPERATOR).await.unwrap();
        assert_eq!(Operator::decode(path::OPERATOR, &data).unwrap().term, 3);
    }

    /// A node that nobody can read lets nobody through, and says which it is.
    #[tokio::test]
    async fn a_node_that_cannot_be_read_is_named() {
        let tree = EmbeddedTree::in_memory();
        let store = tree.session().await;
        store.create("/ottla", b"", CreateMode::Persistent).await.unwrap();
        store.create(path::OPERATOR, b"?", CreateMode::Persistent).await.unwrap();
        let refused = admit(&store, Some(fence(1, "a"))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains(path::OPERATOR), "{refused}");
    }
}
