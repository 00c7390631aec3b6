//! This broker's place in the cluster.

pub(crate) mod election;
pub(crate) mod identity;
pub(crate) mod registration;
