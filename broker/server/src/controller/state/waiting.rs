//! Requests that are answered once what follows from them is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::request::{ElectionKind, Token};

/// A request that is answered when the turn's writes are done.
#[derive(Debug)]
pub(super) enum Waiting {
    Shutdown { token: Token, broker: BrokerId },
    Drain { token: Token, broker: BrokerId },
    Elect(ElectWaiting),
    Reassign(ReassignWaiting),
}

/// A request whose elections are being written.
#[derive(Debug)]
pub(super) struct ElectWaiting {
    pub(super) token: Token,
    pub(super) kind: ElectionKind,
    /// When it is answered although replicas are still being asked what they have.
    pub(super) until: Duration,
    pub(super) done: BTreeMap<TopicPartition, ErrorCode>,
    pub(super) left: BTreeSet<TopicPartition>,
}

/// A request whose assignments are being written.
#[derive(Debug)]
pub(super) struct ReassignWaiting {
    pub(super) token: Token,
    pub(super) done: BTreeMap<TopicPartition, ErrorCode>,
    pub(super) left: BTreeSet<TopicPartition>,
}
