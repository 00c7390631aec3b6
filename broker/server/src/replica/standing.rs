//! Which replicas here can prove that they have all they ever vouched for, and which cannot.
//!
//! A replica of a relaxed topic vouches for what the kernel has, so a power cut may take back what an
//! ISR counted on. If it is the only member left, it would lead and have the others cut what they still
//! have ("last replica standing"). So a replica is *unproven* after a start unless
//! * the directory was stopped cleanly, or
//! * the machine has not been started since the last run: the page cache outlived the process, or
//! * the topic is a synced one, and was since all of the log was synced: what it vouches for is on stable
//!   storage;
//!
//! and if its log is missing though the partition is not new. The controller prefers any other.
//!
//! The set is sticky: `<log directory>/ottla-standing` holds it together with the boot id of this run, both
//! replaced at once before anything is led. Without that, a power cut, a start, a kill and another start
//! would make a cut log a proven one. An entry goes when the replica leads, or has left the ISR and is a
//! member again: whoever let it in saw that it has everything.
//!
//! The file also says which logs may hold what was never synced. A log is named there before it takes its
//! first record as one of a relaxed topic, and no more once its topic has become a synced one and all that
//! came before was synced.
//!
//! ```text
//! version=0
//! boot.id=3c1a...
//! unproven=<topic> <partition>      one line each
//! relaxed=<topic> <partition>       one line each
//! ```
//!
//! Concurrency: shared; short locks, and one for each file, under which only who writes it waits for the
//! disk: [`Standings::begin`], `add`, `relax` and `write`. Errors: a disk that fails goes offline, and
//! nothing in it is led then. Source: none of Kafka with ZooKeeper; the idea
//! is KIP-966's.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use broker_protocol::topic_partition::TopicPartition;
use broker_storage::fs::{Fs, Open, read_file, replace_file};
use broker_storage::log_dir::LogDir;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// The file's name in a log directory.
pub const FILE: &str = "ottla-standing";

/// Where the kernel says which start of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Characters of a boot id.
const BOOT_ID_SIZE: usize = 36;

/// Room for as many partitions as a directory may have, with the longest names.
const SIZE_MAX: u64 = 64 * 1024 * 1024;

/// The replicas of one broker that are unproven. Shared.
#[derive(Debug, Default)]
pub struct Standings {
    dirs: Mutex<Vec<Arc<Standing>>>,
    /// Logs whose topic has become a synced one, and which are not all synced yet.
    becoming_synced: Mutex<BTreeSet<TopicPartition>>,
    /// Counts the changes, for those who tell the cluster.
    changes: watch::Sender<u64>,
}

/// The unproven replicas of one directory.
#[derive(Debug)]
struct Standing {
    dir: Arc<LogDir>,
    boot_id: Option<String>,
    sets: Mutex<Sets>,
    /// Held by who writes the file; taken before `sets`.
    writing: Mutex<()>,
}

/// What a file is to say.
#[derive(Debug)]
struct Sets {
    unproven: BTreeSet<TopicPartition>,
    /// Those of them that were seen to be out of the ISR since this start.
    out: BTreeSet<TopicPartition>,
    /// The logs that may hold what was never synced.
    relaxed: BTreeSet<TopicPartition>,
    /// Whether the file says more than there is.
    is_stale: bool,
}

/// What the last run left in a directory.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    boot_id: Option<String>,
    unproven: BTreeSet<TopicPartition>,
    relaxed: BTreeSet<TopicPartition>,
}

impl Standings {
    /// Decides about the logs that were loaded from `dir`, each with whether its topic is a synced one, and
    /// makes that durable.
    ///
    /// # Errors
    /// The disk's; the directory is offline, unless the error is one that passes.
    pub fn begin(&self, dir: &Arc<LogDir>, logs: &[(TopicPartition, bool)]) -> io::Result<()> {
        let boot_id = boot_id(dir.fs().as_ref());
        let left = Left::read(dir).inspect_err(|error| _ = dir.note_error(error))?;
        // A file that cannot be believed might have named any of them.
        let is_lost = left.is_none();
        let left = left.unwrap_or_default();
        let is_same_boot = boot_id.is_some() && left.boot_id == boot_id;
        let is_proven = |name: &TopicPartition, is_synced: bool| {
            let was_synced = is_synced && !left.relaxed.contains(name);
            !is_lost && (was_synced || dir.was_clean() || is_same_boot)
        };
        let fresh = logs.iter().filter(|(name, is_synced)| !is_proven(name, *is_synced));
        let mut unproven: BTreeSet<_> = fresh.map(|(name, _)| name.clone()).collect();
        let here: HashSet<_> = logs.iter().map(|(name, _)| name).collect();
        unproven.extend(left.unproven.iter().filter(|name| here.contains(name)).cloned());
        if !unproven.is_empty() {
            let count = unproven.len();
            tracing::warn!(dir = %dir.path().display(), count, "replicas cannot prove that they are complete");
        }
        // What was loaded was synced, by a clean stop or by its recovery.
        let relaxed = logs.iter().filter(|(_, is_synced)| !is_synced).map(|(name, _)| name.clone());
        let now = Left { boot_id, unproven, relaxed: relaxed.collect() };
        let is_stale = is_lost || left != now;
        let Left { boot_id, unproven, relaxed } = now;
        let sets = Mutex::new(Sets { unproven, out: BTreeSet::new(), relaxed, is_stale });
        let standing = Standing { dir: Arc::clone(dir), boot_id, sets, writing: Mutex::default() };
        let written = standing.write(&standing.writing.lock());
        self.dirs.lock().push(Arc::new(standing));
        written
    }

