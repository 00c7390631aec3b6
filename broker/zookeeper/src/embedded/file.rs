//! The tree on disk: one file of transactions, each whole or not there.
//!
//! A frame is `u32` length, `u32` CRC-32 of the rest, then what transactions that were written together
//! left behind or took away: the last one's zxid, and nodes. State is written, not commands, so that a
//! frame can be replayed twice without harm, and what comes later in it wins. Ephemeral nodes are never written: their sessions die with the process.
//!
//! Each frame is synced before the next is written, so a power cut can tear the last one only. A torn
//! frame at the end is cut: it was never acknowledged. A damaged frame before the end is an
//! error, never skipped. When the file is opened it is rewritten as the nodes that are there, so that it
//! stays as small as the tree.
//!
//! This is the one file of the crate that reaches the disk; the tree may not depend on
//! `broker-storage`.

#![allow(clippy::disallowed_methods, reason = "this is the crate's seam to the disk")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::tree::{Node, Tree};
use crate::store::Stat;

/// Bytes before a frame's payload.
const FRAME_HEADER: usize = 8;

/// The largest frame that is believed, in bytes: a transaction is bounded by the tree and stays far
/// below, and a damaged length does not make us allocate.
const FRAME_MAX: u32 = 64 * 1024 * 1024;

/// A frame of this size takes no more transactions, in bytes: half of what is believed is left for
/// the one that crossed it.
const FRAME_FULL: usize = 4 * 1024 * 1024;

/// What one frame says of a path: the node that is there now, or `None`.
pub(crate) type Entry<'a> = (&'a str, Option<&'a Node>);

/// Why the tree cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the tree open.
    #[error(
        "another process uses the coordination tree {path}; stop it, or give this broker other log.dirs",
        path = path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file or its directory cannot be read or written.
    #[error("cannot use the coordination tree's file {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A frame before the last one is damaged: restore the file from a copy, or remove it to begin
    /// with no topics (their data stays on disk).
    #[error(
        "the coordination tree's file {path} is damaged at byte {position}; restore it from a copy",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged frame begins.
        position: u64,
    },
}

/// The file, open for appending.
pub(crate) struct TreeFile {
    file: File,
    frame: Vec<u8>,
    /// The end of the last transaction that is on disk, in bytes: all that may be in the file.
    length: u64,
    /// The file may hold what its end does not say: nothing more is written.
    is_broken: bool,
    /// How the disk is reached.
    disk: Disk,
    /// Held for as long as the tree is open.
    _lock: File,
}

/// What is done to the file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    /// These bytes are written at the position.
    Write(&'a [u8]),
    /// The file is cut to this length, and that is where the position goes.
    Cut(u64),
    /// All of it reaches the disk.
    Sync,
}

/// Does a step: the real one is [`real_disk`], tests put faults before it.
pub(crate) type Disk = Box<dyn FnMut(&File, Step<'_>) -> io::Result<()> + Send>;

fn real_disk(mut file: &File, step: Step<'_>) -> io::Result<()> {
    match step {
        Step::Write(bytes) => file.write_all(bytes),
        Step::Cut(length) => {
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length)).map(drop)
        }
        Step::Sync => file.sync_data(),
    }
}

/// Why transactions were not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// No space: none of them is in the file, and later ones may succeed.
    #[error("the disk is full")]
    Full(#[source] io::Error),
    /// What the file holds is not known: nothing more is written.
    #[error("the file cannot be relied on")]
    Broken(#[source] io::Error),
    /// An earlier error was of the kind [`Self::Broken`].
    #[error("the file was given up")]
    GivenUp,
}

impl std::fmt::Debug for TreeFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeFile").field("length", &self.length).finish_non_exhaustive()
    }
}

impl TreeFile {
    /// Reads `path`, or begins it, and rewrites it without what is out of date.
    pub(crate) fn open(path: &Path) -> Result<(Self, Tree), OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(io)?;
        let lock = lock(path)?;
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes).map_err(io).map(drop)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        let tree = read(&bytes)
            .map_err(|position| OpenError::Damaged { path: path.to_owned(), position })?;
        let file = rewrite(path, directory, &tree, lock).map_err(io)?;
        Ok((file, tree))
    }

    /// Adds a transaction to what the next [`Self::commit`] writes.
    pub(crate) fn add<'a>(&mut self, zxid: i64, entries: impl Iterator<Item = Entry<'a>>) {
        encode(&mut self.frame, zxid, entries);
    }

    /// Whether what was added should be written before more is.
    pub(crate) fn is_full(&self) -> bool {
        self.frame.len() >= FRAME_FULL
    }

    /// Writes all transactions that were added, with one sync for all of them; returns whether there
    /// were any.
    ///
    /// # Errors
    /// The transactions are dropped; the variant says whether others may follow.
    pub(crate) fn commit(&mut self) -> Result<bool, WriteError> {
        let mut frame = std::mem::take(&mut self.frame);
        if frame.is_empty() {
            return Ok(false);
        }
        seal(&mut frame);
        if self.is_broken {
            return Err(WriteError::GivenUp);
        }
        // An error on the way out, of whatever kind, leaves it so.
        self.is_broken = true;
        if let Err(error) = (self.disk)(&self.file, Step::Write(&frame)) {
            // What a later frame would follow must not be half a frame, nor one that was refused.
            (self.disk)(&self.file, Step::Cut(self.length)).map_err(WriteError::Broken)?;
            if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                return Err(WriteError::Broken(error));
            }
            (self.disk)(&self.file, Step::Sync).map_err(WriteError::Broken)?;
            self.is_broken = false;
            return Err(WriteError::Full(error));
        }
        if let Err(error) = (self.disk)(&self.file, Step::Sync) {
            // As well as can be: what is refused should not be there at the next start.
            let _ = (self.disk)(&self.file, Step::Cut(self.length));
            return Err(WriteError::Broken(error));
        }
        self.length += frame.len() as u64;
        self.is_broken = false;
        Ok(true)
    }
}

