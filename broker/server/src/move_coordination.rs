//! `ottla-broker move-coordination`: the embedded coordination tree of a broker that runs alone is moved
//! into a ZooKeeper, so that others can join it, with its topics, settings and offsets.
//!
//! Order: marker in the target, nodes, comparison; then the file gets another name, so that the broker
//! cannot go on with it; then the marker goes, and brokers may start. Each step can be repeated.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use broker_config::broker::BrokerConfig;
use broker_storage::fs::Fs;
use broker_storage::fs::real::RealFs;
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::remote::RemoteStore;
use broker_zookeeper::store::Store;
use broker_zookeeper::transfer;
use tracing::info;

use crate::membership::identity::{self, Identity};

/// The embedded tree's file, in the first log directory: it and the data go together.
pub(crate) const TREE_FILE: &str = "ottla-coordination.log";

/// The same, once it was moved.
const MOVED_FILE: &str = "ottla-coordination.log.moved";

/// How long the session of the move outlives it.
const SESSION: Duration = Duration::from_secs(30);

/// How long the servers have to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Moves the tree of the broker with this configuration into the ZooKeeper that `to` names, as
/// `zookeeper.connect` does. The broker must not run.
///
/// # Errors
/// When either tree cannot be used, or the target may not be filled; it can be repeated then.
pub async fn run(config: &BrokerConfig, to: &str) -> Result<()> {
    let files = Files::of(config)?;
    let fs = RealFs;
    let is_moved = !files.has_tree(&fs)? && files.has_moved(&fs)?;
    if !is_moved && !files.has_tree(&fs)? {
        bail!("{} is not there: there is nothing to move", files.tree.display());
    }
    let tree = EmbeddedTree::open(if is_moved { &files.moved } else { &files.tree })?;
    let from = tree.session().await;
    let target = RemoteStore::connect(to, SESSION, PATIENCE).await;
    let target = target.with_context(|| format!("--to {to}"))?;
    let moved = move_tree(&from, &target, is_moved).await;
    tree.close().await;
    let (cluster_id, count) = match moved {
        Ok(moved) => moved,
        Err(error) => {
            target.close().await;
            return Err(error);
        }
    };
    if !is_moved {
        put_away(&fs, &files)?;
        info!(nodes = count, cluster = cluster_id, "the coordination tree is copied");
    }
    let is_news = transfer::finish(&target, &cluster_id).await?;
    target.close().await;
    if is_news {
        info!("done: start the broker with zookeeper.connect={to}");
    } else {
        info!("the coordination tree was moved before: start the broker with zookeeper.connect");
    }
    Ok(())
}

/// Copies the tree, unless that was done before; returns the cluster's id and how many nodes it has.
async fn move_tree(from: &dyn Store, to: &dyn Store, is_moved: bool) -> Result<(String, usize)> {
    let id = transfer::cluster(from).await?;
    let id = id.context("the embedded coordination tree holds no cluster yet")?;
    if !is_moved {
        let count = transfer::copy(from, to).await?;
        return Ok((id, count));
    }
    let there = transfer::cluster(to).await?;
    if there.as_ref() != Some(&id) {
        bail!("the coordination tree of cluster {id} was moved before, but not to this target");
    }
    Ok((id, 0))
}

/// Gives the tree's file the name that no broker opens.
fn put_away(fs: &dyn Fs, files: &Files) -> Result<()> {
    let rename = || -> std::io::Result<()> {
        fs.rename(&files.tree, &files.moved)?;
        fs.sync_dir(files.tree.parent().unwrap_or(Path::new(".")))
    };
    rename().with_context(|| {
        format!(
            "the tree is copied, but {} cannot be renamed to {}; mend that and repeat the command",
            files.tree.display(),
            files.moved.display()
        )
    })
}

