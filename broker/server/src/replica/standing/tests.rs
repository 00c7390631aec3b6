//! Who asks is not kept waiting by who writes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_storage::fs::real::RealFs;
use broker_storage::fs::{DirEntry, File, Lock, read_file};
use broker_storage::log_dir::Identity;

use super::*;
use crate::clock::{Clock, SystemClock};

/// A disk on which each change of a name waits until it may go on.
#[derive(Debug)]
struct Hanging {
    renames: Mutex<(Sender<()>, Receiver<()>)>,
}

impl Fs for Hanging {
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if to.ends_with(FILE) {
            let (waits, may) = &*self.renames.lock();
            // A test that has ended lets all go on.
            let _ = waits.send(()).map(|()| may.recv());
        }
        RealFs.rename(from, to)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        RealFs.open(path, how)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealFs.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        RealFs.lock(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        RealFs.len(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFs.exists(path)
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        RealFs.modified_ms(path)
    }

    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        RealFs.set_modified_ms(path, modified_ms)
    }
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition: 0 }
}

fn written(dir: &Path) -> Left {
    Left::parse(&read_file(&RealFs, &dir.join(FILE), u64::MAX).unwrap()).unwrap()
}

#[test]
fn who_asks_does_not_wait_for_a_disk_that_hangs() {
    let patience = Duration::from_secs(30);
    let temporary = tempfile::tempdir().unwrap();
    let place = temporary.path();
    let ((waits, is_waiting), (go_on, may)) = (channel(), channel());
    let fs = Arc::new(Hanging { renames: Mutex::new((waits, may)) });
    let identity = Identity { cluster_id: "cluster".to_owned(), broker_id: BrokerId(0) };
    let dir = LogDir::open(fs, place, &identity, SystemClock.wall()).unwrap();
    let (dir, standings) = (Arc::new(dir), Arc::new(Standings::default()));
    go_on.send(()).unwrap();
    standings.begin(&dir, &[]).unwrap();
    is_waiting.recv_timeout(patience).unwrap();

    go_on.send(()).unwrap();
    standings.add(&dir, vec![partition("a")]).unwrap();
    is_waiting.recv_timeout(patience).unwrap();
    let adds = thread::spawn({
        let (standings, dir) = (Arc::clone(&standings), Arc::clone(&dir));
        move || standings.add(&dir, vec![partition("b")])
    });
    is_waiting.recv_timeout(patience).unwrap();
    let (say, said) = channel();
    thread::spawn({
        let standings = Arc::clone(&standings);
        move || {
            standings.leads(&partition("a"));
            say.send(standings.unproven()).unwrap();
        }
    });
    let unproven = said.recv_timeout(patience).expect("who asks waits for the disk");
    assert_eq!(unproven, BTreeSet::from([partition("b")]));

    go_on.send(()).unwrap();
    adds.join().unwrap().unwrap();
    assert_eq!(written(place).unproven, BTreeSet::from([partition("a"), partition("b")]));
    // What was proven meanwhile is written with the next one.
    go_on.send(()).unwrap();
    standings.write(&|_| None);
    assert_eq!(written(place).unproven, BTreeSet::from([partition("b")]));
}
