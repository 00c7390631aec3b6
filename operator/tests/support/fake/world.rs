//! What the test says of the world outside of the server: whether a pod runs, and when it has ended.

use serde_json::Value;

/// What a node makes of a pod that is bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodIs {
    /// No node takes it.
    Unschedulable(&'static str),
    /// Its containers wait, with this reason: `CrashLoopBackOff`, `ImagePullBackOff`, `ContainerCreating`.
    Waiting(&'static str),
    /// It runs and is not ready.
    Running,
    /// It runs and is ready.
    Ready,
    /// It ended with a failure, and is not started again.
    Failed,
}

type Pods = Box<dyn FnMut(&Value) -> PodIs + Send>;
type Ends = Box<dyn FnMut(&Value) -> bool + Send>;

/// The test's word on pods and volumes.
pub(crate) struct World {
    /// What a pod is; asked whenever the cluster moves.
    pub(crate) pods: Pods,
    /// Whether a pod that is asked to end has done so.
    pub(crate) ends: Ends,
    /// Whether volumes grow as soon as their claims ask for it.
    pub(crate) volumes_grow: bool,
    /// Addresses that pods have had.
    pub(crate) addresses: u32,
    /// The revision at which the last step moved nothing.
    pub(crate) rested_at: Option<u64>,
    /// Whether what controllers and nodes do stands still.
    pub(crate) is_frozen: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            pods: Box::new(|_| PodIs::Ready),
            ends: Box::new(|_| true),
            volumes_grow: true,
            addresses: 0,
            rested_at: None,
            is_frozen: false,
        }
    }
}
