//! The log directories of a start: looked at before anything is made in one of them, then opened.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use broker_protocol::quantity::BrokerId;
use broker_storage::fs::Fs;
use broker_storage::log_dir::{Identity, LogDir};

use crate::clock::SharedClock;

/// Refuses directories that are not this broker's, or not of the cluster as far as that is known, before the first
/// of them is changed: a start that is refused changes nothing. A disk that fails is judged where it is opened.
pub(super) fn look(
    paths: &[PathBuf],
    fs: &dyn Fs,
    broker_id: BrokerId,
    cluster_id: Option<&str>,
) -> Result<()> {
    for dir in paths {
        match LogDir::look(fs, dir, broker_id, cluster_id) {
            Err(error) if error.disk_failure().is_none() => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Opens every directory; one whose disk fails is offline from the start, if another works.
pub(super) fn open(
    paths: &[PathBuf],
    fs: &Arc<dyn Fs>,
    identity: &Identity,
    clock: &SharedClock,
) -> Result<Vec<Arc<LogDir>>> {
    look(paths, &**fs, identity.broker_id, Some(&identity.cluster_id))?;
    let mut dirs = Vec::with_capacity(paths.len());
    for path in paths {
        let dir = match LogDir::open(Arc::clone(fs), path, identity, clock.wall()) {
            Ok(dir) => dir,
            Err(error) => match error.disk_failure() {
                Some(disk) => LogDir::failed(Arc::clone(fs), path, disk)?,
                None => return Err(error.into()),
            },
        };
        dirs.push(Arc::new(dir));
    }
    if dirs.iter().all(|dir| dir.offline().is_offline()) {
        bail!("log.dirs: no directory can be used; the log says why");
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use broker_config::broker::BrokerConfig;
    use broker_protocol::quantity::TimestampMs;
    use broker_storage::fs::real::RealFs;

    use super::*;
    use crate::broker::Broker;
    use crate::clock::SystemClock;

    fn names(dir: &Path) -> BTreeSet<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_start_on_what_is_another_brokers_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = BrokerConfig {
            log_dirs: vec![dir.path().to_owned()],
            metrics_listener: String::new(),
            ..BrokerConfig::default()
        };
        let broker_id = BrokerId(config.id() + 1);
        let identity = Identity { cluster_id: "cluster".to_owned(), broker_id };
        let other = LogDir::open(Arc::new(RealFs), dir.path(), &identity, TimestampMs(0)).unwrap();
        let before = names(dir.path());
        let refused = async || {
            let refused = Broker::start(config.clone()).await.err().unwrap();
            assert_eq!(names(dir.path()), before);
            format!("{refused:#}")
        };
        assert!(refused().await.contains("is in use by another process"));
        drop(other);
        assert!(refused().await.contains(&format!("belongs to broker {broker_id}")));
    }

    /// The first directory is as it was, its mark of a clean stop too, where the second is refused.
    #[test]
    fn of_several_directories_none_is_changed_before_all_are_looked_at() {
        let temporary = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| temporary.path().join(name));
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let clock: SharedClock = Arc::new(SystemClock);
        let of = |cluster_id: &str, id| Identity {
            cluster_id: cluster_id.to_owned(),
            broker_id: BrokerId(id),
        };
        for (other, words) in [(of("ours", 2), "belongs to broker 2"), (of("theirs", 1), "theirs")]
        {
            let [first, second] = &paths;
            for (path, identity) in [(first, of("ours", 1)), (second, other)] {
                let _ = std::fs::remove_dir_all(path);
                let dir = LogDir::open(Arc::clone(&fs), path, &identity, clock.wall()).unwrap();
                dir.mark_clean_shutdown(-1).unwrap();
            }
            let before = names(first);
            let refused = open(&paths, &fs, &of("ours", 1), &clock).err().unwrap().to_string();
            assert!(refused.contains(words), "{refused}");
            assert_eq!(names(first), before);
        }
    }
}
