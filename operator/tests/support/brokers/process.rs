//! The processes of brokers: each runs for as long as its pod does.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) broker: i32,
    /// Its pod, and the pod's uid.
    pub(crate) pod: String,
    pub(crate) uid: String,
    /// Another one for each process.
    pub(crate) id: u64,
    pub(crate) version: String,
    /// What it was started with.
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) started: Duration,
    /// Since when it is asked to stop.
    pub(crate) stopping: Option<Duration>,
    pub(crate) registered: Option<Duration>,
    pub(crate) epoch: Option<i64>,
    /// Cancelled when it ends: connections break.
    pub(crate) end: CancellationToken,
}

impl Process {
    /// Whether it is registered and does not stop.
    pub(crate) fn is_up(&self) -> bool {
        self.epoch.is_some() && self.stopping.is_none()
    }

    /// What it speaks with other brokers.
    pub(crate) fn protocol(&self, newest: &str) -> String {
        let said = self.settings.get("inter.broker.protocol.version");
        said.map_or(newest, String::as_str).to_owned()
    }
}
