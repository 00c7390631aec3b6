//! Request handlers, one file per API, and what they share: who asks, and how an answer comes.
//!
//! A handler decides nothing by itself: it calls one method of the domain (`replica`, `group`,
//! `controller`, `metadata`) and maps errors to codes. Handlers of the data plane answer at once
//! where they can ([`Outcome::Ready`]), so that the connection neither allocates nor switches
//! tasks for them.

mod admin_code;
pub(crate) mod allocate_producer_ids;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod answers;
pub(crate) mod api_versions;
mod brokers;
mod code;
pub(crate) mod controlled_shutdown;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_topic_partitions;
pub(crate) mod dispatch;
pub(crate) mod elect_leaders;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
mod group_code;
pub(crate) mod heartbeat;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leader_and_isr;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
mod partition_outcome;
pub(crate) mod produce;
pub(crate) mod stop_replica;
pub(crate) mod sync_group;
pub(crate) mod update_metadata;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

/// Who sends requests: facts of the connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address.
    pub host: IpAddr,
    /// The name of the listener that the client came through.
    pub listener: Arc<str>,
}

/// Who sends this request, and in which version.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'a> {
    /// The version of the API that the client chose.
    pub api_version: i16,
    /// Matches an answer to its request; chosen by the client.
    pub correlation_id: i32,
    /// What the client calls itself; empty when it does not say.
    pub client_id: &'a str,
    /// The connection that it came on.
    pub peer: &'a Peer,
}

/// Bytes of a client's name for itself that are kept beside what it has changed.
const AUTHOR_MAX: usize = 253;

impl RequestContext<'_> {
    /// Says who asks, for people: no client proves who it is.
    pub(crate) fn author(&self) -> String {
        let end = self.client_id.floor_char_boundary(AUTHOR_MAX);
        let client = &self.client_id[..end];
        format!("User:ANONYMOUS, client {client:?}, host {}", self.peer.host)
    }
}

/// A boxed future that owns all it needs.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// How a handler answers.
///
/// `R` is the answer and may borrow from the request's frame; `L` is the future of the same answer,
/// which owns its parts, because the frame is gone by then.
pub enum Outcome<R, L> {
    /// The answer is here.
    Ready(R),
    /// The answer waits for something: a sync, a high watermark, new records.
    Later(L),
    /// No answer is expected (`acks=0`).
    Silent,
    /// The connection must be closed: the only way to report a fault where no answer is expected.
    Close,
}
