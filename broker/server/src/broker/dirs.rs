//! The log directories of a start: looked at before anything is made in one of them, then opened.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use broker_config::broker::BrokerConfig;
use broker_protocol::quantity::BrokerId;
use broker_storage::fs::Fs;
use broker_storage::fs::real::RealFs;
use broker_storage::log_dir::{Identity, LogDir};

use crate::clock::SharedClock;

/// Refuses directories that are not this broker's before the coordination tree is made in one: a start that
/// is refused changes nothing. A disk that fails is judged where it is opened.
pub(super) fn look(config: &BrokerConfig) -> Result<()> {
    for dir in &config.log_dirs {
        match LogDir::look(&RealFs, dir, BrokerId(config.id())) {
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

    use broker_protocol::quantity::TimestampMs;

    use super::*;
    use crate::broker::Broker;

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
}
