//! The Kubernetes operator of Ottla: custom resources, and what follows from them.
//!
//! Reading path: `crd` (what a user may say, and what is said back), `assignment` (which broker holds which
//! replica).

pub mod apply;
pub mod assignment;
pub mod backoff;
pub mod client;
pub mod clock;
pub mod crd;
pub mod crds;
pub mod error;
pub mod event;
pub mod health;
pub mod http;
pub mod kind;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod progress;
pub mod reason;
pub mod settings;

#[cfg(test)]
mod tests;
