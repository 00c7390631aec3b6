//! What the test says of the world outside of the server: whether a pod runs, and when it has ended.

use std::time::Duration;

use serde_json::Value;

use super::cluster::COUNT;
use super::store::Store;

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

/// What each pod is, and whether volumes grow.
pub(crate) type Sight = (Vec<PodIs>, bool);

type Pods = Box<dyn FnMut(&Value) -> PodIs + Send>;
type Ends = Box<dyn FnMut(&Value) -> bool + Send>;

/// What runs in some of the pods: a part of the world that lives on its own. It is asked under the state's lock, and must
/// not call the fake.
pub(crate) trait Companion: Send {
    /// Looks at the objects, and moves on to `now`, the time since the start.
    fn step(&mut self, store: &Store, now: Duration);
    /// What a pod is; `None` for a pod of others.
    fn pod(&self, pod: &Value) -> Option<PodIs>;
    /// Whether a pod that is asked to end has done so; `None` for a pod of others.
    fn has_ended(&self, pod: &Value) -> Option<bool>;
    /// Counts what has changed: as long as it does, the cluster is not at rest.
    fn revision(&self) -> u64;
    /// What it is called, and all that it has come to.
    fn snapshot(&self) -> (String, Value);
    /// Texts that differ from run to run, and what stands for them.
    fn names(&self) -> Vec<(String, String)>;
}

/// The test's word on pods and volumes.
pub(crate) struct World {
    /// Who is asked about pods first.
    pub(crate) companions: Vec<Box<dyn Companion>>,
    /// What a pod is; asked whenever the cluster moves.
    pub(crate) pods: Pods,
    /// Whether a pod that is asked to end has done so.
    pub(crate) ends: Ends,
    /// Whether volumes grow as soon as their claims ask for it.
    pub(crate) volumes_grow: bool,
    /// Addresses that pods have had.
    pub(crate) addresses: u32,
    /// The revision at which each component looked last.
    pub(crate) looked: [u64; COUNT],
    /// What was said when the last step moved nothing.
    pub(crate) seen: Sight,
    /// Whether what controllers and nodes do stands still.
    pub(crate) is_frozen: bool,
}

impl World {
    /// Says what a pod is.
    pub(crate) fn pod_is(&mut self, pod: &Value) -> PodIs {
        let said = self.companions.iter().find_map(|companion| companion.pod(pod));
        said.unwrap_or_else(|| (self.pods)(pod))
    }

    /// Says whether a pod that is asked to end has done so.
    pub(crate) fn has_ended(&mut self, pod: &Value) -> bool {
        let said = self.companions.iter().find_map(|companion| companion.has_ended(pod));
        said.unwrap_or_else(|| (self.ends)(pod))
    }
}

impl Default for World {
    fn default() -> Self {
        Self {
            companions: Vec::new(),
            pods: Box::new(|_| PodIs::Ready),
            ends: Box::new(|_| true),
            volumes_grow: true,
            addresses: 0,
            looked: [0; COUNT],
            seen: (Vec::new(), true),
            is_frozen: false,
        }
    }
}
