//! The names of one directory, as programs see them and as the disk has them.

use std::collections::BTreeMap;

use super::{CrashMode, NodeId, Random};

/// One change of a directory's names; a crash keeps each whole or not at all.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Set(String, NodeId),
    Remove(String),
    Rename { from: String, to: String, node: NodeId },
}

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: BTreeMap<String, NodeId>,
    durable_names: BTreeMap<String, NodeId>,
    /// Changes since the last sync, oldest first.
    unsynced: Vec<NameChange>,
}

impl Directory {
    pub(super) fn get(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&str, NodeId)> {
        self.names.iter().map(|(name, id)| (name.as_str(), *id))
    }

    pub(super) fn change(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
        self.durable_names.clone_from(&self.names);
    }

    pub(super) fn after_crash(&self, mode: CrashMode, random: &mut Random) -> Self {
        let kept = match mode {
            CrashMode::All => 0,
            CrashMode::Nothing => self.unsynced.len(),
            CrashMode::Some => random.below(self.unsynced.len() as u64 + 1) as usize,
        };
        let mut names = self.durable_names.clone();
        for change in &self.unsynced[..kept] {
            apply(&mut names, change);
        }
        Self { durable_names: names.clone(), names, unsynced: Vec::new() }
    }
}

fn apply(names: &mut BTreeMap<String, NodeId>, change: &NameChange) {
    match change {
        NameChange::Set(name, node) => _ = names.insert(name.clone(), *node),
        NameChange::Remove(name) => _ = names.remove(name),
        NameChange::Rename { from, to, node } => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}
