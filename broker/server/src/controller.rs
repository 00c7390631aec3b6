//! Who decides: topics, partitions and leaders, by way of the coordination tree.
//!
//! Requests of clients become writes to the tree (`admin`), as Kafka's own tools make them; the
//! controller's loop (`old_run`) reads what is there, decides (`old_state`, pure), writes the decision and
//! instructs brokers. Nothing is decided from a request directly, so that a topic written by
//! another broker or an old tool takes the same way.

pub mod admin;
pub mod membership;
pub mod old_run;
pub mod old_state;
pub mod placement;
#[allow(dead_code, reason = "the cluster control path is being built")]
pub mod state;
pub mod topic_name;
