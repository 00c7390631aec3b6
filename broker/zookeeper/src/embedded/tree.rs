//! The tree itself: nodes, versions, sessions' ephemerals. Pure: no file, no task, no clock.
//!
//! [`Tree::apply`] works on the nodes and keeps what it replaced, so that a step that fails puts its
//! transaction back. Transactions are on trial until [`Tree::settle`]: when they cannot be written
//! down, [`Tree::undo`] puts back all of them. What a transaction changed is returned as
//! [`Change`]s, which are what is written to disk and what fires watches.
//!
//! Order: every zxid is larger than the one before; `czxid <= mzxid` for each node. A step costs no
//! more when its parent has many children.
//! Source: ZooKeeper 3.9 `DataTree`, `PrepRequestProcessor`.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::path::parent_of;
use crate::store::{CreateMode, Op, OpResult, Stat, StoreError};

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Node {
    pub(crate) data: Vec<u8>,
    pub(crate) stat: Stat,
    /// How many children were ever created: the number of the next sequential one.
    pub(crate) created_children: i32,
    pub(crate) children: BTreeSet<String>,
}

impl Node {
    fn counters(&self) -> Counters {
        Counters { stat: self.stat, created_children: self.created_children }
    }
}

/// What a transaction did to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Created,
    DataChanged,
    Deleted,
}

/// One change of a transaction that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) path: String,
}

/// All nodes, by path. The root is always there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
    zxid: i64,
    /// The zxid of the last transaction that is settled.
    settled_zxid: i64,
    /// What the transactions since then replaced.
    trial: Vec<Undo>,
}

/// What a step replaced: enough to put it back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Undo {
    Create { path: String, parent: Counters },
    Set { path: String, data: Vec<u8>, stat: Stat },
    Delete { path: String, node: Node, parent: Counters },
}

