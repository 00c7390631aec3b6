//! Copying partitions from the brokers that lead them.

pub mod plan;
