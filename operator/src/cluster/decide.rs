//! What is done about a cluster. Pure: the same facts have the same answer.
//!
//! | the object | then |
//! |---|---|
//! | is being deleted, and may be | its sets go, its claims if the spec says so, then the object |
//! | does not wait for the operator yet | it does, before anything else is done |
//! | is paused | nothing but its status is written |
//! | cannot be built | nothing is changed; why is said |
//! | else | objects are applied in a fixed order, settings that need no restart are set, brokers come and go, one restarts |

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::facts::Facts;
use super::roll;
use crate::crd::cluster::status::ClusterStatus;
use crate::crd::condition::Finding;
use crate::reason::Reason;

/// What follows from facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is done now, in order.
    pub steps: Vec<Step>,
    /// What restarts are decided by after that; none where nothing restarts.
    pub roll: Option<roll::Facts>,
    /// What the status says, but for conditions, and what comes of the roll.
    pub status: ClusterStatus,
    /// What conditions say.
    pub findings: Vec<Finding>,
    /// What is told.
    pub tales: Vec<(Reason, String)>,
    /// When to look again.
    pub again: Again,
}

/// When to look again if nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    /// In seconds: something goes on.
    Soon,
    /// Once in a while: all is as it should be.
    Later,
    /// Never.
    OnChange,
}

/// One change. Each can be made again when it is not known whether it was made.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Have the object wait for the operator before it goes.
    Hold,
    /// Have the status say what is decided, before anything is done that follows from it.
    Note,
    /// Have an object be as it should be.
    Apply(Box<Wanted>),
    /// Have brokers read other settings, which needs no restart.
    Configure {
        /// One broker; all where there is none.
        broker: Option<i32>,
        /// What is set.
        set: BTreeMap<String, String>,
        /// What has its default again.
        reset: Vec<String>,
    },
    /// Delete a StatefulSet, and its pods with it.
    DeleteSet {
        /// Its name.
        name: String,
    },
    /// Delete a claim.
    DeleteClaim {
        /// Its name.
        name: String,
    },
    /// Let the object go.
    LetGo,
}

/// An object as it should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// An account.
    Account(ServiceAccount),
    /// Files.
    ConfigMap(ConfigMap),
    /// A service.
    Service(Service),
    /// A policy.
    Policy(NetworkPolicy),
    /// A budget.
    Budget(PodDisruptionBudget),
    /// A set.
    Set(StatefulSet),
}

/// Decides.
pub fn decide(_facts: &Facts) -> Decision {
    Decision {
        steps: Vec::new(),
        roll: None,
        status: ClusterStatus::default(),
        findings: Vec::new(),
        tales: Vec::new(),
        again: Again::Later,
    }
}
