//! What can go wrong between the tree and those who read it.

use crate::node::NodeError;
use crate::store::StoreError;

/// Why the tree could not be read or written as it should be.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A node holds something else than it should.
    #[error(transparent)]
    Node(#[from] NodeError),
}
