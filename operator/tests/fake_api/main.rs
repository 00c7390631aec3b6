//! The fake API server does as the real one does.
//!
//! Method: facts of the real server, each asked through the client that the operator uses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod applying;
mod controlling;
mod custom;
mod evicting;
mod failing;
mod objects;
mod objects_live;
mod rights;
mod sets;
mod watching;

#[path = "../support"]
#[allow(dead_code, reason = "shared with the tests of the operator, which need more of it")]
mod support {
    pub(crate) mod fake;
}