    /// Says that the logs of `names` in `dir` are of relaxed topics from now on; durably, before they take a
    /// record as such.
    ///
    /// # Errors
    /// As [`Standings::begin`].
    pub fn relax(&self, dir: &Arc<LogDir>, names: Vec<TopicPartition>) -> io::Result<()> {
        let Some(standing) = self.of(dir) else { return Ok(()) };
        // Whoever says the same meanwhile waits until it is written.
        let writing = standing.writing.lock();
        let mut sets = standing.sets.lock();
        let before = sets.relaxed.len();
        sets.relaxed.extend(names);
        // What was not written may have been said before, in vain.
        if sets.relaxed.len() == before && !sets.is_stale {
            return Ok(());
        }
        sets.is_stale = true;
        drop(sets);
        standing.write(&writing)
    }

    /// Says that the topic of `name` is a synced one now, and what its log has is being synced.
    pub fn becomes_synced(&self, name: &TopicPartition) {
        self.becoming_synced.lock().insert(name.clone());
    }

    /// Says that the logs of `names` in `dir` were missing, though the partitions are not new; durably.
    ///
    /// # Errors
    /// As [`Standings::begin`].
    pub fn add(&self, dir: &Arc<LogDir>, names: Vec<TopicPartition>) -> io::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let Some(standing) = self.of(dir) else { return Ok(()) };
        let writing = standing.writing.lock();
        let mut sets = standing.sets.lock();
        sets.unproven.extend(names);
        sets.is_stale = true;
        drop(sets);
        let written = standing.write(&writing);
        drop(writing);
        self.changes.send_modify(|count| *count += 1);
        written
    }

    /// Says of a log that moves to `dir` there what is said of it where it is; durably, before it is used
    /// there.
    ///
    /// # Errors
    /// As [`Standings::begin`].
    pub fn copy(
        &self,
        name: &TopicPartition,
        dir: &Arc<LogDir>,
        is_relaxed: bool,
    ) -> io::Result<()> {
        if is_relaxed {
            self.relax(dir, vec![name.clone()])?;
        }
        if !self.is_unproven(name) {
            return Ok(());
        }
        self.add(dir, vec![name.clone()])?;
        let dirs = self.dirs.lock().clone();
        if dirs.iter().any(|standing| standing.sets.lock().out.contains(name))
            && let Some(standing) = self.of(dir)
        {
            standing.sets.lock().out.insert(name.clone());
        }
        Ok(())
    }

    /// Forgets what is said in `dir` of a log that has moved.
    pub fn moved_from(&self, dir: &Arc<LogDir>, name: &TopicPartition) {
        let Some(standing) = self.of(dir) else { return };
        let mut sets = standing.sets.lock();
        sets.out.remove(name);
        sets.is_stale |= sets.unproven.remove(name) | sets.relaxed.remove(name);
    }

    fn of(&self, dir: &Arc<LogDir>) -> Option<Arc<Standing>> {
        self.dirs.lock().iter().find(|standing| Arc::ptr_eq(&standing.dir, dir)).cloned()
    }

    /// Returns whether a replica is unproven.
    pub fn is_unproven(&self, name: &TopicPartition) -> bool {
        self.dirs.lock().iter().any(|standing| standing.sets.lock().unproven.contains(name))
    }

    /// Returns the unproven replicas.
    pub fn unproven(&self) -> BTreeSet<TopicPartition> {
        let dirs = self.dirs.lock();
        dirs.iter().flat_map(|standing| standing.sets.lock().unproven.clone()).collect()
    }

    /// Counts the changes, now and from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes in that a replica leads: its log is the one that counts now.
    pub fn leads(&self, name: &TopicPartition) {
        self.prove(name, |_| true);
    }

    /// Takes in whether a replica that follows is in the ISR.
    pub fn follows(&self, name: &TopicPartition, is_in_sync: bool) {
        self.prove(name, |sets| {
            if !is_in_sync {
                sets.out.insert(name.clone());
            }
            is_in_sync && sets.out.contains(name)
        });
    }

    /// Forgets a replica that is gone.
    pub fn forget(&self, name: &TopicPartition) {
        self.prove(name, |_| true);
        self.is_not_relaxed(name);
    }

    fn is_not_relaxed(&self, name: &TopicPartition) {
        for standing in self.dirs.lock().iter() {
            let mut sets = standing.sets.lock();
            sets.is_stale |= sets.relaxed.remove(name);
        }
    }

    fn prove(&self, name: &TopicPartition, is_proven: impl Fn(&mut Sets) -> bool) {
        let mut is_changed = false;
        for standing in self.dirs.lock().iter() {
            let mut sets = standing.sets.lock();
            if sets.unproven.contains(name) && is_proven(&mut sets) {
                sets.unproven.remove(name);
                sets.out.remove(name);
                // The file may say more than there is: nothing is lost by that.
                sets.is_stale = true;
                is_changed = true;
            }
        }
        if is_changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Writes the files that say more than there is. `is_synced` says of a log whose topic became a synced one
    /// whether all that it had then is synced; nothing if its topic is none any more.
    pub fn write(&self, is_synced: &dyn Fn(&TopicPartition) -> Option<bool>) {
        let mut becoming = self.becoming_synced.lock();
        let looked_at = becoming.iter().map(|name| (name.clone(), is_synced(name)));
        let settled: Vec<_> =
            looked_at.filter(|(_, is_synced)| *is_synced != Some(false)).collect();
        becoming.retain(|name| settled.iter().all(|(other, _)| other != name));
        drop(becoming);
        for (name, _) in settled.iter().filter(|(_, is_synced)| *is_synced == Some(true)) {
            self.is_not_relaxed(name);
        }
        let dirs = self.dirs.lock().clone();
        for standing in dirs {
            if let Err(error) = standing.write(&standing.writing.lock()) {
                let dir = standing.dir.path().display();
                tracing::warn!(%dir, %error, "what is proven now is not written");
            }
        }
    }
}

