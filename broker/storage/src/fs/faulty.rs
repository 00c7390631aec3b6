//! A file system in memory that forgets what was not synced, for crash tests of the log's own code.
//!
//! [`FaultyFs::crash`] gives the disk as a power loss at this moment could leave it:
//! * of each file, every 512-byte sector written since its last sync is either old or new, and the
//!   size is the old one, the new one or one between, filled with zeros: torn writes;
//! * of each directory, the names created, renamed and removed since its last sync are kept up to a
//!   random point of their order.
//!
//! [`FaultyFs::fail_from`] makes the n-th operation and, if asked, all later ones fail; a write that
//! fails may have written any prefix. A failed sync drops what it should have made durable: a second
//! one succeeds and proves nothing, as on Linux.
//!
//! Everything is decided by the seed and the order of operations. What a real disk may do and this
//! one does not: reorder names within a directory, lie about syncs, decay.
//!
//! Concurrency: handles are clones of one shared disk behind a lock.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, File, Fs, Lock, Map, Open};

mod contents;
mod directory;

use contents::FileNode;
use directory::{Directory, NameChange};

/// What an operation that is made to fail answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The disk is broken (`EIO`).
    Broken,
    /// The disk is full (`ENOSPC`): only operations that need space fail.
    Full,
    /// The power is gone for good: the operation is cut short, and later ones do nothing. What
    /// [`FaultyFs::crash`] gives from then on is what the loss left.
    Power,
    /// The process has no descriptor left (`EMFILE`): only operations that open something fail, those
    /// that are not counted among them.
    Descriptors,
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Broken | Self::Power => {
                io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
            }
            Self::Full => ErrorKind::StorageFull.into(),
            Self::Descriptors => {
                io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())
            }
        }
    }
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct FaultyFs {
    disk: Arc<Mutex<Disk>>,
}

/// A node of the tree, by its number. Numbers are never used twice.
type NodeId = u64;
const ROOT: NodeId = 0;

#[derive(Debug)]
enum Node {
    File(FileNode),
    Directory(Directory),
}

#[derive(Debug)]
struct Disk {
    random: Random,
    nodes: BTreeMap<NodeId, Node>,
    next_node: NodeId,
    operations: u64,
    fault: Option<Fault>,
    now_ms: i64,
    locked: Vec<NodeId>,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    from: u64,
    failure: Failure,
    is_forever: bool,
}

/// What an operation needs of the disk, for [`Failure::Full`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Space,
    Nothing,
}

impl FaultyFs {
    /// Makes an empty disk, all of whose choices follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let root = Node::Directory(Directory::default());
        Self::with(Disk {
            random: Random(seed),
            nodes: BTreeMap::from([(ROOT, root)]),
            next_node: ROOT + 1,
            operations: 0,
            fault: None,
            now_ms: 0,
            locked: Vec::new(),
        })
    }

    fn with(disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Returns how many operations that change the disk were tried. Reads do not count.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Makes the operation number `from` (from 0, as [`FaultyFs::operations`] counts) fail; all later
    /// ones too if `is_forever`.
    pub fn fail_from(&self, from: u64, failure: Failure, is_forever: bool) {
        self.disk.lock().fault = Some(Fault { from, failure, is_forever });
    }

    /// Ends the failures.
    pub fn heal(&self) {
        self.disk.lock().fault = None;
    }

    /// Sets the time that files written from now on carry.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.disk.lock().now_ms = now_ms;
    }

    /// Returns the disk that a power loss at this moment leaves; this one goes on unharmed.
    ///
    /// Repeated calls give other disks, all of them possible.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut disk = self.disk.lock();
        let mode = CrashMode::choose(&mut disk.random);
        let mut random = Random(disk.random.next());
        let nodes = disk.nodes.iter().map(|(id, node)| {
            let survivor = match node {
                Node::File(file) => Node::File(file.after_crash(mode, &mut random)),
                Node::Directory(names) => Node::Directory(names.after_crash(mode, &mut random)),
            };
            (*id, survivor)
        });
        let nodes = nodes.collect();
        let (next_node, now_ms) = (disk.next_node, disk.now_ms);
        let mut survivor = Disk {
            random,
            nodes,
            next_node,
            operations: 0,
            fault: None,
            now_ms,
            locked: Vec::new(),
        };
        survivor.drop_unreachable();
        Self::with(survivor)
    }
}

/// How much a crash loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CrashMode {
    /// Everything that was not synced.
    All,
    /// Nothing: the process died, not the machine.
    Nothing,
    /// Each sector and name by chance.
    Some,
}

impl CrashMode {
    fn choose(random: &mut Random) -> Self {
        match random.below(8) {
            0 | 1 => Self::All,
            2 => Self::Nothing,
            _ => Self::Some,
        }
    }
}

