//! Which operator may change something: the one with the highest term that was seen, and none before it.
//!
//! The term is kept in the coordination tree, so that a broker that never heard of the new operator refuses the old one,
//! too. What an old one was doing when the new one came first is of before.

use std::collections::BTreeSet;

use broker_admin::v1::Fence;
use broker_zookeeper::node::cordon::Cordon;
use broker_zookeeper::node::operator::Operator;
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Op, Store, StoreError};
use tonic::Status;
use tracing::info;

use super::{TEXT_MAX, unavailable};
use crate::controller::membership::ensure;

/// An operator that was let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admitted {
    /// The term of its lease.
    pub(super) term: u64,
    /// Its identity, for people.
    holder: String,
    /// The version of the node that names it.
    version: i32,
}

impl Admitted {
    /// Its identity, for people.
    pub(super) fn holder(&self) -> &str {
        &self.holder
    }

    /// The version of the node that names it, and another once another operator has come.
    pub(super) fn version(&self) -> i32 {
        self.version
    }

    /// Returns what fails a transaction once another operator has come.
    pub(super) fn is_newest(&self) -> Op {
        Op::Check { path: path::OPERATOR.to_owned(), version: self.version }
    }
}

/// Lets a caller through whose term is the highest, and remembers it. What it read is confirmed by a transaction:
/// a server of the tree that lags behind the others lets nobody through whom they would not.
///
/// # Errors
/// `INVALID_ARGUMENT` without a term, `PERMISSION_DENIED` for one that is over, `UNAVAILABLE` where the tree does not
/// answer: nothing is changed then that may not be asked for again.
pub(super) async fn admit(store: &dyn Store, fence: Option<Fence>) -> Result<Admitted, Status> {
    let Some(Fence { term: term @ 1.., holder }) = fence else {
        return Err(Status::invalid_argument(
            "fence.term: the term of the operator's lease, at least 1",
        ));
    };
    if holder.len() > TEXT_MAX {
        return Err(Status::invalid_argument(format!(
            "fence.holder: the operator's identity, at most {TEXT_MAX} bytes"
        )));
    }
    let mut ours = Admitted { term, holder, version: 0 };
    let node = Operator::new(term, ours.holder.clone()).encode();
    loop {
        let (data, stat) = match store.get(path::OPERATOR).await {
            Ok(read) => read,
            Err(StoreError::NoNode { .. }) => {
                for parent in path::parents(path::OPERATOR) {
                    ensure(store, parent, &[]).await.map_err(unavailable)?;
                }
                // Before anybody is cordoned: whoever places replicas counts on it.
                let nobody = Cordon::new(BTreeSet::new()).encode();
                ensure(store, path::CORDONED, &nobody).await.map_err(unavailable)?;
                match store.create(path::OPERATOR, &node, CreateMode::Persistent).await {
                    Ok(_) => break,
                    Err(StoreError::NodeExists { .. }) => continue,
                    Err(error) => return Err(unavailable(error)),
                }
            }
            Err(error) => return Err(unavailable(error)),
        };
        let known = Operator::decode(path::OPERATOR, &data).map_err(unavailable)?;
        let is_known = term == known.term && ours.holder == known.holder;
        if term <= known.term && !is_known {
            return Err(over(&ours, known.term));
        }
        let written = if is_known {
            ours.version = stat.version;
            store.multi(vec![ours.is_newest()]).await.map(drop)
        } else {
            let set = store.set(path::OPERATOR, &node, Some(stat.version)).await;
            set.map(|stat| ours.version = stat.version)
        };
        match written {
            Ok(()) if is_known => return Ok(ours),
            Ok(()) => break,
            // Another one has come, of whom this server of the tree may not have heard yet.
            Err(StoreError::BadVersion { .. } | StoreError::NoNode { .. }) => {
                store.sync(path::OPERATOR).await.map_err(unavailable)?;
            }
            Err(error) => return Err(unavailable(error)),
        }
    }
    info!(term, holder = ours.holder, "another operator");
    Ok(ours)
}

/// Refuses an operator that has been replaced by one with the term `known`.
pub(super) fn over(operator: &Admitted, known: u64) -> Status {
    let Admitted { term, holder, .. } = operator;
    Status::permission_denied(format!(
        "term {term} of {holder} is over: another operator has term {known}; one that has lost its lease stops"
    ))
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
        let long = fence(4, &"x".repeat(TEXT_MAX + 1));
        let refused = admit(&store, Some(long)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
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
