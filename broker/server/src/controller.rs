//! Who decides: topics, partitions and leaders, by way of the coordination tree.
//!
//! Requests of clients become writes to the tree (`admin`), as Kafka's own tools make them; the
//! controller's loop (`run`) reads what is there, decides (`state`, pure), writes the decision and
//! instructs brokers. Nothing is decided from a request directly, so that a topic written by
//! another broker or an old tool takes the same way.

pub mod admin;
pub mod membership;
pub mod placement;
pub mod run;
pub mod state;
pub mod topic_name;

use broker_zookeeper::node::NodeError;
use broker_zookeeper::store::StoreError;

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