/// Refuses a start with the wrong tree: with a ZooKeeper while the embedded tree was not moved, or
/// without one after it was, or on a disk that is a member of a cluster there.
///
/// # Errors
/// In words, with the command that helps.
pub(crate) fn refuse_wrong_tree(fs: &dyn Fs, config: &BrokerConfig) -> Result<()> {
    let files = Files::of(config)?;
    match (&config.zookeeper_connect, files.has_tree(fs)?, files.has_moved(fs)?) {
        (Some(connect), true, _) => bail!(
            "zookeeper.connect is set, but this broker's topics are in {}: move them with \
             `ottla-broker move-coordination --to {connect}` and the same --config and --set, or take \
             the file away to begin without them",
            files.tree.display()
        ),
        (None, false, true) => bail!(
            "zookeeper.connect is missing: this broker's coordination tree was moved to a ZooKeeper \
             ({} says so); to go back to what it was before that, give the file its old name {}",
            files.moved.display(),
            files.tree.display()
        ),
        (None, false, false) => match membership(fs, config) {
            Some((file, connect)) => bail!(
                "zookeeper.connect is missing: this disk is that of a broker of the cluster at {connect} \
                 ({} says so); set it, or, to begin a broker of its own with copies of what is on the \
                 disk, delete that file",
                file.display()
            ),
            None => Ok(()),
        },
        (Some(_), false, _) | (None, true, _) => Ok(()),
    }
}

/// Of which cluster's broker the disk is, if of one in a ZooKeeper, and the file that says so. A directory
/// that cannot be read is judged where it is opened.
fn membership(fs: &dyn Fs, config: &BrokerConfig) -> Option<(PathBuf, String)> {
    config.log_dirs.iter().find_map(|dir| {
        let connect = Identity::read(fs, dir).ok().flatten()?.zookeeper?;
        Some((dir.join(identity::FILE), connect))
    })
}

/// Where the tree is, before and after.
struct Files {
    tree: PathBuf,
    moved: PathBuf,
}

impl Files {
    fn of(config: &BrokerConfig) -> Result<Self> {
        let Some(dir) = config.log_dirs.first() else { bail!("log.dirs names no directory") };
        Ok(Self { tree: dir.join(TREE_FILE), moved: dir.join(MOVED_FILE) })
    }

    fn has_tree(&self, fs: &dyn Fs) -> Result<bool> {
        exists(fs, &self.tree)
    }

    fn has_moved(&self, fs: &dyn Fs) -> Result<bool> {
        exists(fs, &self.moved)
    }
}

fn exists(fs: &dyn Fs, path: &Path) -> Result<bool> {
    fs.exists(path).with_context(|| {
        format!("log.dirs: the first directory cannot be used: cannot look for {}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair of setting and file has its one answer.
    #[test]
    fn a_start_with_the_wrong_tree_is_refused() {
        const SESSION: &str = identity::FILE;
        let cases: [(bool, &[&str], Option<&str>); 9] = [
            (false, &[], None),
            (true, &[], None),
            (false, &[TREE_FILE], None),
            (true, &[TREE_FILE], Some("move-coordination --to zk:2181/a")),
            (false, &[MOVED_FILE], Some("zookeeper.connect is missing")),
            (true, &[MOVED_FILE], None),
            (false, &[SESSION], Some("a broker of the cluster at zk:2181/a")),
            (false, &[SESSION, TREE_FILE], None),
            (true, &[SESSION], None),
        ];
        for (with_zookeeper, files, refusal) in cases {
            let dir = tempfile::tempdir().unwrap();
            for file in files {
                RealFs.open(&dir.path().join(file), broker_storage::fs::Open::Create).unwrap();
                if *file == SESSION {
                    let zookeeper = Some("zk:2181/a".to_owned());
                    let identity = Identity { zookeeper, ..Identity::default() };
                    identity.write(&RealFs, dir.path()).unwrap();
                }
            }
            let config = BrokerConfig {
                log_dirs: vec![dir.path().to_owned()],
                zookeeper_connect: with_zookeeper.then(|| "zk:2181/a".to_owned()),
                ..BrokerConfig::default()
            };
            let refused = refuse_wrong_tree(&RealFs, &config).err().map(|error| error.to_string());
            match (refusal, refused) {
                (None, None) => {}
                (Some(words), Some(refused)) if refused.contains(words) => {}
                (expected, found) => panic!("{files:?}: {expected:?}, {found:?}"),
            }
        }
    }
}