/// `SplitMix64`: small, and the same everywhere for a seed.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; the slight bias does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below zero");
        self.next() % bound
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl Disk {
    /// Counts an operation, and fails it if its turn has come.
    fn operate(&mut self, needs: Needs) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        let Some(fault) = self.fault else { return Ok(()) };
        let is_forever = fault.is_forever || fault.failure == Failure::Power;
        let is_due = number >= fault.from && (is_forever || number == fault.from);
        let is_met = match fault.failure {
            Failure::Broken | Failure::Power => true,
            Failure::Full => needs == Needs::Space,
            Failure::Descriptors => false,
        };
        if is_due && is_met { Err(fault.failure.error()) } else { Ok(()) }
    }

    /// Whether the operation that just failed came after the power had gone, and did nothing at all.
    fn is_dead(&self) -> bool {
        let is_after = |fault: Fault| self.operations > fault.from + 1;
        self.fault.is_some_and(|fault| fault.failure == Failure::Power && is_after(fault))
    }

    /// Takes a descriptor, for as long as nobody needs to know.
    fn take_descriptor(&mut self) -> io::Result<()> {
        let Some(fault) = self.fault else { return Ok(()) };
        if fault.failure != Failure::Descriptors || self.operations < fault.from {
            return Ok(());
        }
        if !fault.is_forever {
            self.fault = None;
        }
        Err(fault.failure.error())
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut id = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let name = name.to_str().ok_or(ErrorKind::InvalidInput)?;
            id = self.directory(id)?.get(name).ok_or(ErrorKind::NotFound)?;
        }
        Ok(id)
    }

    /// Splits a path into its directory's node and its last name.
    fn find_parent<'a>(&self, path: &'a Path) -> io::Result<(NodeId, &'a str)> {
        let name =
            path.file_name().and_then(|name| name.to_str()).ok_or(ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().ok_or(ErrorKind::InvalidInput)?)?, name))
    }

    fn directory(&self, id: NodeId) -> io::Result<&Directory> {
        match self.nodes.get(&id) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn change(&mut self, directory: NodeId, change: NameChange) -> io::Result<()> {
        match self.nodes.get_mut(&directory) {
            Some(Node::Directory(directory)) => {
                directory.change(change);
                Ok(())
            }
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn file(&self, id: NodeId) -> io::Result<&FileNode> {
        match self.nodes.get(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn file_mut(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn add(&mut self, parent: NodeId, name: &str, node: Node) -> io::Result<NodeId> {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        self.change(parent, NameChange::Set(name.to_owned(), id))?;
        Ok(id)
    }

    fn remove_tree(&mut self, parent: NodeId, name: &str) -> io::Result<()> {
        let id = self.directory(parent)?.get(name).ok_or(ErrorKind::NotFound)?;
        if let Ok(directory) = self.directory(id) {
            let children: Vec<String> =
                directory.names().map(|(name, _)| name.to_owned()).collect();
            for child in children {
                self.remove_tree(id, &child)?;
            }
        }
        self.change(parent, NameChange::Remove(name.to_owned()))
    }

    fn drop_unreachable(&mut self) {
        let mut reachable = vec![ROOT];
        let mut next = 0;
        while let Some(id) = reachable.get(next).copied() {
            next += 1;
            if let Ok(directory) = self.directory(id) {
                reachable.extend(directory.names().map(|(_, child)| child));
            }
        }
        self.nodes.retain(|id, _| reachable.contains(id));
    }

    fn write(&mut self, id: NodeId, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let outcome = self.operate(Needs::Space);
        let written = match outcome {
            Ok(()) => bytes.len(),
            Err(_) if self.is_dead() => 0,
            Err(_) => self.random.below(bytes.len() as u64 + 1) as usize,
        };
        let now_ms = self.now_ms;
        self.file_mut(id)?.write(&bytes[..written], position, now_ms);
        outcome
    }
}

impl Fs for FaultyFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        disk.take_descriptor()?;
        let (parent, name) = disk.find_parent(path)?;
        let found = disk.directory(parent)?.get(name);
        let now_ms = disk.now_ms;
        let node = match (how, found) {
            (Open::CreateNew, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (Open::Read | Open::Write | Open::Create, Some(node)) => node,
            (Open::Truncate, Some(node)) => {
                disk.operate(Needs::Nothing)?;
                disk.file_mut(node)?.set_len(0, now_ms);
                node
            }
            (Open::Read | Open::Write, None) => return Err(ErrorKind::NotFound.into()),
            (Open::Create | Open::CreateNew | Open::Truncate, None) => {
                disk.operate(Needs::Space)?;
                disk.add(parent, name, Node::File(FileNode::new(now_ms)))?
            }
        };
        disk.file(node)?;
        let is_writable = how != Open::Read;
        Ok(Arc::new(FaultyFile { disk: Arc::clone(&self.disk), node, is_writable }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let mut prefix = PathBuf::new();
        for component in path.components() {
            prefix.push(component);
            if disk.find(&prefix).is_err() {
                disk.operate(Needs::Space)?;
                let (parent, name) = disk.find_parent(&prefix)?;
                disk.add(parent, name, Node::Directory(Directory::default()))?;
            }
        }
        let made = disk.find(path)?;
        disk.directory(made).map(|_| ())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let (from_parent, from_name) = disk.find_parent(from)?;
        let (to_parent, to_name) = disk.find_parent(to)?;
        let moved = disk.directory(from_parent)?.get(from_name).ok_or(ErrorKind::NotFound)?;
        if let Some(replaced) = disk.directory(to_parent)?.get(to_name)
            && let Ok(directory) = disk.directory(replaced)
            && directory.names().next().is_some()
        {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        disk.operate(Needs::Nothing)?;
        if from_parent == to_parent {
            // One change: no crash leaves both names or none.
            let (from, to) = (from_name.to_owned(), to_name.to_owned());
            return disk.change(from_parent, NameChange::Rename { from, to, node: moved });
        }
        disk.change(to_parent, NameChange::Set(to_name.to_owned(), moved))?;
        disk.change(from_parent, NameChange::Remove(from_name.to_owned()))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let (parent, name) = disk.find_parent(path)?;
        let id = disk.directory(parent)?.get(name).ok_or(ErrorKind::NotFound)?;
        disk.file(id)?;
        disk.operate(Needs::Nothing)?;
        disk.change(parent, NameChange::Remove(name.to_owned()))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let (parent, name) = disk.find_parent(path)?;
        let id = disk.find(path)?;
        disk.directory(id)?;
        disk.operate(Needs::Nothing)?;
        disk.remove_tree(parent, name)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.disk.lock();
        let directory = disk.directory(disk.find(path)?)?;
        let entry = |(name, id): (&str, NodeId)| DirEntry {
            name: name.to_owned(),
            is_dir: disk.directory(id).is_ok(),
        };
        Ok(directory.names().map(entry).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.take_descriptor()?;
        let id = disk.find(path)?;
        let outcome = disk.operate(Needs::Nothing);
        match disk.nodes.get_mut(&id) {
            Some(Node::Directory(directory)) if outcome.is_ok() => directory.sync(),
            Some(Node::Directory(_)) => {}
            Some(Node::File(_)) | None => return Err(ErrorKind::NotADirectory.into()),
        }
        outcome
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.open(path, Open::Create)?;
        let mut disk = self.disk.lock();
        let node = disk.find(path)?;
        if disk.locked.contains(&node) {
            return Err(ErrorKind::WouldBlock.into());
        }
        disk.locked.push(node);
        Ok(Box::new(FaultyLock { disk: Arc::clone(&self.disk), node }))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let disk = self.disk.lock();
        Ok(disk.file(disk.find(path)?)?.len())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.disk.lock().find(path).is_ok())
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        let disk = self.disk.lock();
        Ok(disk.file(disk.find(path)?)?.modified_ms())
    }

    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let id = disk.find(path)?;
        disk.operate(Needs::Nothing)?;
        disk.file_mut(id)?.set_modified_ms(modified_ms);
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyLock {
    disk: Arc<Mutex<Disk>>,
    node: NodeId,
}

impl Lock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        self.disk.lock().locked.retain(|node| *node != self.node);
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: Arc<Mutex<Disk>>,
    node: NodeId,
    is_writable: bool,
}

impl FaultyFile {
    fn writable(&self) -> io::Result<()> {
        if self.is_writable { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(self.disk.lock().file(self.node)?.read(buffer, position))
    }

    fn write_all_at(&self, buffers: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.writable()?;
        self.disk.lock().write(self.node, buffers, position)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().file(self.node)?.len())
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        self.writable()?;
        let mut disk = self.disk.lock();
        let now_ms = disk.now_ms;
        // Growth by a hole needs no space.
        disk.operate(Needs::Nothing)?;
        disk.file_mut(self.node)?.set_len(size, now_ms);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let outcome = disk.operate(Needs::Nothing);
        // A sync that the power ended leaves some of the sectors, as the loss of power itself does.
        let has_power = disk.fault.is_none_or(|fault| fault.failure != Failure::Power);
        let file = disk.file_mut(self.node)?;
        match outcome {
            Ok(()) => file.sync(),
            Err(_) if has_power => file.forget_dirty(),
            Err(_) => {}
        }
        outcome
    }

    fn allocate(&self, _position: u64, _size: u64) -> io::Result<()> {
        self.writable()?;
        self.disk.lock().operate(Needs::Space)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn map(self: Arc<Self>, size: usize) -> io::Result<Map> {
        if size == 0 || size as u64 > self.len()? {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(Map::through(self, size))
    }
}

#[cfg(test)]
mod tests;
