//! See the crate's README.

pub mod checkpoint;
pub mod format;
pub mod fs;
mod index_file;
pub mod leader_epoch_cache;
pub mod meta_properties;
pub mod offset_index;
pub mod partition_metadata;
pub mod producer_state;
pub mod retention;
pub mod time_index;
pub mod transaction_index;
