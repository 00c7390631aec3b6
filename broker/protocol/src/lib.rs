//! See the crate's README.

pub mod api_key;
pub mod error_code;
pub mod header;
pub mod message;
pub mod primitive;
pub mod quantity;
pub mod record;
pub mod topic_partition;
pub mod uuid;
