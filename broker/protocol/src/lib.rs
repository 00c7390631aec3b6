//! See the crate's README.

pub mod quantity;
pub mod topic_partition;
