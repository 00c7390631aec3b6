//! The objects, the revision that counts their changes, and the changes themselves, for those who watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::json::{put, text};
use super::kind::Kind;

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `statefulsets.apps`.
    pub(crate) resource: String,
    /// Empty for what is in no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key of `object`, which is of `kind`.
    pub(crate) fn of(kind: &Kind, object: &Value) -> Self {
        let namespace = if kind.namespaced { text(object, "/metadata/namespace") } else { "" };
        Self::new(&kind.resource(), namespace, text(object, "/metadata/name"))
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Value>>,
    /// `None` for what was removed; what it was last, with the revision of its removal, is in `before`.
    pub(crate) after: Option<Arc<Value>>,
}

/// Everything that etcd would hold.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Shared with whoever looks at many of them.
    objects: BTreeMap<Key, Arc<Value>>,
    /// Counts the changes.
    pub(crate) revision: u64,
    /// Watches from below it are too old.
    pub(crate) floor: u64,
    history: Vec<Change>,
}

impl Store {
    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key).map(|object| &**object)
    }

    /// Returns the objects of `resource` in `namespace` (of every one where it is empty), by name.
    pub(crate) fn list<'a>(
        &'a self,
        resource: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        self.shared(resource, namespace).map(|(key, object)| (key, &**object))
    }

    /// Returns the same, to be kept.
    pub(crate) fn shared<'a>(
        &'a self,
        resource: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let first = Key::new(resource, namespace, "");
        let all = self.objects.range(first..).take_while(move |(key, _)| key.resource == resource);
        all.filter(move |(key, _)| namespace.is_empty() || key.namespace == namespace)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter().map(|(key, object)| (key, &**object))
    }

    /// Returns every object, to be kept.
    pub(crate) fn all_shared(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Returns an object, to be kept.
    pub(crate) fn get_shared(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// Stores `object` under a new revision, and returns it with that.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        put(&mut object, "/metadata/resourceVersion", self.revision.to_string());
        let kept = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&kept));
        let after = Some(Arc::clone(&kept));
        self.history.push(Change { revision: self.revision, key, before, after });
        kept
    }

    /// Removes an object under a new revision.
    pub(crate) fn remove(&mut self, key: &Key) {
        let Some(mut object) = self.objects.remove(key) else { return };
        self.revision += 1;
        let last = Arc::make_mut(&mut object);
        put(last, "/metadata/resourceVersion", self.revision.to_string());
        let change =
            Change { revision: self.revision, key: key.clone(), before: Some(object), after: None };
        self.history.push(change);
    }

    /// Returns the changes after `revision`.
    pub(crate) fn since(&self, revision: u64) -> &[Change] {
        let from = self.history.partition_point(|change| change.revision <= revision);
        &self.history[from..]
    }

    /// Returns the same without the past.
    pub(crate) fn present(&self) -> Self {
        let (objects, revision) = (self.objects.clone(), self.revision);
        Self { objects, revision, floor: revision, history: Vec::new() }
    }

    /// Forgets every change so far.
    pub(crate) fn compact(&mut self) {
        self.floor = self.revision;
        self.history.clear();
    }
}
