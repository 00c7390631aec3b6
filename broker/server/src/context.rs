//! What every handler can reach: one immutable value per process, behind one `Arc`.

use std::sync::Arc;

use broker_protocol::quantity::BrokerId;

use crate::clock::SharedClock;
use crate::tasks::Tasks;

/// The broker as a handler sees it.
#[derive(Debug)]
pub struct Context {
    /// This broker's id.
    pub broker_id: BrokerId,
    /// The id of the cluster it belongs to, 22 characters.
    pub cluster_id: Arc<str>,
    /// The source of time.
    pub clock: SharedClock,
    /// The set that every task is spawned in.
    pub tasks: Tasks,
}
