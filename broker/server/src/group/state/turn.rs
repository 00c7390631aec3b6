//! What the handling of one event may use: the time, the limits, and where its effects go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::TimestampMs;
use broker_protocol::topic_partition::TopicPartition;

use super::request::{CommittedOffset, JoinReply, Reply, SyncReply, Token};
use crate::group::record::Entry;

/// Both readings of the clock at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For deadlines.
    pub monotonic: Instant,
    /// For what is written down.
    pub wall: TimestampMs,
}

/// The limits that groups live under, Kafka's `group.*` and `offset*` keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub max_size: usize,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Duration,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
}

impl Default for Limits {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            max_size: i32::MAX as usize,
            initial_rebalance_delay: Duration::from_secs(3),
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
        }
    }
}

/// Names an append, in the order in which they were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// What is to be done because of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// Which.
        token: Token,
        /// With what.
        reply: Reply,
    },
    /// Append to the partition that keeps the group, then tell by
    /// [`super::Event::Appended`]. Appends of a group must be made in the order given.
    Append {
        /// The name of the append.
        id: AppendId,
        /// The group that it belongs to.
        group_id: Arc<str>,
        /// What is kept, or no longer kept, from here on.
        entries: Vec<Entry>,
    },
}

/// What happens once an append has been acknowledged, or has failed.
#[derive(Debug)]
pub(super) enum Continuation {
    /// Nothing: if it is lost, it is done again or not missed.
    Nothing,
    /// The assignment of a generation becomes valid.
    Assign { generation_id: i32, assignments: Vec<(Arc<str>, Arc<[u8]>)> },
    /// A static member has replaced its former self.
    Replace(Box<Replacement>),
    /// Offsets become visible. `codes` has a code for each partition asked for; those that are
    /// still `None` take the result.
    Commit { token: Token, codes: Vec<ErrorCode>, offsets: Vec<(TopicPartition, CommittedOffset)> },
    /// Offsets have gone.
    DeleteOffsets { token: Token, codes: Vec<ErrorCode> },
    /// The group has gone.
    DeleteGroup { token: Token },
}

/// What it takes to finish, or undo, the replacement of a static member.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) group_instance_id: Arc<str>,
    pub(super) former: super::member::Member,
    pub(super) member_id: Arc<str>,
    pub(super) former_leader: Arc<str>,
    pub(super) supports_skipping_assignment: bool,
}

/// Appends that are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Appends {
    next: u64,
    waiting: BTreeMap<AppendId, (Arc<str>, Continuation)>,
}

impl Appends {
    /// Takes what waits for `id`, with the group that it belongs to.
    pub(super) fn take(&mut self, id: AppendId) -> Option<(Arc<str>, Continuation)> {
        self.waiting.remove(&id)
    }

    /// Drops what waits for groups that are not kept here any more; returns who must be told.
    pub(super) fn drop_groups(&mut self, is_gone: impl Fn(&str) -> bool) -> Vec<Token> {
        let gone: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, (group_id, _))| is_gone(group_id))
            .map(|(id, _)| *id)
            .collect();
        gone.iter()
            .filter_map(|id| match self.waiting.remove(id)?.1 {
                Continuation::Commit { token, .. }
                | Continuation::DeleteOffsets { token, .. }
                | Continuation::DeleteGroup { token } => Some(token),
                Continuation::Nothing | Continuation::Assign { .. } | Continuation::Replace(_) => {
                    None
                }
            })
            .collect()
    }
}

/// The handling of one event.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) limits: &'a Limits,
    pub(super) appends: &'a mut Appends,
    pub(super) effects: Vec<Effect>,
}

impl Turn<'_> {
    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.push(Effect::Reply { token, reply });
    }

    pub(super) fn reply_join(&mut self, token: Token, reply: JoinReply) {
        self.reply(token, Reply::Join(reply));
    }

    pub(super) fn reply_sync(&mut self, token: Token, reply: SyncReply) {
        self.reply(token, Reply::Sync(reply));
    }

    /// Asks for an append; `then` is done when it is acknowledged.
    pub(super) fn append(
        &mut self,
        group_id: &Arc<str>,
        entries: Vec<Entry>,
        then: Continuation,
    ) -> AppendId {
        self.appends.next += 1;
        let id = AppendId(self.appends.next);
        self.appends.waiting.insert(id, (Arc::clone(group_id), then));
        self.effects.push(Effect::Append { id, group_id: Arc::clone(group_id), entries });
        id
    }
}
