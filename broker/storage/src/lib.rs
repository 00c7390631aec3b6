//! See the crate's README.

pub mod checkpoint;
pub mod cleaner;
pub mod commit;
pub mod format;
pub mod fs;
mod index_file;
pub mod leader_epoch_cache;
pub mod log;
pub mod log_dir;
pub mod meta_properties;
pub mod offline;
pub mod offset_index;
pub mod partition_metadata;
pub mod producer_state;
pub mod recovery;
pub mod retention;
pub mod segment;
pub mod time_index;
pub mod transaction_index;
