//! Settings that change while a broker runs, and what a broker does from time to time: seen from
//! outside, by what clients are answered and by what lies in the log directory.
//!
//! Method: one broker in this process. Kafka's own settings make its intervals short, so that a
//! test waits for what it asserts and for nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test has a deadline, and reads files")]

mod changes;
#[path = "../groups/client.rs"]
#[allow(dead_code, reason = "shared with the tests of groups, which need more of it")]
mod client;
mod creation;
mod errors;
mod expiry;
mod jobs;
mod moves;
mod old_fetch;
#[path = "../support/records.rs"]
mod records;
mod retries;
mod settings;
mod threads;
mod topic;
