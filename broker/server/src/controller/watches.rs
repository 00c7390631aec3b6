//! What the controller watches in the tree, and which parts must be read again.
//!
//! An event only says where to look: bursts coalesce into one [`Dirty`], and a watch that missed
//! something has everything that it covers read again. Nothing is decided here.

use std::collections::BTreeSet;

use broker_zookeeper::path;
use broker_zookeeper::store::{EventKind, Store, StoreError, Watch, WatchEvent, WatchMode};

/// Where tools and brokers ask things of the controller.
const ADMIN: &str = "/admin";

/// The parts of the tree that may differ from what was read last.
#[allow(clippy::struct_excessive_bools, reason = "each is a place of its own to be read again")]
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Dirty {
    /// Topics whose own nodes may differ.
    pub(super) topics: BTreeSet<String>,
    /// Every topic and every partition may differ.
    pub(super) all_topics: bool,
    /// The brokers.
    pub(super) brokers: bool,
    /// Topics that are to be deleted.
    pub(super) deletions: bool,
    /// `/admin/reassign_partitions`.
    pub(super) reassign: bool,
    /// `/admin/preferred_replica_election`.
    pub(super) preferred: bool,
    /// In-sync replicas that leaders have written themselves.
    pub(super) isr_changes: bool,
    /// Log directories that failed.
    pub(super) log_dirs: bool,
    /// Whether we are the controller still.
    pub(super) controller: bool,
}

impl Dirty {
    /// Everything may differ.
    pub(super) fn everything() -> Self {
        Self {
            topics: BTreeSet::new(),
            all_topics: true,
            brokers: true,
            deletions: true,
            reassign: true,
            preferred: true,
            isr_changes: true,
            log_dirs: true,
            controller: true,
        }
    }

    /// Whether nothing differs.
    pub(super) fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    fn note(&mut self, source: Source, event: &WatchEvent) {
        let missed = event.kind == EventKind::Missed;
        match source {
            Source::Topics if missed => self.all_topics = true,
            Source::Topics => {
                let below = event.path.strip_prefix(path::TOPICS);
                let topic = below.and_then(|rest| rest.strip_prefix('/'));
                // Deeper nodes are the controller's own, or announced by their writers.
                if let Some(topic) = topic.filter(|topic| !topic.contains('/')) {
                    self.topics.insert(topic.to_owned());
                }
            }
            Source::Brokers => self.brokers = true,
            Source::Admin => {
                let is = |path: &str| missed || event.path.starts_with(path);
                self.deletions |= is(path::DELETE_TOPICS);
                self.reassign |= is(path::REASSIGN_PARTITIONS);
                self.preferred |= is(path::PREFERRED_REPLICA_ELECTION);
            }
            Source::IsrChanges => self.isr_changes = true,
            Source::LogDirs => self.log_dirs = true,
            Source::Controller => self.controller = true,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Topics,
    Brokers,
    Admin,
    IsrChanges,
    LogDirs,
    Controller,
}

/// The watches of one controller.
#[derive(Debug)]
pub(super) struct Watches {
    topics: Watch,
    brokers: Watch,
    admin: Watch,
    isr_changes: Watch,
    log_dirs: Watch,
    controller: Watch,
}

impl Watches {
    /// Sets the watches; what is read afterwards is watched.
    pub(super) async fn set(store: &dyn Store) -> Result<Self, StoreError> {
        let recursive = WatchMode::PersistentRecursive;
        Ok(Self {
            topics: store.watch(path::TOPICS, recursive).await?,
            brokers: store.watch(path::BROKER_IDS, recursive).await?,
            admin: store.watch(ADMIN, recursive).await?,
            isr_changes: store.watch(path::ISR_CHANGES, WatchMode::Persistent).await?,
            log_dirs: store.watch(path::LOG_DIR_EVENTS, WatchMode::Persistent).await?,
            controller: store.watch(path::CONTROLLER, WatchMode::Persistent).await?,
        })
    }

    /// Waits until something may differ. Cancel-safe.
    ///
    /// # Errors
    /// `SessionExpired`.
    pub(super) async fn next(&mut self) -> Result<Dirty, StoreError> {
        let (source, event) = tokio::select! {
            event = self.topics.next() => (Source::Topics, event),
            event = self.brokers.next() => (Source::Brokers, event),
            event = self.admin.next() => (Source::Admin, event),
            event = self.isr_changes.next() => (Source::IsrChanges, event),
            event = self.log_dirs.next() => (Source::LogDirs, event),
            event = self.controller.next() => (Source::Controller, event),
        };
        let mut dirty = Dirty::default();
        take(&mut dirty, source, &event)?;
        for (source, watch) in [
            (Source::Topics, &mut self.topics),
            (Source::Brokers, &mut self.brokers),
            (Source::Admin, &mut self.admin),
            (Source::IsrChanges, &mut self.isr_changes),
            (Source::LogDirs, &mut self.log_dirs),
            (Source::Controller, &mut self.controller),
        ] {
            while let Some(event) = watch.try_next() {
                take(&mut dirty, source, &event)?;
            }
        }
        Ok(dirty)
    }
}

fn take(dirty: &mut Dirty, source: Source, event: &WatchEvent) -> Result<(), StoreError> {
    if event.kind == EventKind::SessionExpired {
        return Err(StoreError::SessionExpired);
    }
    dirty.note(source, event);
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::store::CreateMode;

    use super::*;
    use crate::controller::membership::ensure_paths;

    /// What changed is named by its place; deeper nodes of a topic are not.
    #[tokio::test]
    async fn a_burst_says_where_to_look() {
        let tree = EmbeddedTree::in_memory();
        let store = tree.session().await;
        ensure_paths(&store).await.unwrap();
        let mut watches = Watches::set(&store).await.unwrap();
        for path in ["/brokers/topics/a", "/brokers/topics/a/partitions", "/admin/delete_topics/b"]
        {
            store.create(path, b"", CreateMode::Persistent).await.unwrap();
        }
        store.create("/brokers/ids/7", b"", CreateMode::Ephemeral).await.unwrap();
        // A burst may come in parts.
        let (mut topics, mut brokers, mut deletions) = (BTreeSet::new(), false, false);
        while !(brokers && deletions && !topics.is_empty()) {
            let dirty = watches.next().await.unwrap();
            topics.extend(dirty.topics);
            (brokers, deletions) = (brokers || dirty.brokers, deletions || dirty.deletions);
            assert!(!dirty.reassign && !dirty.preferred && !dirty.controller);
        }
        assert_eq!(topics, ["a".to_owned()].into());
        tree.expire(store.session_id()).await;
        let ended = loop {
            if let Err(ended) = watches.next().await {
                break ended;
            }
        };
        assert_eq!(ended, StoreError::SessionExpired);
    }
}
