//! What brokers say, as decisions look at it; `client` asks one of them, `pool` whichever of a cluster can answer.

pub mod client;
pub mod pool;
pub mod schema;
pub mod trouble;

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
        /// Who has leave, where another broker does.
        holder: Option<i32>,
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
