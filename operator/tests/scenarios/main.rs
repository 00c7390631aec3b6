//! The operator between Kubernetes and brokers, from an edit to the end of what follows from it.
//!
//! Method: its controllers run against a fake API server and a model of brokers, undisturbed and killed at every call;
//! every end must be the same, and nothing may happen on the way that must never happen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../brokers/bed.rs"]
#[allow(dead_code, reason = "shared with the tests of the model, which need more of it")]
mod bed;
mod clusters;
mod holding;
mod kills;
mod members;
mod orders;
mod rights;
mod stage;
mod topics;

#[path = "../support"]
#[allow(dead_code, reason = "shared with other tests, which need more of it")]
mod support {
    pub(crate) mod brokers;
    pub(crate) mod fake;
    pub(crate) mod operator;
}
