//! The coordination tree as the broker sees it: ZooKeeper's contract, whoever keeps it.
//!
//! A [`Store`] is one session. Nodes are read with their [`Stat`]; writes name the version they
//! replace; [`Store::multi`] is all or nothing; ephemeral nodes go when their session ends.
//!
//! A watch carries no data: every event means "read again", and the watch is set by that same
//! read, so that no change falls between the two (KAFKA-5502). Watches may be late and bursts
//! coalesce; they never run ahead of what a read of the same session returns.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use tokio::sync::mpsc;

/// The future of one operation.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// One node of [`Store::get_many`].
pub type NodeRead = Result<(Vec<u8>, Stat), StoreError>;

/// Facts of a node, named as ZooKeeper's `Stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// The transaction that created it; for a broker's registration this is the broker epoch.
    pub czxid: i64,
    /// The transaction that last changed its data.
    pub mzxid: i64,
    /// The transaction that last changed its children.
    pub pzxid: i64,
    /// When it was created, in wall milliseconds.
    pub ctime: i64,
    /// When its data was last changed, in wall milliseconds.
    pub mtime: i64,
    /// How often its data has changed.
    pub version: i32,
    /// How often its children have changed.
    pub cversion: i32,
    /// The session that it lives with, or 0.
    pub ephemeral_owner: i64,
    /// The size of its data, in bytes.
    pub data_length: i32,
    /// The number of its children.
    pub num_children: i32,
}

/// How a node is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateMode {
    /// Lives until it is deleted.
    Persistent,
    /// Lives until it is deleted; ten digits that count up are added to its name.
    PersistentSequential,
    /// Lives until its session ends, and has no children.
    Ephemeral,
}

/// One step of [`Store::multi`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates a node.
    Create {
        /// Its path.
        path: String,
        /// Its data.
        data: Vec<u8>,
        /// How long it lives.
        mode: CreateMode,
    },
    /// Replaces a node's data.
    Set {
        /// Its path.
        path: String,
        /// Its new data.
        data: Vec<u8>,
        /// The version that is replaced; `None` replaces any.
        version: Option<i32>,
    },
    /// Deletes a node.
    Delete {
        /// Its path.
        path: String,
        /// The version that is deleted; `None` deletes any.
        version: Option<i32>,
    },
    /// Fails the whole if the node has another version.
    Check {
        /// Its path.
        path: String,
        /// The version that it must have.
        version: i32,
    },
}

/// What one step of [`Store::multi`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResult {
    /// The node is there; for a sequential one the path has its number.
    Created {
        /// The real path.
        path: String,
        /// The new node.
        stat: Stat,
    },
    /// The data is replaced.
    Set {
        /// The changed node.
        stat: Stat,
    },
    /// The node is gone.
    Deleted,
    /// The version is the one named.
    Checked,
}

/// What a watch covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMode {
    /// The node and its children, again and again.
    Persistent,
    /// The node and everything below it, again and again.
    PersistentRecursive,
}

/// What happened to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was created.
    Created,
    /// Its data was replaced.
    DataChanged,
    /// It was deleted.
    Deleted,
    /// A child was created or deleted.
    ChildrenChanged,
    /// The connection was away, and what happened meanwhile was not reported: anything that the
    /// watch covers may have changed. The watch is set again; `path` is the one that it was set on.
    Missed,
    /// The session is over: nothing is watched any more.
    SessionExpired,
}

/// One firing of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// To which node.
    pub path: String,
}

/// Where a watch fires. A one-shot watch fires once; a persistent one until it is dropped.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::UnboundedReceiver<WatchEvent>,
}

impl Watch {
    /// Wraps the receiving end of a watch. The channel needs no bound: a one-shot watch sends one
    /// event, and a persistent one is read by a loop that coalesces.
    pub fn new(events: mpsc::UnboundedReceiver<WatchEvent>) -> Self {
        Self { events }
    }

    /// Waits for the next event; a session that is gone is an event too. Cancel-safe.
    pub async fn next(&mut self) -> WatchEvent {
        self.events
            .recv()
            .await
            .unwrap_or_else(|| WatchEvent { kind: EventKind::SessionExpired, path: String::new() })
    }

