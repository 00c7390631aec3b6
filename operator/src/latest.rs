//! Objects as they were last written here, for as long as the cache does not know of it: a look that begins before it
//! does would take back what the one before has said, or say it again. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kube::{Resource, ResourceExt as _};

use crate::key::{Key, key};

/// How many objects that have gone are remembered. An answer that is overtaken by the word that its object has gone is
/// overtaken by few others.
const GONE: usize = 1024;

/// What the cache does not know yet.
#[derive(Debug)]
pub struct Latest<K> {
    /// Versions that are older than what was written, and that.
    written: HashMap<Key, (Vec<String>, Arc<K>)>,
    /// The uids of those that went last: the cache may hear of that before who wrote has the answer.
    gone: VecDeque<String>,
}

impl<K> Default for Latest<K> {
    fn default() -> Self {
        Self { written: HashMap::new(), gone: VecDeque::new() }
    }
}

impl<K: Resource> Latest<K> {
    /// Takes in that `before`, or nothing, was made `after`.
    pub fn wrote(&mut self, before: Option<&K>, after: &Arc<K>) {
        if after.uid().is_some_and(|uid| self.gone.contains(&uid)) {
            return;
        }
        let entry =
            self.written.entry(key(&**after)).or_insert_with(|| (Vec::new(), after.clone()));
        entry.0.extend(before.and_then(kube::ResourceExt::resource_version));
        entry.1 = Arc::clone(after);
    }

    /// Takes in what the cache has by now: what was written, or what came after it.
    pub fn seen(&mut self, object: &K) {
        let version = object.resource_version().unwrap_or_default();
        let is_older = self.written.get(&key(object)).is_some_and(|(older, latest)| {
            latest.uid() == object.uid() && older.contains(&version)
        });
        if !is_older {
            self.written.remove(&key(object));
        }
    }

    /// Takes in that an object is gone, as it was last.
    pub fn gone(&mut self, object: &K) {
        self.unknown(&key(object));
        if self.gone.len() == GONE {
            self.gone.pop_front();
        }
        self.gone.extend(object.uid());
    }

    /// Takes in that there is no object of this name.
    pub fn unknown(&mut self, key: &Key) {
        self.written.remove(key);
    }

    /// Takes in that the cache is filled anew: nobody tells what has gone meanwhile.
    pub fn forget(&mut self) {
        self.written.clear();
    }

    /// Returns what is known of an object, of which the cache has `cached`.
    pub fn of(&self, cached: Arc<K>) -> Arc<K> {
        let version = cached.resource_version().unwrap_or_default();
        match self.written.get(&key(&*cached)) {
            Some((older, latest)) if latest.uid() == cached.uid() && older.contains(&version) => {
                Arc::clone(latest)
            }
            _ => cached,
        }
    }

    /// Returns what was written of which the cache may know nothing.
    pub fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.written.values().map(|(_, latest)| latest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::topic::Topic;

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
        let mut latest: Latest<Topic> = Latest::default();
        latest.wrote(Some(&topic(1)), &topic(2));
        latest.wrote(Some(&topic(2)), &topic(4));
        for cached in [1, 2] {
            latest.seen(&topic(cached));
            assert_eq!(latest.of(topic(cached)), topic(4));
        }
        assert_eq!(latest.of(topic(5)), topic(5), "somebody else has written since");
        latest.seen(&topic(4));
        assert!(latest.written.is_empty());
    }

    #[test]
    fn what_was_made_is_there_until_the_cache_has_it_or_is_filled_anew() {
        let mut latest: Latest<Topic> = Latest::default();
        latest.wrote(None, &topic(1));
        assert_eq!(latest.all().collect::<Vec<_>>(), [&topic(1)]);
        latest.seen(&topic(1));
        assert_eq!(latest.all().count(), 0);
        latest.wrote(None, &topic(2));
        latest.forget();
        assert_eq!(latest.all().count(), 0);
    }
}
