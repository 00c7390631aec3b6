//! The network: sockets in, frames to [`crate::api::dispatch`], answers out in the order of the requests.
//!
//! A connection lives on one single-threaded runtime (`worker`); `placement` says on which, and has it move
//! between two requests when the load asks for it; `listener` accepts and starts it there; `limits` says
//! whether it may live at all; `frame` and `output` are what it reads and writes. `side_port` binds the ports beside.

pub(crate) mod cold;
pub(crate) mod connection;
pub(crate) mod frame;
pub(crate) mod limits;
pub mod listener;
pub(crate) mod output;
mod placement;
pub(crate) mod side_port;
pub mod worker;
