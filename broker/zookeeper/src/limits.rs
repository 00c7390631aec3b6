//! What a path and a transaction may be: ZooKeeper's limits, kept by every store before it asks, so
//! that what works with the embedded tree works with a ZooKeeper.
//!
//! A ZooKeeper answers a request that is too large by closing the connection, which would look like
//! any other loss.
//! Source: ZooKeeper 3.9 `PathUtils`, `BinaryInputArchive`, `NIOServerCnxn`.

use crate::store::{CreateMode, Op, StoreError};

/// The most that one request may be, in bytes: ZooKeeper's default of `jute.maxbuffer`.
const TRANSACTION_MAX: usize = 0xf_ffff;

/// What a transaction adds to its steps: its header, and the mark of its end.
pub(crate) const OF_TRANSACTION: usize = 8 + 9;

/// What a step adds to its path and its data at most: its header, the two lengths, an open access
/// list and the mode.
pub(crate) const OF_STEP: usize = 9 + 8 + 27 + 4;

/// Refuses a transaction whose paths are bad, or that is too large when each path is `chroot` bytes
/// longer than it says.
pub(crate) fn check(ops: &[Op], chroot: usize) -> Result<(), StoreError> {
    for op in ops {
        match op {
            Op::Create { path, mode, .. } => check_new(path, *mode)?,
            Op::Delete { path, .. } if path == "/" => return Err(bad(path)),
            Op::Set { path, .. } | Op::Delete { path, .. } | Op::Check { path, .. } => {
                check_path(path)?;
            }
        }
    }
    let size = OF_TRANSACTION + ops.iter().map(|op| size_of(op).1 + chroot).sum::<usize>();
    if size <= TRANSACTION_MAX {
        return Ok(());
    }
    let largest = ops.iter().map(size_of).max_by_key(|(_, size)| *size);
    Err(StoreError::TooLarge { path: largest.map_or("", |(path, _)| path).to_owned(), size })
}

fn size_of(op: &Op) -> (&str, usize) {
    let (path, data) = match op {
        Op::Create { path, data, .. } | Op::Set { path, data, .. } => (path, data.len()),
        Op::Delete { path, .. } | Op::Check { path, .. } => (path, 0),
    };
    (path, OF_STEP + path.len() + data)
}

/// Refuses what can be no node's path.
pub(crate) fn check_path(path: &str) -> Result<(), StoreError> {
    if path == "/" { Ok(()) } else { check_new(path, CreateMode::Persistent) }
}

/// Refuses what cannot be the path of a node that is to be created with `mode`.
fn check_new(path: &str, mode: CreateMode) -> Result<(), StoreError> {
    let parts = path.strip_prefix('/').ok_or_else(|| bad(path))?;
    // The name of a sequential node may be empty: its number follows.
    let parts = match mode {
        CreateMode::PersistentSequential => parts.strip_suffix('/').unwrap_or(parts),
        CreateMode::Persistent | CreateMode::Ephemeral => parts,
    };
    if parts.split('/').any(|part| matches!(part, "" | "." | "..") || !part.chars().all(is_good)) {
        return Err(bad(path));
    }
    Ok(())
}

fn is_good(c: char) -> bool {
    !matches!(u32::from(c), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff)
}

fn bad(path: &str) -> StoreError {
    StoreError::BadPath { path: path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind of path that ZooKeeper refuses is refused; the root is there and is never made.
    #[test]
    fn paths_are_those_of_zookeeper() {
        for path in ["", "a", "//", "/a/", "/a//b", "/a/.", "/../b", "/a\u{1}", "/\u{fffd}"] {
            assert_eq!(check_path(path), Err(bad(path)), "{path:?}");
        }
        for path in ["/", "/a", "/.a/..b", "/<default>", "/a b%2A"] {
            assert_eq!(check_path(path), Ok(()), "{path:?}");
        }
        assert_eq!(check_new("/", CreateMode::Persistent), Err(bad("/")));
        assert_eq!(check_new("/a/", CreateMode::PersistentSequential), Ok(()));
        assert_eq!(check_new("/a/", CreateMode::Ephemeral), Err(bad("/a/")));
    }
}
