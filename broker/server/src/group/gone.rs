//! Topics that were deleted while nobody here kept their offsets: the broker was down, or ended
//! before it had written that the offsets are gone.
//!
//! A topic that a broker does not know may be one that it cannot read, or has not been told of; the
//! coordination tree alone says that a topic is no more. Kafka keeps such offsets until they expire.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_zookeeper::path;
use broker_zookeeper::store::Store;

use super::state::LoadedGroup;
use crate::metadata::Metadata;

/// Returns the topics that `groups` have offsets of and `metadata` does not have.
pub(crate) fn unknown_topics(groups: &[LoadedGroup], metadata: &Metadata) -> BTreeSet<Arc<str>> {
    let partitions = groups.iter().flat_map(|group| &group.offsets).map(|(partition, _)| partition);
    let unknown = partitions.filter(|partition| metadata.topic(&partition.topic).is_none());
    unknown.map(|partition| Arc::clone(&partition.topic)).collect()
}

/// Returns those of `topics` that are not in the tree. What cannot be read counts as there.
pub(crate) async fn gone(store: &dyn Store, topics: BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
    let mut gone = BTreeSet::new();
    for topic in topics {
        match store.exists(&path::topic(&topic)).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                gone.insert(topic);
            }
            Err(error) => {
                tracing::warn!(%topic, %error, "offsets of an unknown topic kept until they expire");
            }
        }
    }
    gone
}
