//! What is done about topics, against the fake API server and a model of the brokers.
//!
//! Method: the controller as `main` plugs it in, in a session that lasts; a user who edits objects, and another hand that
//! changes topics behind the operator's back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod bed;
mod changing;
mod deleting;
mod making;
mod many;

#[path = "../support"]
#[allow(dead_code, reason = "shared with the tests of the operator, which need more of it")]
mod support {
    pub(crate) mod brokers;
    pub(crate) mod fake;
}