    /// Returns an event that has already come, without waiting.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        self.events.try_recv().ok()
    }
}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The node, or the parent of the one to create, does not exist.
    #[error("{path} does not exist")]
    NoNode {
        /// The path that was named.
        path: String,
    },
    /// The node exists already.
    #[error("{path} exists already")]
    NodeExists {
        /// The path that was named.
        path: String,
    },
    /// The node has another version.
    #[error("{path} is not at version {expected}")]
    BadVersion {
        /// The path that was named.
        path: String,
        /// The version that was named.
        expected: i32,
    },
    /// The node has children and cannot be deleted.
    #[error("{path} has children")]
    NotEmpty {
        /// The path that was named.
        path: String,
    },
    /// An ephemeral node cannot have children.
    #[error("{path} is ephemeral and can have no children")]
    NoChildrenForEphemerals {
        /// The parent's path.
        path: String,
    },
    /// The path is not one: it must begin with `/`, and no part may be empty, `.` or `..`.
    #[error("{path:?} is no path of a node")]
    BadPath {
        /// What was given.
        path: String,
    },
    /// The session is over; its ephemeral nodes and watches are gone.
    #[error("the session has expired")]
    SessionExpired,
    /// The connection broke, or the server has too much to do: whether the operation was done is not known.
    /// Read before you repeat: see [`crate::settle`].
    #[error("the connection was lost, and whether the operation was done is not known")]
    ConnectionLoss,
    /// The node's access list keeps this broker out.
    #[error("no permission for {path}")]
    NoPermission {
        /// The path that was named.
        path: String,
    },
    /// A quota that the operators of ZooKeeper set on a part of the tree.
    #[error("the quota of {path} is used up")]
    QuotaExceeded {
        /// The path that was named.
        path: String,
    },
    /// The server does not know the operation. One that is older than 3.6 gives no session at all.
    #[error("the coordination service is too old for this operation")]
    Unsupported,
    /// The paths and data of one transaction are larger than ZooKeeper takes (`jute.maxbuffer`).
    #[error("{path} is part of a change of {size} bytes, which is too large")]
    TooLarge {
        /// The path with the most data.
        path: String,
        /// The bytes of all paths and data.
        size: usize,
    },
    /// There is no space for the change: nothing was done, and it may be tried again.
    #[error("the disk of the coordination tree is full")]
    Full,
    /// The tree's file cannot be written; nothing is changed from here on.
    #[error("the coordination tree cannot be written")]
    Unwritable,
}

/// One session with the coordination tree.
pub trait Store: Debug + Send + Sync {
    /// Returns the session's id, which ephemeral nodes name as their owner.
    fn session_id(&self) -> i64;

    /// Creates a node; returns its real path (a sequential node's has its number) and its stat.
    fn create<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        mode: CreateMode,
    ) -> Answer<'a, (String, Stat)>;

    /// Reads a node.
    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat)>;

    /// Reads many nodes; each has its own result, in the order of `paths`. For loading a whole
    /// tree: one round trip for hundreds. What is read is no snapshot.
    ///
    /// # Errors
    /// What keeps all from being read, as a lost connection. A node that is not there fails alone.
    fn get_many<'a>(&'a self, paths: &'a [String]) -> Answer<'a, Vec<NodeRead>>;

    /// Reads a node and watches it for a change of data or deletion.
    fn get_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat, Watch)>;

    /// Returns a node's stat, if it exists.
    fn exists<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Stat>>;

    /// Returns a node's stat, if it exists, and watches for creation, change or deletion.
    fn exists_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Option<Stat>, Watch)>;

    /// Returns the names of a node's children, in order.
    fn children<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<String>>;

    /// Returns the names of a node's children and watches for a child that comes or goes.
    fn children_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<String>, Watch)>;

    /// Replaces a node's data, if it has `version` or that is `None`.
    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> Answer<'a, Stat>;

    /// Deletes a node without children, if it has `version` or that is `None`.
    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> Answer<'a, ()>;

    /// Does all of `ops` in order, or none of them.
    ///
    /// # Errors
    /// The error of the first step that fails, with its path. Where only one step is about a path,
    /// that tells which; a [`StoreError::NoNode`] of a creation names the parent.
    fn multi(&self, ops: Vec<Op>) -> Answer<'_, Vec<OpResult>>;

    /// Waits until this session sees every change that was done before the call.
    fn sync<'a>(&'a self, path: &'a str) -> Answer<'a, ()>;

    /// Watches a path again and again, whether it exists or not.
    fn watch<'a>(&'a self, path: &'a str, mode: WatchMode) -> Answer<'a, Watch>;
}
