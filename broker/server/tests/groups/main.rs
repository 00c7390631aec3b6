//! Groups and their administration over the wire: what each handler answers, and what becomes of
//! requests that are damaged.
//!
//! Method: one broker in this process, clients with a blocking socket each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test has a deadline, and damages files")]

#[allow(dead_code, reason = "shared with other tests, which need more of it")]
mod client;
mod codes;
mod damaged;
mod restart;
