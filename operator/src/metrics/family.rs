//! The families: their names, labels and what they tell. The README's table has the same.

/// One family of metrics.
#[derive(Debug)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// The labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

pub(super) static RECONCILES: Family = Family {
    name: "ottla_operator_reconciles_total",
    labels: &["kind", "outcome"],
    help: "Reconciles that ended, by how.",
};
pub(super) static RECONCILE_DURATION: Family = Family {
    name: "ottla_operator_reconcile_duration_seconds",
    labels: &["kind"],
    help: "How long reconciles took.",
};
pub(super) static IN_PROGRESS_SINCE: Family = Family {
    name: "ottla_operator_reconcile_in_progress_since_seconds",
    labels: &["kind"],
    help: "When the oldest reconcile began that has not ended, in seconds since the epoch; 0 when none runs.",
};
pub(super) static QUEUE_DEPTH: Family = Family {
    name: "ottla_operator_queue_depth",
    labels: &["kind"],
    help: "Objects that changed and were not looked at since.",
};
pub(super) static API_REQUESTS: Family = Family {
    name: "ottla_operator_api_requests_total",
    labels: &["verb", "kind", "outcome"],
    help: "Requests to the Kubernetes API server.",
};
pub(super) static WRITES: Family = Family {
    name: "ottla_operator_writes_total",
    labels: &["kind"],
    help: "Writes of objects, by the kind that was written.",
};
pub(super) static WRITES_WHILE_CONVERGED: Family = Family {
    name: "ottla_operator_writes_while_converged_total",
    labels: &["kind"],
    help: "Writes on behalf of an object that was as it should be and has not changed since.",
};
pub(super) static LEADER: Family = Family {
    name: "ottla_operator_leader",
    labels: &[],
    help: "Whether this operator leads (1) or stands by (0).",
};
pub(super) static LEASE_TERM: Family = Family {
    name: "ottla_operator_lease_term",
    labels: &[],
    help: "The term that this operator leads; 0 when it does not.",
};
pub(super) static ROLLS: Family = Family {
    name: "ottla_operator_rolls_total",
    labels: &["outcome"],
    help: "Rolls of a cluster that ended, by how.",
};
pub(super) static PERMITS_REFUSED: Family = Family {
    name: "ottla_operator_restart_permits_refused_total",
    labels: &["reason"],
    help: "Restarts of a broker that the controller broker refused, by why.",
};

/// Every family.
pub static ALL: [&Family; 11] = [
    &RECONCILES,
    &RECONCILE_DURATION,
    &IN_PROGRESS_SINCE,
    &QUEUE_DEPTH,
    &API_REQUESTS,
    &WRITES,
    &WRITES_WHILE_CONVERGED,
    &LEADER,
    &LEASE_TERM,
    &ROLLS,
    &PERMITS_REFUSED,
];
