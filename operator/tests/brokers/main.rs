//! The model of a cluster of brokers does as the contract of `broker/admin` says.
//!
//! Method: pods are made as the operator makes them, and the brokers in them are asked through the operator's client.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod bed;
mod fencing;
mod life;
mod moving;
mod restarting;
mod violating;

#[path = "../support"]
#[allow(dead_code, reason = "shared with the tests of the operator, which need more of it")]
mod support {
    pub(crate) mod brokers;
    pub(crate) mod fake;
}
