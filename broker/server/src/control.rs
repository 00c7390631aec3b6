//! What this broker does about a controller's orders.

pub(crate) mod state;
