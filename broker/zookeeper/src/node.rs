//! What is in the nodes: Kafka's JSON, read from every version that a Kafka has written and
//! written as Kafka 3.9 does.
//!
//! Unknown members are ignored, as Kafka does. A node that cannot be read is an error with its
//! path, never a default.

pub mod broker;
pub mod cluster_id;
pub mod config;
pub mod controller;
pub mod controller_epoch;
pub mod cordon;
pub mod feature;
pub mod isr_change;
pub mod log_dir_event;
pub mod operator;
pub mod partition_list;
pub mod partition_state;
pub mod preferred_election;
pub mod producer_id_block;
pub mod reassignment;
pub mod standing;
pub mod throttles;
pub mod topic;

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a node cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path} holds no {what} that can be read")]
pub struct NodeError {
    /// The node.
    pub path: String,
    /// What it should hold.
    pub what: &'static str,
    /// What the JSON reader says.
    pub source: serde_json::Error,
}

impl NodeError {
    /// A node that is JSON but says what cannot be.
    fn new(path: &str, what: &'static str, words: impl std::fmt::Display) -> Self {
        let source = serde::de::Error::custom(words);
        Self { path: path.to_owned(), what, source }
    }
}

fn decode<T: DeserializeOwned>(
    path: &str,
    what: &'static str,
    data: &[u8],
) -> Result<T, NodeError> {
    serde_json::from_slice(data).map_err(|source| NodeError { path: path.to_owned(), what, source })
}

/// Whether a list of brokers names each once.
fn are_distinct(ids: &[i32]) -> bool {
    ids.iter().collect::<BTreeSet<_>>().len() == ids.len()
}

/// Encodes a value whose keys are strings, which cannot fail.
fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
