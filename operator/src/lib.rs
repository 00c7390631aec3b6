//! The Kubernetes operator of Ottla: custom resources, and what follows from them.
//!
//! Reading path: `crd` (what a user may say, and what is said back), `assignment` (which broker holds which
//! replica).

pub mod assignment;
pub mod clock;
pub mod crd;
pub mod lease;
