//! Random steps on a small tree: few names, so that steps meet.

use broker_zookeeper::store::{CreateMode, Op, WatchMode};

const NAMES: [&str; 3] = ["a", "b", "c"];
const BAD: [&str; 5] = ["", "a", "/a/", "/a//b", "/a/../b"];

/// Which of the two sessions acts.
pub(crate) type Who = usize;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Get(Who, String),
    GetMany(Who, Vec<String>),
    Exists(Who, String),
    Children(Who, String),
    GetAndWatch(Who, String),
    ExistsAndWatch(Who, String),
    ChildrenAndWatch(Who, String),
    Watch(Who, String, WatchMode),
    /// Of the watches that are held.
    DropWatch(usize),
    Create(Who, String, Vec<u8>, CreateMode),
    Set(Who, String, Vec<u8>, Option<i32>),
    Delete(Who, String, Option<i32>),
    Multi(Who, Vec<Op>),
    /// The second session ends, and another takes its place.
    Expire,
}

/// An endless script.
#[derive(Debug)]
pub(crate) struct Script {
    random: fastrand::Rng,
}

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) fn step(&mut self) -> Step {
        let who = self.random.usize(..2);
        let path = self.path();
        match self.random.u32(..100) {
            0..2 => Step::Get(who, path),
            2..4 => {
                let more = self.random.usize(0..4);
                let paths = std::iter::once(path).chain((0..more).map(|_| self.path()));
                Step::GetMany(who, paths.collect())
            }
            4..7 => Step::Exists(who, path),
            7..10 => Step::Children(who, path),
            10..17 => Step::GetAndWatch(who, path),
            17..25 => Step::ExistsAndWatch(who, path),
            25..32 => Step::ChildrenAndWatch(who, path),
            32..35 => Step::Watch(who, path, WatchMode::Persistent),
            35..38 => Step::Watch(who, path, WatchMode::PersistentRecursive),
            38..42 => Step::DropWatch(self.random.usize(..)),
            42..62 => Step::Create(who, path, self.data(), self.mode()),
            62..72 => Step::Set(who, path, self.data(), self.version()),
            72..86 => Step::Delete(who, path, self.version()),
            86..98 => {
                let steps = self.random.usize(0..5);
                Step::Multi(who, (0..steps).map(|_| self.op()).collect())
            }
            _ => Step::Expire,
        }
    }

    fn op(&mut self) -> Op {
        let path = self.path();
        match self.random.u32(..10) {
            0..4 => Op::Create { path, data: self.data(), mode: self.mode() },
            4..6 => Op::Set { path, data: self.data(), version: self.version() },
            6..9 => Op::Delete { path, version: self.version() },
            _ => Op::Check { path, version: self.random.i32(-1..3) },
        }
    }

    fn path(&mut self) -> String {
        if self.random.u32(..40) == 0 {
            return BAD[self.random.usize(..BAD.len())].to_owned();
        }
        let depth = self.random.usize(0..4);
        if depth == 0 {
            return "/".to_owned();
        }
        let mut path = String::new();
        for _ in 0..depth {
            path.push('/');
            path.push_str(NAMES[self.random.usize(..NAMES.len())]);
        }
        path
    }

    fn data(&mut self) -> Vec<u8> {
        vec![b'x'; self.random.usize(0..4)]
    }

    fn mode(&mut self) -> CreateMode {
        match self.random.u32(..8) {
            0 => CreateMode::PersistentSequential,
            1 | 2 => CreateMode::Ephemeral,
            _ => CreateMode::Persistent,
        }
    }

    fn version(&mut self) -> Option<i32> {
        match self.random.u32(..4) {
            0 => Some(self.random.i32(-1..3)),
            _ => None,
        }
    }
}
