//! Replicas that this broker is in sync by, and has no log of: a directory was wiped, or its disk replaced.
//!
//! Found before the registration, so that nobody elects such a replica for its place in the ISR: it is
//! unproven (`replica::standing`) until it has joined anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_zookeeper::store::Store;
use tracing::warn;

use crate::controller::read::{self, StateReading};
use crate::replica::manager::Manager;

/// Returns the partitions whose ISR names `broker`, and whose logs are not here.
pub(super) async fn find(
    store: &dyn Store,
    replicas: &Manager,
    broker: BrokerId,
) -> Result<Vec<TopicPartition>> {
    let mut assigned = read::assigned(store, broker).await?;
    assigned.retain(|name| replicas.partition(&name.topic, name.partition).is_none());
    let states = read::states(store, &assigned).await?;
    let is_in_sync = |state: &StateReading| match state {
        StateReading::Missing => false,
        // It may be.
        StateReading::Unreadable => true,
        StateReading::Is(state) => state.isr.contains(&broker),
    };
    let lost = states.into_iter().filter(|(_, state)| is_in_sync(state));
    Ok(lost.map(|(name, _)| name).collect::<BTreeSet<_>>().into_iter().collect())
}

/// Notes durably that `lost` prove nothing.
pub(super) async fn note(replicas: &Arc<Manager>, lost: Vec<TopicPartition>) -> Result<()> {
    if lost.is_empty() {
        return Ok(());
    }
    warn!(count = lost.len(), "logs are missing of replicas that were in sync");
    let replicas = Arc::clone(replicas);
    let note = move || {
        let working = replicas.log_dirs().iter().find(|dir| !dir.offline().is_offline());
        working.map_or(Ok(()), |dir| replicas.standings().add(dir, lost))
    };
    Ok(tokio::task::spawn_blocking(note).await??)
}
