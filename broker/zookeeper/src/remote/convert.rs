//! Between the words of the client library and those of the store.
//!
//! The library reports a lost connection as whatever broke it: an I/O error, a silence, bytes that
//! make no sense. Only what a server said of the request itself is definite; every other error
//! leaves it open whether the request was done, and is a [`StoreError::ConnectionLoss`]. That is also
//! what a server says that has too much to do: it has done nothing, and whoever looks and tries again is right.

use zookeeper_client as zk;

use crate::path::parent_of;
use crate::store::{CreateMode, EventKind, Op, Stat, StoreError, WatchEvent, WatchMode};

/// What was asked about a path: some errors name another path, or a version.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// To read it.
    Read(&'a str),
    /// To create it.
    Create(&'a str),
    /// To change or check a version of it.
    Version(&'a str, i32),
}

impl<'a> Asked<'a> {
    /// What a step of a transaction asks.
    pub(super) fn of(op: &'a Op) -> Self {
        match op {
            Op::Create { path, .. } => Self::Create(path),
            Op::Set { path, version, .. } | Op::Delete { path, version } => {
                Self::Version(path, version.unwrap_or_default())
            }
            Op::Check { path, version } => Self::Version(path, *version),
        }
    }

    fn path(self) -> &'a str {
        match self {
            Self::Read(path) | Self::Create(path) | Self::Version(path, _) => path,
        }
    }

    /// The node that has to be there.
    fn required(self) -> String {
        match self {
            Self::Create(path) => parent_of(path).to_owned(),
            Self::Read(path) | Self::Version(path, _) => path.to_owned(),
        }
    }
}

/// An error of a request.
pub(super) trait MayPass {
    /// Whether the server had too much to do, and did nothing (`zookeeper.throttled_op_wait_time`).
    fn is_throttled(&self) -> bool;
}

impl MayPass for zk::Error {
    fn is_throttled(&self) -> bool {
        *self == Self::Throttled
    }
}

impl MayPass for zk::MultiWriteError {
    fn is_throttled(&self) -> bool {
        let (Self::RequestFailed { source } | Self::OperationFailed { source, .. }) = self;
        source.is_throttled()
    }
}

/// Translates why a request failed.
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever is not definite is open")]
pub(super) fn error(asked: Asked<'_>, error: &zk::Error) -> StoreError {
    let path = asked.path().to_owned();
    match error {
        zk::Error::NoNode => StoreError::NoNode { path: asked.required() },
        zk::Error::NodeExists => StoreError::NodeExists { path },
        zk::Error::NotEmpty => StoreError::NotEmpty { path },
        zk::Error::NoChildrenForEphemerals => {
            StoreError::NoChildrenForEphemerals { path: asked.required() }
        }
        zk::Error::BadVersion => {
            let expected = if let Asked::Version(_, version) = asked { version } else { 0 };
            StoreError::BadVersion { path, expected }
        }
        zk::Error::BadArguments(_) => StoreError::BadPath { path },
        zk::Error::NoAuth | zk::Error::InvalidAcl => StoreError::NoPermission { path },
        zk::Error::QuotaExceeded => StoreError::QuotaExceeded { path },
        zk::Error::Unimplemented => StoreError::Unsupported,
        zk::Error::SessionExpired | zk::Error::ClientClosed | zk::Error::AuthFailed => {
            StoreError::SessionExpired
        }
        error => {
            tracing::debug!(%error, path, "a request to ZooKeeper has no certain outcome");
            StoreError::ConnectionLoss
        }
    }
}

/// Translates a node's facts.
pub(super) fn stat(stat: &zk::Stat) -> Stat {
    Stat {
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        pzxid: stat.pzxid,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        ephemeral_owner: stat.ephemeral_owner,
        data_length: stat.data_length,
        num_children: stat.num_children,
    }
}

/// Translates a mode of creation, with an access list that is open to all, as Kafka's is.
pub(super) fn create_options(mode: CreateMode) -> zk::CreateOptions<'static> {
    let mode = match mode {
        CreateMode::Persistent => zk::CreateMode::Persistent,
        CreateMode::PersistentSequential => zk::CreateMode::PersistentSequential,
        CreateMode::Ephemeral => zk::CreateMode::Ephemeral,
    };
    mode.with_acls(zk::Acls::anyone_all())
}

/// Translates a version: a negative one is never a node's, though a server takes -1 for "any".
pub(super) fn version(version: i32) -> i32 {
    if version < 0 { i32::MIN } else { version }
}

/// Translates what a lasting watch covers.
pub(super) fn watch_mode(mode: WatchMode) -> zk::AddWatchMode {
    match mode {
        WatchMode::Persistent => zk::AddWatchMode::Persistent,
        WatchMode::PersistentRecursive => zk::AddWatchMode::PersistentRecursive,
    }
}

/// Translates an event of a node; `None` for one of the session.
pub(super) fn event(event: zk::WatchedEvent) -> Option<WatchEvent> {
    let kind = match event.event_type {
        zk::EventType::NodeCreated => EventKind::Created,
        zk::EventType::NodeDataChanged => EventKind::DataChanged,
        zk::EventType::NodeDeleted => EventKind::Deleted,
        zk::EventType::NodeChildrenChanged => EventKind::ChildrenChanged,
        zk::EventType::Session => return None,
    };
    Some(WatchEvent { kind, path: event.path })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server said is told apart, with the path that it is about; all else is open.
    #[test]
    fn errors_are_definite_only_where_a_server_spoke() {
        let path = || "/a/b".to_owned();
        let parent = || "/a".to_owned();
        let (read, create) = (Asked::Read("/a/b"), Asked::Create("/a/b"));
        let set = Asked::Version("/a/b", 7);
        let cases = [
            (read, zk::Error::NoNode, StoreError::NoNode { path: path() }),
            (create, zk::Error::NoNode, StoreError::NoNode { path: parent() }),
            (create, zk::Error::NodeExists, StoreError::NodeExists { path: path() }),
            (set, zk::Error::BadVersion, StoreError::BadVersion { path: path(), expected: 7 }),
            (set, zk::Error::NoAuth, StoreError::NoPermission { path: path() }),
            (set, zk::Error::Throttled, StoreError::ConnectionLoss),
            (set, zk::Error::SessionExpired, StoreError::SessionExpired),
            (set, zk::Error::ClientClosed, StoreError::SessionExpired),
            (set, zk::Error::ConnectionLoss, StoreError::ConnectionLoss),
            (set, zk::Error::SessionMoved, StoreError::ConnectionLoss),
            (set, zk::Error::UnexpectedErrorCode(-1), StoreError::ConnectionLoss),
            (set, zk::Error::UnexpectedError("?".to_owned()), StoreError::ConnectionLoss),
        ];
        for (asked, from, expected) in cases {
            assert_eq!(error(asked, &from), expected, "{from}");
        }
    }
}
