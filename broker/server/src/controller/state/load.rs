//! A new controller takes in what it has read.
//!
//! Healthy partitions are announced as they are and never rewritten; what is not as it should be is
//! decided like after any event. Every broker is told everything: it may have missed the end of
//! the last controller's term.
//! Source: Kafka 3.9 `onControllerFailover`.

use std::sync::Arc;

use super::State;
use super::effect::Effect;
use super::event::Snapshot;

impl State {
    /// Everything was read.
    pub(super) fn load(&mut self, snapshot: Snapshot) {
        let Snapshot {
            brokers,
            topics,
            unread,
            deletions,
            reassignments,
            preferred,
            unclean,
            notifications,
        } = snapshot;
        self.story.loaded();
        for topic in &topics {
            let of_topic = unclean.get(&topic.name).copied();
            self.unclean.insert(Arc::clone(&topic.name), of_topic);
        }
        self.unread.extend(unread);
        self.deletions = deletions;
        self.brokers_read(brokers);
        if self.brokers.is_empty() {
            self.turn.effect(Effect::Brokers(Arc::clone(&self.brokers)));
        }
        self.topics_read(topics);
        if self.has_resigned {
            return;
        }
        self.deletions_asked(self.deletions.clone());
        self.reassignments_asked(reassignments);
        if let Some(preferred) = preferred {
            self.preferred_asked(preferred);
        }
        self.notified(notifications);
        self.balance_after_load();
    }
}
