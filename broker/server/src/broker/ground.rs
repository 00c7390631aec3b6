//! What a broker stands on before it starts: a session with the coordination tree, its cluster, its id.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use broker_config::broker::BrokerConfig;
use broker_protocol::quantity::BrokerId;
use broker_storage::fs::Fs;
use broker_storage::meta_properties::MetaProperties;
use broker_zookeeper::observer::Observer;
use broker_zookeeper::sessions::{Origin, Sessions};
use broker_zookeeper::store::Store;

use super::ending::Made;
use super::patience::{Renewal, patiently};
use crate::adopt;
use crate::controller::membership;
use crate::controller::read::fresh_id;
use crate::membership::cluster;
use crate::membership::identity::Identity;
use crate::metrics::coordination::Coordination;

/// Where a broker stands.
pub(super) struct Ground {
    pub(super) sessions: Arc<Sessions>,
    /// Whatever session there is.
    pub(super) store: Arc<dyn Store>,
    pub(super) broker_id: BrokerId,
    pub(super) cluster_id: String,
    /// Whether the tree is this broker's own, so that there is no other broker.
    pub(super) is_alone: bool,
    /// Whether topics were taken over from log directories that came without a tree.
    pub(super) is_adopted: bool,
    /// Who this broker was in its last run, and where it is a member now.
    pub(super) past: Identity,
}

impl Ground {
    /// Finds the cluster of the tree at `origin`, or founds it.
    pub(super) async fn find(
        config: &BrokerConfig,
        origin: Origin,
        fs: &Arc<dyn Fs>,
        observer: &Arc<Coordination>,
        made: &Made,
    ) -> Result<Self> {
        let is_alone = config.zookeeper_connect.is_none();
        let observer = Arc::clone(observer) as Arc<dyn Observer>;
        let sessions = Sessions::begin_observed(origin, observer).await;
        let sessions =
            sessions.context("zookeeper.connect: no session with the coordination tree")?;
        let _ = made.sessions.set(Arc::clone(&sessions));
        let store = sessions.live();
        let ours =
            adopt::cluster_id(&**fs, &config.log_dirs).context("read the log directories")?;
        // A disk that fails is judged where it is opened.
        let mut dirs = config.log_dirs.iter();
        let past = dirs.find_map(|dir| Identity::read(&**fs, dir).ok().flatten());
        if is_alone {
            membership::ensure_paths(&*store).await?;
            let fresh = ours.unwrap_or_else(fresh_id);
            let cluster_id = membership::cluster_id(&*store, fresh).await?;
            let broker_id = BrokerId(config.id());
            let is_adopted = adopt::topics(&*store, fs, &config.log_dirs, broker_id).await?;
            let past = Identity::default();
            return Ok(Self { sessions, store, broker_id, cluster_id, is_alone, is_adopted, past });
        }
        let ours = ours.map(|id| id.to_string());
        let stored = stored_id(&**fs, &config.log_dirs);
        let reserved = config.reserved_broker_max_id;
        let find = async || {
            let found = cluster::find(&*store, ours.as_deref(), fresh_id(), past.as_ref()).await?;
            let id = cluster::broker_id(&*store, config.id(), stored, reserved).await?;
            Ok((found, id))
        };
        let (found, broker_id) = patiently(&sessions, Renewal::Ours, find).await?;
        let (cluster_id, is_adopted) = (found.id, false);
        let zookeeper = config.zookeeper_connect.clone();
        let past = Identity { zookeeper, ..past.unwrap_or_default() };
        Ok(Self { sessions, store, broker_id, cluster_id, is_alone, is_adopted, past })
    }
}

/// The id that the log directories have; what is wrong with them is said where they are opened.
fn stored_id(fs: &dyn Fs, dirs: &[PathBuf]) -> Option<BrokerId> {
    dirs.iter().find_map(|dir| MetaProperties::read(fs, dir).ok().flatten()?.broker_id)
}
