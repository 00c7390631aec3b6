//! What a controller remembers of the objects that are there: what they were when it saw them, how often they failed,
//! and when they were as they should be. All of it may be lost at any time. Pure.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use kube::api::ObjectMeta;

use crate::apply::Mark;
use crate::backoff::BackOff;
use crate::key::Key;

/// Annotations that say something to the operator begin so; others are not its business.
const OURS: &str = "ottla.dev/";

/// As much as there are objects, at most.
#[derive(Debug, Default)]
pub(super) struct Known {
    seen: HashMap<Key, u64>,
    converged: HashMap<Key, Mark>,
    back_off: BackOff<Key>,
}

impl Known {
    /// Takes in an object; says whether anything differs that a look depends on: not its status, not the annotations
    /// and labels of others.
    pub(super) fn is_news(&mut self, key: Key, meta: &ObjectMeta) -> bool {
        let print = fingerprint(meta);
        self.seen.insert(key, print) != Some(print)
    }

    /// Takes in that an object is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.seen.remove(key);
        self.converged.remove(key);
        self.back_off.forget(key);
    }

    /// Forgets every object that is not there, and returns them.
    pub(super) fn retain(&mut self, is_there: impl Fn(&Key) -> bool) -> Vec<Key> {
        let gone: Vec<Key> = self.seen.keys().filter(|key| !is_there(key)).cloned().collect();
        for key in &gone {
            self.forget(key);
        }
        self.converged.retain(|key, _| is_there(key));
        self.back_off.retain(is_there);
        gone
    }

    /// What an object was when it was last as it should be, unless something went wrong since.
    pub(super) fn converged(&self, key: &Key) -> Option<Mark> {
        self.converged.get(key).copied()
    }

    /// Takes in that a look went well.
    pub(super) fn succeeded(&mut self, key: Key, converged: Option<Mark>) {
        self.back_off.forget(&key);
        match converged {
            Some(mark) => self.converged.insert(key, mark),
            None => self.converged.remove(&key),
        };
    }

    /// Takes in that a look failed; returns how many did in a row, and how long to leave the object alone.
    pub(super) fn failed(&mut self, key: Key, chance: f64) -> (u32, Duration) {
        self.converged.remove(&key);
        self.back_off.failed(key, chance)
    }
}

fn fingerprint(meta: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, meta.deletion_timestamp.is_some()).hash(&mut hasher);
    meta.finalizers.hash(&mut hasher);
    let annotations = meta.annotations.iter().flatten().filter(|(name, _)| name.starts_with(OURS));
    annotations.for_each(|annotation| annotation.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(name: &str) -> Key {
        ("default".to_owned(), name.to_owned())
    }

    fn annotated(name: &str, value: &str) -> ObjectMeta {
        let annotations = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() }
    }

    /// A row is (what it is, the object, whether it is news after the one before).
    #[test]
    fn only_what_a_look_depends_on_is_news() {
        let with = |generation, version: &str| ObjectMeta {
            generation: Some(generation),
            resource_version: Some(version.to_owned()),
            ..annotated("ottla.dev/restart", "1")
        };
        let mut deleted = with(2, "4");
        deleted.finalizers = Some(vec!["ottla.dev/topic".to_owned()]);
        let cases = [
            ("seen first", with(1, "1"), true),
            ("another status", with(1, "2"), false),
            ("another spec", with(2, "3"), true),
            ("another finalizer", deleted, true),
            ("an annotation of ours", annotated("ottla.dev/restart", "2"), true),
            ("an annotation of others", annotated("example.com/x", "1"), true),
            ("another one of others", annotated("example.com/y", "2"), false),
        ];
        let mut known = Known::default();
        for (name, meta, is_news) in cases {
            assert_eq!(known.is_news(key("a"), &meta), is_news, "{name}");
        }
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut known = Known::default();
        for name in ["a", "b"] {
            known.is_news(key(name), &ObjectMeta::default());
            known.failed(key(name), 1.0);
        }
        assert_eq!(known.retain(|key| key.1 == "a"), [key("b")]);
        assert_eq!((known.failed(key("a"), 1.0).0, known.failed(key("b"), 1.0).0), (2, 1));
        known.forget(&key("a"));
        assert!(known.is_news(key("a"), &ObjectMeta::default()));
    }
}
