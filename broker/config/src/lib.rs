//! Kafka's configuration keys as typed values, with the layer each value came from.
//!
//! Reading path: [`key`] (the one table), [`raw`] (text to pairs), [`dynamic`] (which layer wins),
//! [`broker`] and [`topic`] (typed), [`render`] (pairs to text). Nothing here reads a file, a clock
//! or the environment: callers hand in text.

pub mod broker;
pub mod dynamic;
pub mod error;
pub mod key;
pub mod listener;
pub mod raw;
pub mod release;
pub mod render;
mod settings;
pub mod suggest;
pub mod topic;
pub mod value;
