//! Objects as they were last written here, for as long as the cache does not know of it: a look that begins before it
//! does would take back what the one before has said. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt as _;

use super::index::key;
use crate::crd::topic::Topic;
use crate::progress::Key;

/// What the cache does not know yet.
#[derive(Debug, Default)]
pub(super) struct Latest {
    /// Versions that are older than what was written, and that.
    written: HashMap<Key, (Vec<String>, Arc<Topic>)>,
}

impl Latest {
    /// Takes in that `before` was made `after`.
    pub(super) fn wrote(&mut self, before: &Topic, after: &Arc<Topic>) {
        let older = before.resource_version().unwrap_or_default();
        let entry = self.written.entry(key(after)).or_insert_with(|| (Vec::new(), after.clone()));
        entry.0.push(older);
        entry.1 = Arc::clone(after);
    }

    /// Takes in what the cache has by now: what was written, or what came after it.
    pub(super) fn seen(&mut self, topic: &Topic) {
        let version = topic.resource_version().unwrap_or_default();
        let is_older = self
            .written
            .get(&key(topic))
            .is_some_and(|(older, latest)| latest.uid() == topic.uid() && older.contains(&version));
        if !is_older {
            self.written.remove(&key(topic));
        }
    }

    /// Takes in that an object is gone.
    pub(super) fn gone(&mut self, key: &Key) {
        self.written.remove(key);
    }

    /// Returns what is known of an object, of which the cache has `cached`.
    pub(super) fn of(&self, cached: Arc<Topic>) -> Arc<Topic> {
        let version = cached.resource_version().unwrap_or_default();
        match self.written.get(&key(&cached)) {
            Some((older, latest)) if latest.uid() == cached.uid() && older.contains(&version) => {
                Arc::clone(latest)
            }
            _ => cached,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn topic(version: u8) -> Arc<Topic> {
        let object = json!({
            "apiVersion": "ottla.dev/v1alpha1", "kind": "Topic",
            "metadata": { "name": "t", "namespace": "shop", "resourceVersion": version.to_string() },
            "spec": { "cluster": "main", "replicas": 1 },
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_was_written_counts_until_the_cache_has_it() {
        let mut latest = Latest::default();
        latest.wrote(&topic(1), &topic(2));
        latest.wrote(&topic(2), &topic(4));
        for cached in [1, 2] {
            latest.seen(&topic(cached));
            assert_eq!(latest.of(topic(cached)), topic(4));
        }
        assert_eq!(latest.of(topic(5)), topic(5), "somebody else has written since");
        latest.seen(&topic(4));
        assert!(latest.written.is_empty());
    }
}
