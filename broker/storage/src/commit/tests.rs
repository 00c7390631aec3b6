//! Who is told what, when, and that nobody waits who only asks.

use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::fs::faulty::{Failure, FaultyFs};

/// An owner that passes on what it is told.
struct Owner(mpsc::Sender<Result<Offset, CommitError>>);

impl Synced for Owner {
    fn synced(&self, outcome: Result<Offset, CommitError>) {
        // Whoever does not listen any more knows enough.
        _ = self.0.send(outcome);
    }
}

/// Makes such an owner, and where it tells.
fn owner() -> (Arc<dyn Synced>, mpsc::Receiver<Result<Offset, CommitError>>) {
    let (told, outcomes) = mpsc::channel();
    (Arc::new(Owner(told)), outcomes)
}

/// An owner that keeps the commit thread as a disk does that no longer answers, until its sender goes.
struct Stalled {
    entered: mpsc::Sender<()>,
    released: Mutex<mpsc::Receiver<()>>,
}

impl Synced for Stalled {
    fn synced(&self, _: Result<Offset, CommitError>) {
        self.entered.send(()).unwrap();
        self.released.lock().recv().unwrap_err();
    }
}

/// The one segment of a new log.
fn unit(fs: &FaultyFs, name: &str) -> Arc<SyncUnit> {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    let file = fs.open(Path::new(name), Open::Create).unwrap();
    let flushed = Arc::new(Flushed::new(Offset(0)));
    SyncUnit::new(fs, Arc::new(PathBuf::from("/")), file, flushed, None)
}

fn point(unit: &Arc<SyncUnit>, end: i64) -> SyncPoint {
    SyncPoint { unit: unit.clone(), end_offset: Offset(end) }
}

fn committer() -> Committer {
    Committer::start(Offline::new(Path::new("/"))).unwrap()
}

/// Keeps the thread of `committer` until what is returned is dropped.
fn stall(committer: &Committer, fs: &FaultyFs) -> mpsc::Sender<()> {
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let owner = Stalled { entered, released: Mutex::new(released) };
    committer.submit(point(&unit(fs, "/stalled"), 1), Arc::new(owner));
    has_entered.recv().unwrap();
    release
}

#[test]
fn one_sync_serves_the_furthest_point_whatever_the_order_they_came_in() {
    let fs = FaultyFs::new(1);
    let (committer, log) = (committer(), unit(&fs, "/log"));
    let (owner, outcomes) = owner();
    let release = stall(&committer, &fs);
    let before = fs.operations();
    let (called, calls) = mpsc::channel();
    for end in [1, 3, 2] {
        let called = called.clone();
        let callback = Box::new(move |outcome: Result<(), _>| called.send((end, outcome)).unwrap());
        committer.submit_and(point(&log, end), owner.clone(), callback);
    }
    assert_eq!(committer.queue_count(), 3);
    drop((release, called));
    let called: Vec<_> = calls.iter().map(|(end, outcome)| (end, outcome.is_ok())).collect();
    assert_eq!(called, [(1, true), (3, true), (2, true)]);
    drop((committer, owner));
    let outcomes: Vec<_> = outcomes.iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, [Offset(3)]);
    assert_eq!(log.flushed.offset(), Offset(3));
    assert_eq!(fs.operations() - before, 2, "the file and its name, once");
}

/// However much is appended meanwhile: what is kept does not grow with it.
#[test]
fn a_disk_that_does_not_answer_holds_up_nobody_who_submits() {
    let fs = FaultyFs::new(1);
    let (committer, log) = (committer(), unit(&fs, "/log"));
    let (owner, outcomes) = owner();
    let release = stall(&committer, &fs);
    for end in 1..=100_000 {
        committer.submit(point(&log, end), owner.clone());
        committer.write_back(point(&log, end));
    }
    let queue = committer.shared.queue.lock();
    assert_eq!((queue.waiting.len(), queue.write_backs.len(), queue.append_count), (1, 1, 100_000));
    drop(queue);
    drop(release);
    assert_eq!(outcomes.recv().unwrap().unwrap(), Offset(100_000));
}

#[test]
fn those_who_wait_come_before_what_nobody_waits_for() {
    let fs = FaultyFs::new(1);
    let committer = committer();
    let (owner, outcomes) = owner();
    let release = stall(&committer, &fs);
    let idle: Vec<_> = (0..10).map(|number| unit(&fs, &format!("/idle{number}"))).collect();
    for unit in &idle {
        committer.write_back(point(unit, 1));
    }
    // Only the log that somebody waits for is synced before the disk breaks.
    committer.submit(point(&unit(&fs, "/log"), 1), owner.clone());
    fs.fail_from(fs.operations() + 2, Failure::Broken, true);
    drop(release);
    assert_eq!(outcomes.recv().unwrap().unwrap(), Offset(1));
    drop(committer);
    assert!(idle.iter().all(|unit| unit.flushed.offset() == Offset(0)));
}

#[test]
fn after_a_failed_sync_everybody_is_told_of_it() {
    let fs = FaultyFs::new(1);
    let (committer, log) = (committer(), unit(&fs, "/log"));
    let (owner, outcomes) = owner();
    fs.fail_from(fs.operations(), Failure::Broken, false);
    committer.submit(point(&log, 1), owner.clone());
    outcomes.recv().unwrap().unwrap_err();
    // The disk would answer now, but nobody may ask it.
    committer.submit(point(&log, 2), owner.clone());
    committer.submit(point(&unit(&fs, "/other"), 2), owner.clone());
    for _ in 0..2 {
        let error = outcomes.recv().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "sync log directory /");
    }
    assert_eq!(log.flushed.offset(), Offset(0));
}
