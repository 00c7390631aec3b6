//! The coordination tree: what brokers agree on, in Kafka's own layout. See the README.

pub mod embedded;
pub mod error;
pub mod faulty;
mod limits;
pub mod node;
pub mod observer;
pub mod path;
pub mod remote;
pub mod sessions;
pub mod settle;
pub mod store;
pub mod transfer;
