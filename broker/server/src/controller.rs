//! Who decides: topics, partitions and leaders, by way of the coordination tree.
//!
//! Requests of clients become writes to the tree (`admin`), as Kafka's own tools make them; the
//! controller's loop (`old_run`) reads what is there, decides (`old_state`, pure), writes the decision and
//! instructs brokers. Nothing is decided from a request directly, so that a topic written by
//! another broker or an old tool takes the same way.

pub mod admin;
#[allow(dead_code, reason = "the cluster control path is being built")]
pub(crate) mod channel;
#[allow(dead_code, reason = "the cluster control path is being built")]
pub mod election;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod ends;
#[allow(dead_code, reason = "the cluster control path is being built")]
pub mod handle;
pub mod membership;
pub mod old_run;
pub mod old_state;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod outbox;
pub mod placement;
#[allow(dead_code, reason = "the cluster control path is being built")]
pub(crate) mod read;
#[allow(dead_code, reason = "the cluster control path is being built")]
pub(crate) mod run;
#[allow(dead_code, reason = "the cluster control path is being built")]
pub mod state;
pub mod topic_name;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod tree;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod watches;
#[allow(dead_code, reason = "the cluster control path is being built")]
pub(crate) mod wire;