impl Standing {
    fn write(&self, _writing: &MutexGuard<'_, ()>) -> io::Result<()> {
        let mut sets = self.sets.lock();
        if !sets.is_stale || self.dir.offline().is_offline() {
            return Ok(());
        }
        let mut text = String::from("version=0\n");
        // Writing to a `String` cannot fail.
        _ = writeln!(text, "boot.id={}", self.boot_id.as_deref().unwrap_or_default());
        for TopicPartition { topic, partition } in &sets.unproven {
            _ = writeln!(text, "unproven={topic} {partition}");
        }
        for TopicPartition { topic, partition } in &sets.relaxed {
            _ = writeln!(text, "relaxed={topic} {partition}");
        }
        sets.is_stale = false;
        drop(sets);
        let path = self.dir.path().join(FILE);
        replace_file(self.dir.fs().as_ref(), &path, text.as_bytes()).inspect_err(|error| {
            self.sets.lock().is_stale = true;
            _ = self.dir.note_error(error);
        })
    }
}

impl Left {
    /// Reads the file; `None` if it cannot be believed.
    fn read(dir: &LogDir) -> io::Result<Option<Self>> {
        match read_file(dir.fs().as_ref(), &dir.path().join(FILE), SIZE_MAX) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(Self::default())),
            Err(error) => Err(error),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        lines.next().filter(|version| *version == "version=0")?;
        let boot_id = lines.next()?.strip_prefix("boot.id=")?;
        let boot_id = (!boot_id.is_empty()).then(|| boot_id.to_owned());
        let mut left = Self { boot_id, ..Self::default() };
        for line in lines {
            let (kind, name) = line.split_once('=')?;
            let (topic, partition) = name.split_once(' ')?;
            let partition = partition.parse().ok()?;
            let name = TopicPartition { topic: topic.into(), partition };
            match kind {
                "unproven" => left.unproven.insert(name),
                "relaxed" => left.relaxed.insert(name),
                _ => return None,
            };
        }
        Some(left)
    }
}

/// Returns which start of the machine this is, if the system tells.
fn boot_id(fs: &dyn Fs) -> Option<String> {
    let mut bytes = [0; BOOT_ID_SIZE];
    let file = fs.open(Path::new(BOOT_ID), Open::Read).ok()?;
    file.read_exact_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(&bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests;
