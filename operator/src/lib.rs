//! The Kubernetes operator of Ottla: custom resources, and what follows from them.
//!
//! The binary is a thin `main` around [`process`]. Reading path: `crd` (what a user may say, and what is said back),
//! `process` (the parts and their end), `session` (what runs while this operator leads), `controller` (what stands
//! around a look at an object), `apply` (the only writer), `assignment` (which broker holds which replica).

pub mod admin;
pub mod apply;
pub mod assignment;
pub mod backoff;
pub mod candidacy;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod controller;
pub mod crd;
pub mod digest;
pub mod error;
pub mod event;
pub mod health;
pub mod held;
pub mod http;
pub mod key;
pub mod kind;
pub mod latest;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod process;
pub mod progress;
pub mod reason;
pub mod served;
pub mod session;
pub mod settings;
pub mod topic;

#[cfg(test)]
mod tests;
