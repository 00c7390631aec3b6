//! Who decides: topics, partitions and leaders, by way of the coordination tree.
//!
//! Requests of clients become writes to the tree (`admin`), as Kafka's own tools make them; the
//! controller's loop (`run`) reads what is there, decides (`state`, pure), writes the decision and
//! instructs brokers. Nothing is decided from a request directly, so that a topic written by
//! another broker or an old tool takes the same way.

pub mod admin;
pub(crate) mod channel;
pub mod election_counts;
pub(crate) mod ends;
pub mod handle;
pub mod membership;
mod outbox;
pub mod partition_election;
pub mod placement;
pub(crate) mod read;
pub(crate) mod run;
pub mod state;
pub mod topic_name;
mod tree;
mod watches;
pub(crate) mod wire;
