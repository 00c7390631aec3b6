//! Which objects there are of each topic, and which of a cluster: what a change elsewhere is looked up in. Pure.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::crd::topic::Topic;
use crate::key::{Key, key};

/// A topic: the namespace of its cluster, the cluster, its name there.
type Place = (String, String, String);

/// Who is older: the time of creation, which is told in whole seconds; of one second, who has the topic; then the uid.
type Age = (Option<Time>, bool, String);

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Index {
    objects: BTreeMap<Place, BTreeMap<String, Age>>,
    places: HashMap<Key, Place>,
}

impl Index {
    /// Takes in that an object is there; returns the others of its topic where that is news to them.
    pub(super) fn there(&mut self, topic: &Topic) -> Vec<Key> {
        let (key, place, age) = (key(topic), place(topic), age(topic));
        let known = self.objects.get(&place).and_then(|objects| objects.get(&key.1));
        if known == Some(&age) {
            return Vec::new();
        }
        let mut others = self.gone(&key);
        others.extend(self.of(&place));
        others.sort();
        others.dedup();
        self.objects.entry(place.clone()).or_default().insert(key.1.clone(), age);
        self.places.insert(key, place);
        others
    }

    /// Takes in that an object is gone; returns the others of its topic.
    pub(super) fn gone(&mut self, key: &Key) -> Vec<Key> {
        let Some(place) = self.places.remove(key) else { return Vec::new() };
        if let Some(objects) = self.objects.get_mut(&place) {
            objects.remove(&key.1);
            if objects.is_empty() {
                self.objects.remove(&place);
            }
        }
        self.of(&place).collect()
    }

    /// Returns the name of an older object of the same topic: the oldest.
    pub(super) fn elder(&self, topic: &Topic) -> Option<String> {
        let objects = self.objects.get(&place(topic))?;
        let (name, oldest) = objects.iter().min_by_key(|(_, age)| *age)?;
        (*oldest < age(topic)).then(|| name.clone())
    }

    /// Returns the objects of a topic of a cluster.
    pub(super) fn of_topic(&self, (namespace, cluster): &Key, topic: &str) -> Vec<Key> {
        self.of(&(namespace.clone(), cluster.clone(), topic.to_owned())).collect()
    }

    /// Returns the objects of all topics of a cluster.
    pub(super) fn of_cluster(&self, (namespace, cluster): &Key) -> Vec<Key> {
        let first = (namespace.clone(), cluster.clone(), String::new());
        let topics = self.objects.range(first..);
        let topics =
            topics.take_while(|((space, name, _), _)| space == namespace && name == cluster);
        topics.flat_map(|((space, ..), objects)| keys(space, objects)).collect()
    }

    fn of(&self, place: &Place) -> impl Iterator<Item = Key> {
        self.objects.get(place).into_iter().flat_map(|objects| keys(&place.0, objects))
    }
}

fn keys(namespace: &str, objects: &BTreeMap<String, Age>) -> impl Iterator<Item = Key> {
    objects.keys().map(move |name| (namespace.to_owned(), name.clone()))
}

fn place(topic: &Topic) -> Place {
    (topic.namespace().unwrap_or_default(), topic.spec.cluster.clone(), topic.topic_name())
}

fn age(topic: &Topic) -> Age {
    let has_it = topic.status.as_ref().is_some_and(|status| status.topic_id.is_some());
    (topic.creation_timestamp(), !has_it, topic.uid().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::topic::TopicStatus;

    fn topic(name: &str, of: &str, created: u8) -> Topic {
        let object = json!({
            "apiVersion": "ottla.dev/v1alpha1", "kind": "Topic",
            "metadata": { "name": name, "namespace": "shop", "uid": name,
                "creationTimestamp": format!("2026-01-01T00:00:0{created}Z") },
            "spec": { "cluster": "main", "topicName": of, "replicas": 1 },
        });
        serde_json::from_value(object).unwrap()
    }

    fn named(names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| ("shop".to_owned(), (*name).to_owned())).collect()
    }

    /// The older has it, by its time, then by its uid; the others hear of it when it goes.
    #[test]
    fn the_older_object_has_the_topic() {
        let mut index = Index::default();
        let (old, young, twin) = (topic("b", "t", 1), topic("a", "t", 2), topic("c", "t", 1));
        assert_eq!(index.there(&young), []);
        assert_eq!(index.there(&old), named(&["a"]));
        assert_eq!(index.there(&twin), named(&["a", "b"]));
        assert_eq!(index.there(&twin), [], "it is no news");
        assert_eq!(index.elder(&old), None);
        assert_eq!(index.elder(&young).as_deref(), Some("b"));
        assert_eq!(index.elder(&twin).as_deref(), Some("b"));
        assert_eq!(index.gone(&named(&["b"])[0]), named(&["a", "c"]));
        assert_eq!(index.elder(&young).as_deref(), Some("c"));
        assert_eq!(index.elder(&twin), None);
    }

    /// Of two of one second, whoever came to be known first has the topic already: it is not taken away again.
    #[test]
    fn who_has_the_topic_keeps_it() {
        let mut index = Index::default();
        let (mut one, other) = (topic("b", "t", 1), topic("a", "t", 1));
        index.there(&one);
        one.status = Some(TopicStatus { topic_id: Some("id".to_owned()), ..Default::default() });
        index.there(&other);
        assert_eq!(index.there(&one), named(&["a"]), "the other hears of it");
        assert_eq!(index.elder(&one), None);
        assert_eq!(index.elder(&other).as_deref(), Some("b"));
    }

    #[test]
    fn objects_are_found_by_what_has_changed() {
        let mut index = Index::default();
        for (name, of) in [("a", "x"), ("b", "y"), ("c", "x")] {
            index.there(&topic(name, of, 1));
        }
        let main = ("shop".to_owned(), "main".to_owned());
        assert_eq!(index.of_topic(&main, "x"), named(&["a", "c"]));
        assert_eq!(index.of_cluster(&main), named(&["a", "c", "b"]));
        assert_eq!(index.of_cluster(&("shop".to_owned(), "mai".to_owned())), []);
    }
}
