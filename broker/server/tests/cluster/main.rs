//! Three brokers in this process, on one coordination tree: records, their leaders, and brokers that come
//! and go.
//!
//! Method: each broker has a runtime of its own, so that it can end as a killed process does: at once, in
//! the middle of everything, with what the kernel has of its files. Its session ends when the test says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test has a deadline, and reads files")]

mod admin;
mod asked;
mod away;
#[path = "../groups/client.rs"]
#[allow(dead_code, reason = "shared with the tests of groups, which need more of it")]
mod client;
mod deletion;
mod directories;
mod failover;
mod groups;
mod hands;
mod identity;
mod metrics;
mod nearby;
mod nodes;
mod operator;
#[path = "../support/records.rs"]
mod records;
mod settings;
mod standing;
mod throttle;
mod topic;
