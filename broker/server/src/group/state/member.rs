//! A member of a group: what it asked for, what it waits for, when it counts as gone.
//!
//! Source: Kafka 3.9 `MemberMetadata`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request::{Protocol, Token};

/// A member of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// What the coordinator named it.
    pub member_id: Arc<str>,
    /// What a static member calls itself (`group.instance.id`).
    pub group_instance_id: Option<Arc<str>>,
    /// The client that joined.
    pub client_id: Arc<str>,
    /// Where it joined from, as Kafka writes an address.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// The protocols that it speaks, the preferred first, with its metadata for each.
    pub protocols: Vec<Protocol>,
    /// What the leader assigned to it in this generation.
    pub assignment: Arc<[u8]>,
    /// Its JoinGroup that is not answered.
    pub(super) awaiting_join: Option<Token>,
    /// Its SyncGroup that is not answered.
    pub(super) awaiting_sync: Option<Token>,
    /// Whether it has never been in a generation.
    pub(super) is_new: bool,
    /// When it counts as gone; `None` while it waits for an answer.
    pub(super) session_deadline: Option<Instant>,
}

impl Member {
    /// Returns what it says in the protocol `name`; nothing if it does not speak that.
    pub fn metadata(&self, name: &str) -> Arc<[u8]> {
        let spoken = self.protocols.iter().find(|protocol| *protocol.name == *name);
        spoken.map_or_else(|| Arc::from([]), |protocol| Arc::clone(&protocol.metadata))
    }

    /// Returns whether it speaks the protocol `name`.
    pub(super) fn speaks(&self, name: &str) -> bool {
        self.protocols.iter().any(|protocol| *protocol.name == *name)
    }

    /// Returns the first of its protocols that `is_candidate`.
    pub(super) fn vote(&self, is_candidate: impl Fn(&str) -> bool) -> Option<&Arc<str>> {
        self.protocols.iter().map(|protocol| &protocol.name).find(|name| is_candidate(name))
    }

    /// Returns whether it need not send heartbeats: the answer to what it asked is its sign of life.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}