/// What a parent has of its children, but for their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counters {
    stat: Stat,
    created_children: i32,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let nodes = BTreeMap::from([("/".to_owned(), Node::default())]);
        Self { nodes, zxid: 0, settled_zxid: 0, trial: Vec::new() }
    }

    pub(crate) fn zxid(&self) -> i64 {
        self.zxid
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Returns every node with its path, parents before children.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Puts a node where it was when it was written down. For loading only.
    pub(crate) fn restore(&mut self, path: String, node: Node) {
        if path != "/"
            && let Some(parent) = self.nodes.get_mut(parent_of(&path))
        {
            parent.children.insert(name_of(&path).to_owned());
            parent.stat.num_children = parent.children.len() as i32;
        }
        let children = self.nodes.remove(&path).map(|old| old.children).unwrap_or_default();
        let stat = Stat { num_children: children.len() as i32, ..node.stat };
        self.nodes.insert(path, Node { stat, children, ..node });
    }

    /// Takes a node away. For loading only.
    pub(crate) fn forget(&mut self, path: &str) {
        if let Some(parent) = self.nodes.get_mut(parent_of(path)) {
            parent.children.remove(name_of(path));
            parent.stat.num_children = parent.children.len() as i32;
        }
        self.nodes.remove(path);
    }

    /// Sets the last transaction's id. For loading only.
    pub(crate) fn restore_zxid(&mut self, zxid: i64) {
        self.zxid = zxid;
        self.settled_zxid = zxid;
    }

    /// Ends the trial: what was applied stays.
    pub(crate) fn settle(&mut self) {
        self.trial.clear();
        self.settled_zxid = self.zxid;
    }

    /// Takes back every transaction since the last [`Self::settle`].
    pub(crate) fn undo(&mut self) {
        self.put_back(0);
        self.zxid = self.settled_zxid;
    }

    /// Does all of `ops` as one transaction at wall time `now`, or none.
    pub(crate) fn apply(
        &mut self,
        session: i64,
        ops: &[Op],
        now: i64,
    ) -> Result<(Vec<OpResult>, Vec<Change>), StoreError> {
        limits::check(ops, 0)?;
        let zxid = self.zxid + 1;
        let before = self.trial.len();
        let mut results = Vec::with_capacity(ops.len());
        let mut changes = Vec::with_capacity(ops.len());
        for op in ops {
            match self.step(session, op, now, zxid) {
                Ok((result, change)) => {
                    results.push(result);
                    changes.extend(change);
                }
                Err(error) => {
                    self.put_back(before);
                    return Err(error);
                }
            }
        }
        if !changes.is_empty() {
            self.zxid = zxid;
        }
        Ok((results, changes))
    }

    /// Returns the paths of the nodes that live with `session`.
    pub(crate) fn ephemerals_of(&self, session: i64) -> Vec<String> {
        let owned = |node: &Node| node.stat.ephemeral_owner == session;
        self.nodes.iter().filter(|(_, node)| owned(node)).map(|(path, _)| path.clone()).collect()
    }

    /// Takes back the steps on trial from the last one to number `first`.
    fn put_back(&mut self, first: usize) {
        for undo in self.trial.split_off(first).into_iter().rev() {
            match undo {
                Undo::Create { path, parent } => {
                    self.nodes.remove(&path);
                    self.put_parent_back(&path, parent, false);
                }
                Undo::Set { path, data, stat } => {
                    if let Some(node) = self.nodes.get_mut(&path) {
                        (node.data, node.stat) = (data, stat);
                    }
                }
                Undo::Delete { path, node, parent } => {
                    self.put_parent_back(&path, parent, true);
                    self.nodes.insert(path, node);
                }
            }
        }
    }

    fn put_parent_back(&mut self, path: &str, before: Counters, had_child: bool) {
        let Some(parent) = self.nodes.get_mut(parent_of(path)) else { return };
        if had_child {
            parent.children.insert(name_of(path).to_owned());
        } else {
            parent.children.remove(name_of(path));
        }
        (parent.stat, parent.created_children) = (before.stat, before.created_children);
    }

    fn step(
        &mut self,
        session: i64,
        op: &Op,
        now: i64,
        zxid: i64,
    ) -> Result<(OpResult, Option<Change>), StoreError> {
        match op {
            Op::Create { path, data, mode } => {
                let (path, stat) = self.create(session, path, data, *mode, (now, zxid))?;
                let change = Change { kind: ChangeKind::Created, path: path.clone() };
                Ok((OpResult::Created { path, stat }, Some(change)))
            }
            Op::Set { path, data, version } => {
                let node = self.node_at(path, *version)?;
                let before = node.stat;
                let replaced = std::mem::replace(&mut node.data, data.clone());
                node.stat.mzxid = zxid;
                node.stat.mtime = now;
                node.stat.version += 1;
                node.stat.data_length = data.len() as i32;
                let stat = node.stat;
                self.trial.push(Undo::Set { path: path.clone(), data: replaced, stat: before });
                let change = Change { kind: ChangeKind::DataChanged, path: path.clone() };
                Ok((OpResult::Set { stat }, Some(change)))
            }
            Op::Delete { path, version } => {
                self.delete(path, *version, zxid)?;
                let change = Change { kind: ChangeKind::Deleted, path: path.clone() };
                Ok((OpResult::Deleted, Some(change)))
            }
            Op::Check { path, version } => {
                self.node_at(path, Some(*version))?;
                Ok((OpResult::Checked, None))
            }
        }
    }

    fn node_at(&mut self, path: &str, version: Option<i32>) -> Result<&mut Node, StoreError> {
        let node =
            self.nodes.get_mut(path).ok_or_else(|| StoreError::NoNode { path: path.to_owned() })?;
        match version {
            Some(expected) if expected != node.stat.version => {
                Err(StoreError::BadVersion { path: path.to_owned(), expected })
            }
            _ => Ok(node),
        }
    }

    fn create(
        &mut self,
        session: i64,
        path: &str,
        data: &[u8],
        mode: CreateMode,
        (now, zxid): (i64, i64),
    ) -> Result<(String, Stat), StoreError> {
        let parent_path = parent_of(path);
        let no_parent = || StoreError::NoNode { path: parent_path.to_owned() };
        let parent = self.nodes.get(parent_path).ok_or_else(no_parent)?;
        if parent.stat.ephemeral_owner != 0 {
            return Err(StoreError::NoChildrenForEphemerals { path: parent_path.to_owned() });
        }
        let path = match mode {
            CreateMode::PersistentSequential => format!("{path}{:010}", parent.created_children),
            CreateMode::Persistent | CreateMode::Ephemeral => path.to_owned(),
        };
        if self.nodes.contains_key(&path) {
            return Err(StoreError::NodeExists { path });
        }
        let before = parent.counters();
        let stat = Stat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: now,
            mtime: now,
            ephemeral_owner: if mode == CreateMode::Ephemeral { session } else { 0 },
            data_length: data.len() as i32,
            ..Stat::default()
        };
        let node = Node { data: data.to_vec(), stat, ..Node::default() };
        if let Some(parent) = self.nodes.get_mut(parent_path) {
            parent.children.insert(name_of(&path).to_owned());
            parent.created_children = parent.created_children.wrapping_add(1);
            parent.stat.cversion += 1;
            parent.stat.pzxid = zxid;
            parent.stat.num_children = parent.children.len() as i32;
        }
        self.nodes.insert(path.clone(), node);
        self.trial.push(Undo::Create { path: path.clone(), parent: before });
        Ok((path, stat))
    }

    fn delete(&mut self, path: &str, version: Option<i32>, zxid: i64) -> Result<(), StoreError> {
        if !self.node_at(path, version)?.children.is_empty() {
            return Err(StoreError::NotEmpty { path: path.to_owned() });
        }
        let Some(node) = self.nodes.remove(path) else { return Ok(()) };
        if let Some(parent) = self.nodes.get_mut(parent_of(path)) {
            let before = parent.counters();
            parent.children.remove(name_of(path));
            parent.stat.cversion += 1;
            parent.stat.pzxid = zxid;
            parent.stat.num_children = parent.children.len() as i32;
            self.trial.push(Undo::Delete { path: path.to_owned(), node, parent: before });
        }
        Ok(())
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(path: &str) -> Op {
        Op::Create { path: path.to_owned(), data: b"x".to_vec(), mode: CreateMode::Persistent }
    }

    /// What cannot be written down is taken back: the tree is what it was, to the last counter.
    #[test]
    fn what_is_on_trial_can_be_undone() {
        let mut tree = Tree::new();
        tree.apply(1, &[create("/a"), create("/a/b")], 7).unwrap();
        tree.settle();
        let before = tree.clone();
        let set = Op::Set { path: "/a".into(), data: b"yy".to_vec(), version: None };
        let delete = |path: &str| Op::Delete { path: path.into(), version: None };
        tree.apply(1, &[delete("/a/b"), set, create("/a/c"), create("/a/b")], 8).unwrap();
        tree.apply(1, &[delete("/a/c"), delete("/a/b"), delete("/a"), create("/a")], 9).unwrap();
        tree.undo();
        assert_eq!(tree, before);
        assert_eq!(tree.get("/a").map(|node| node.children.len()), Some(1));
    }
}