/// Takes the tree for this process; the lock goes with the file that is returned.
fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let file = path.with_extension("lock");
    let file =
        OpenOptions::new().create(true).write(true).truncate(false).open(file).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn rewrite(path: &Path, directory: &Path, tree: &Tree, lock: File) -> io::Result<TreeFile> {
    let temporary = path.with_extension("tmp");
    let mut file = TreeFile {
        file: OpenOptions::new().create(true).write(true).truncate(true).open(&temporary)?,
        frame: Vec::new(),
        length: 0,
        is_broken: false,
        disk: Box::new(real_disk),
        _lock: lock,
    };
    for (path, node) in tree.iter() {
        file.add(tree.zxid(), std::iter::once((path, Some(node))));
        if file.is_full() {
            file.commit().map_err(io::Error::other)?;
        }
    }
    file.commit().map_err(io::Error::other)?;
    fs::rename(&temporary, path)?;
    // The new name must outlive a power cut as surely as the bytes do.
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// Rebuilds the tree; `Err` is the position of a damaged frame that is not the last.
fn read(bytes: &[u8]) -> Result<Tree, u64> {
    let mut tree = Tree::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let position = (bytes.len() - rest.len()) as u64;
        match frame(rest) {
            Frame::Whole { payload, after } => {
                replay(&mut tree, payload).ok_or(position)?;
                rest = after;
            }
            Frame::Torn => break,
            Frame::Damaged => return Err(position),
        }
    }
    for path in ephemerals(&tree) {
        tree.forget(&path);
    }
    Ok(tree)
}

fn ephemerals(tree: &Tree) -> Vec<String> {
    let is_ephemeral = |node: &Node| node.stat.ephemeral_owner != 0;
    tree.iter().filter(|(_, node)| is_ephemeral(node)).map(|(path, _)| path.to_owned()).collect()
}

enum Frame<'a> {
    Whole {
        payload: &'a [u8],
        after: &'a [u8],
    },
    /// The file ends inside it.
    Torn,
    Damaged,
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER>() else {
        return Frame::Torn;
    };
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (length, crc) = (word(0), word(4));
    if length > FRAME_MAX {
        return Frame::Damaged;
    }
    let Some((payload, after)) = rest.split_at_checked(length as usize) else {
        return Frame::Torn;
    };
    if crc32fast::hash(payload) == crc {
        Frame::Whole { payload, after }
    } else if after.is_empty() {
        // The last one: its length reached the disk, some of its sectors did not.
        Frame::Torn
    } else {
        Frame::Damaged
    }
}

/// Adds a transaction to a frame, which it begins if there is none.
fn encode<'a>(buffer: &mut Vec<u8>, zxid: i64, entries: impl Iterator<Item = Entry<'a>>) {
    if buffer.is_empty() {
        buffer.extend([0; FRAME_HEADER + size_of::<i64>()]);
    }
    buffer[FRAME_HEADER..FRAME_HEADER + size_of::<i64>()].copy_from_slice(&zxid.to_be_bytes());
    for (path, node) in entries {
        put_bytes(buffer, path.as_bytes());
        let Some(node) = node.filter(|node| node.stat.ephemeral_owner == 0) else {
            buffer.push(0);
            continue;
        };
        buffer.push(1);
        put_bytes(buffer, &node.data);
        let Stat { czxid, mzxid, pzxid, ctime, mtime, version, cversion, .. } = node.stat;
        for number in [czxid, mzxid, pzxid, ctime, mtime] {
            buffer.extend(number.to_be_bytes());
        }
        for number in [version, cversion, node.created_children] {
            buffer.extend(number.to_be_bytes());
        }
    }
}

/// Writes the header of a frame that is whole.
fn seal(frame: &mut [u8]) {
    let (header, payload) = frame.split_at_mut(FRAME_HEADER);
    let length = payload.len() as u32;
    assert!(length <= FRAME_MAX, "a frame that is written can be read again");
    let crc = crc32fast::hash(payload);
    header[..4].copy_from_slice(&length.to_be_bytes());
    header[4..].copy_from_slice(&crc.to_be_bytes());
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend((bytes.len() as u32).to_be_bytes());
    buffer.extend(bytes);
}

