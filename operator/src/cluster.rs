//! What is done about one `Cluster`. So far: what its parts are called (`names`), what its brokers read (`settings`),
//! and which of them may restart now (`roll`).

pub mod build;
pub mod decide;
pub mod drain;
pub mod facts;
pub mod layout;
pub mod members;
pub mod place;
pub mod rebalance;
pub mod roll;
pub mod settings;
pub mod validate;
pub mod volumes;

pub use crate::names;
