//! What brokers say, as decisions look at it; `client` asks one of them, `pool` whichever of a cluster can answer.

pub mod client;
pub mod pool;
pub mod trouble;

use std::collections::BTreeMap;

/// What a change of a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A restart.
    Restart,
    /// Nothing; it is set for each broker.
    PerBroker,
    /// Nothing; it is set for all.
    Cluster,
}

/// What brokers say of their settings: what a change of each takes, by name; empty where nobody was asked.
pub type Schema = BTreeMap<String, Change>;

/// What is said to a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be; so many partitions that others could lead are still led by it, if it was asked to hand over.
    Granted {
        /// None before it was asked.
        still_led: Option<u32>,
    },
    /// Not now.
    Refused {
        /// Why, in words.
        message: String,
        /// The first partitions that stand in the way.
        partitions: Vec<String>,
        /// Whether only partitions with too few replicas do: they do so for ever.
        is_for_ever: bool,
        /// Why, in one word of few: the label of a metric.
        label: &'static str,
    },
}

/// What may fall below `min.insync.replicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// Nothing.
    Nothing,
    /// Partitions with too few replicas.
    Unavoidable,
    /// Whatever falls.
    Everything,
}
