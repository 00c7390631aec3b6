//! What a store and the tasks behind its watches share. Only the store keeps it alive.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zookeeper_client as zk;

use super::connect::Target;
use super::hub::Hub;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) client: zk::Client,
    pub(super) target: Target,
    hub: Mutex<Hub>,
    /// Held while a lasting watch is set: two at once could leave the lesser one.
    pub(super) setting: tokio::sync::Mutex<()>,
}

impl Inner {
    pub(super) fn new(client: zk::Client, target: Target) -> Self {
        Self { client, target, hub: Mutex::default(), setting: tokio::sync::Mutex::default() }
    }

    /// Locks the hub; nobody waits while it is locked.
    pub(super) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how much longer the server's paths are.
    pub(super) fn chroot_length(&self) -> usize {
        if self.target.chroot == "/" { 0 } else { self.target.chroot.len() }
    }
}