/// Replays one transaction; `None` when its bytes make no sense.
fn replay(tree: &mut Tree, payload: &[u8]) -> Option<()> {
    let mut rest = payload;
    tree.restore_zxid(take_i64(&mut rest)?);
    while !rest.is_empty() {
        let path = String::from_utf8(take_bytes(&mut rest)?.to_vec()).ok()?;
        let (present, after) = rest.split_first()?;
        rest = after;
        if *present == 0 {
            tree.forget(&path);
            continue;
        }
        let data = take_bytes(&mut rest)?.to_vec();
        let stat = Stat {
            data_length: data.len() as i32,
            czxid: take_i64(&mut rest)?,
            mzxid: take_i64(&mut rest)?,
            pzxid: take_i64(&mut rest)?,
            ctime: take_i64(&mut rest)?,
            mtime: take_i64(&mut rest)?,
            version: take_i32(&mut rest)?,
            cversion: take_i32(&mut rest)?,
            ..Stat::default()
        };
        let created_children = take_i32(&mut rest)?;
        tree.restore(path, Node { data, stat, created_children, ..Node::default() });
    }
    Some(())
}

fn take_i64(rest: &mut &[u8]) -> Option<i64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(i64::from_be_bytes(*number))
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(i32::from_be_bytes(*number))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_i32(rest)?;
    let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
impl TreeFile {
    /// Lets `fault` look at each step first: an error is what the disk says, once it has done
    /// half of a write.
    pub(crate) fn fail(
        &mut self,
        mut fault: impl FnMut(Step<'_>) -> io::Result<()> + Send + 'static,
    ) {
        self.disk = Box::new(move |file, step| match (fault(step), step) {
            (Ok(()), step) => real_disk(file, step),
            (Err(error), Step::Write(bytes)) => {
                real_disk(file, Step::Write(&bytes[..bytes.len() / 2]))?;
                Err(error)
            }
            (Err(error), Step::Cut(_) | Step::Sync) => Err(error),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CreateMode, Op};

    fn create(path: &str) -> Op {
        Op::Create { path: path.to_owned(), data: b"data".to_vec(), mode: CreateMode::Persistent }
    }

    /// Writes three transactions; returns the file's bytes and where each transaction ends in them.
    fn written(path: &Path) -> (Vec<u8>, Vec<(usize, Tree)>) {
        let (mut file, mut tree) = TreeFile::open(path).unwrap();
        let size = || fs::metadata(path).unwrap().len() as usize;
        let mut ends = vec![(size(), tree.clone())];
        for name in ["/a", "/b", "/c"] {
            tree.apply(1, &[create(name)], 0).unwrap();
            tree.settle();
            let entries = [name, "/"].map(|path| (path, tree.get(path)));
            file.add(tree.zxid(), entries.into_iter());
            file.commit().unwrap();
            ends.push((size(), tree.clone()));
        }
        (fs::read(path).unwrap(), ends)
    }

    /// A tree that is open cannot be opened again: two writers would each lose the other's.
    #[test]
    fn a_tree_is_opened_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree.log");
        let first = TreeFile::open(&path).unwrap();
        assert!(matches!(TreeFile::open(&path).unwrap_err(), OpenError::Locked { .. }));
        drop(first);
        TreeFile::open(&path).unwrap();
    }

    /// Cut at any byte, the file holds exactly the transactions that are whole.
    #[test]
    fn a_torn_file_keeps_every_whole_transaction() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree.log");
        let (bytes, ends) = written(&path);
        for cut in ends[0].0..=bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let (_file, tree) = TreeFile::open(&path).unwrap();
            let expected = ends.iter().rev().find(|(end, _)| *end <= cut).map(|(_, tree)| tree);
            assert_eq!(Some(&tree), expected, "cut at {cut}");
        }
    }

    /// Transactions that are written together stay together: whatever a power cut leaves of their
    /// sectors, the file opens with all of them or none.
    #[test]
    fn transactions_written_together_are_torn_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree.log");
        let (mut file, mut tree) = TreeFile::open(&path).unwrap();
        let before = tree.clone();
        let start = fs::metadata(&path).unwrap().len() as usize;
        for name in ["/a", "/b", "/c"] {
            tree.apply(1, &[create(name)], 0).unwrap();
            tree.settle();
            file.add(tree.zxid(), [name, "/"].map(|path| (path, tree.get(path))).into_iter());
        }
        file.commit().unwrap();
        drop(file);
        let bytes = fs::read(&path).unwrap();
        for lost in start + FRAME_HEADER..bytes.len() {
            let mut torn = bytes.clone();
            torn[lost] ^= 0xff;
            fs::write(&path, &torn).unwrap();
            assert_eq!(TreeFile::open(&path).unwrap().1, before, "byte {lost} is lost");
        }
        fs::write(&path, &bytes).unwrap();
        assert_eq!(TreeFile::open(&path).unwrap().1, tree);
    }

    /// A bit that flips before the last transaction is found and said, never skipped.
    #[test]
    fn damage_in_the_middle_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree.log");
        let (bytes, ends) = written(&path);
        for position in ends[0].0 + FRAME_HEADER..ends[1].0 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let error = TreeFile::open(&path).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{position}: {error}");
        }
    }
}
