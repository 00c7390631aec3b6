//! The file `ottla-session`, by which a broker that starts again knows its own last session.
//!
//! A registration that is still there after a crash may be this broker's own, or that of another
//! process with the same id. Whoever holds the directory's lock and finds the registration's owner in
//! this file knows that it is its own, and need not wait for its time-out. The sessions are written
//! before one of them can own anything.
//!
//! It also keeps the highest controller epoch that was ever seen: a tree that shows a lower one was put
//! back to an older state. And it keeps which ZooKeeper that was: a start without one on such a disk would
//! make a second cluster of what the first still counts on.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::path::Path;

use broker_storage::fs::{Fs, read_file, replace_file};

/// The file's name in the first log directory that works.
pub(crate) const FILE: &str = "ottla-session";

/// More than any such file has.
const SIZE_MAX: u64 = 0x1_0000;

/// Sessions that are kept: one that ended while its successor could not register, and so on.
const SESSIONS_MAX: usize = 16;

/// What a run of this broker leaves for the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    /// The sessions that may own the registration, the newest first.
    pub(crate) sessions: Vec<i64>,
    /// The highest controller epoch that was seen.
    pub(crate) controller_epoch: i32,
    /// `zookeeper.connect`; `None` for a broker that runs alone.
    pub(crate) zookeeper: Option<String>,
}

impl Identity {
    /// Reads what the last run left in `dir`; `None` if there is nothing, or nothing that can be
    /// believed: then nothing is proven.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> io::Result<Option<Self>> {
        match read_file(fs, &dir.join(FILE), SIZE_MAX) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces what is in `dir`, durably.
    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path) -> io::Result<()> {
        replace_file(fs, &dir.join(FILE), self.render().as_bytes())
    }

    /// Puts a session before the others.
    pub(crate) fn add_session(&mut self, session: i64) {
        self.sessions.retain(|past| *past != session);
        self.sessions.insert(0, session);
        self.sessions.truncate(SESSIONS_MAX);
    }

    fn render(&self) -> String {
        let Self { sessions, controller_epoch, zookeeper } = self;
        let sessions: Vec<String> = sessions.iter().map(|id| format!("{id:#x}")).collect();
        let mut text = String::from("version=0\n");
        // Writing to a `String` cannot fail.
        _ = writeln!(text, "sessions={}", sessions.join(","));
        _ = writeln!(text, "controller.epoch={controller_epoch}");
        if let Some(connect) = zookeeper {
            _ = writeln!(text, "zookeeper.connect={connect}");
        }
        text
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut read = Self::default();
        let mut is_known = false;
        for line in std::str::from_utf8(bytes).ok()?.lines() {
            let (key, value) = line.split_once('=')?;
            match key {
                "version" => is_known = value == "0",
                "sessions" => {
                    let ids = value.split(',').filter(|id| !id.is_empty());
                    read.sessions = ids.map(session).collect::<Option<_>>()?;
                }
                "controller.epoch" => read.controller_epoch = value.parse().ok()?,
                "zookeeper.connect" => read.zookeeper = Some(value.to_owned()),
                _ => {}
            }
        }
        is_known.then_some(read)
    }
}

/// Session ids are compared bit by bit: one may be negative, and is written as it is in logs.
fn session(text: &str) -> Option<i64> {
    let digits = text.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok().map(u64::cast_signed)
}

#[cfg(test)]
mod tests {
    use broker_storage::fs::real::RealFs;

    use super::*;

    fn identity() -> Identity {
        let zookeeper = Some("zk1:2181,zk2:2181/a=b".to_owned());
        Identity { sessions: vec![-2, 0x1_0000_abcd], controller_epoch: 77, zookeeper }
    }

    /// What one run writes the next reads; without a file there is nothing.
    #[test]
    fn the_next_run_reads_what_this_one_wrote() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::read(&RealFs, dir.path()).unwrap(), None);
        let mut identity = identity();
        identity.write(&RealFs, dir.path()).unwrap();
        assert_eq!(Identity::read(&RealFs, dir.path()).unwrap(), Some(identity.clone()));
        identity.add_session(5);
        identity.add_session(-2);
        assert_eq!(identity.sessions, [-2, 5, 0x1_0000_abcd]);
    }

    /// A file that is damaged, or of a later version, proves nothing.
    #[test]
    fn what_cannot_be_believed_is_nothing() {
        let whole = identity().render();
        for text in [
            String::new(),
            whole.replace("version=0", "version=1"),
            whole.replace("0x", ""),
            whole.replace("77", "?"),
            whole.replace('=', ""),
        ] {
            assert_eq!(Identity::parse(text.as_bytes()), None, "{text}");
        }
    }
}
