//! What is asked of the cluster while faults go on.
//!
//! Each worker is a thread with a process number in the history; it never fails, it records. Topics
//! that are judged record by record are [`TOPICS`]; their numbers in the history are their places
//! in that list.

pub mod admin;
pub mod churn;
pub mod commit;
pub mod java;
pub mod librdkafka;
pub mod member;
pub mod produce;
pub mod read;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::checker::Rule;
use super::history::{History, Place, What};
use super::view::{Denial, View};
use crate::deadline;

/// A topic whose records are judged.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// Its partitions.
    pub partitions: u16,
    /// Whether its records have keys.
    pub keyed: bool,
    /// Whether what is acknowledged is on several replicas and not synced, at first: an administrator may
    /// change it. A broker of Kafka knows nothing else.
    pub relaxed: bool,
    /// Who writes to it.
    pub client: Client,
}

/// A client that produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// That of [`produce`], one a partition.
    Own,
    /// librdkafka, one for the topic.
    Librdkafka,
    /// Kafka's own, one for the topic; a group of it reads what it writes.
    Java,
}

/// The topics that are judged.
pub const TOPICS: [Topic; 4] = [
    Topic { name: "keyed", partitions: 4, keyed: true, relaxed: false, client: Client::Own },
    Topic { name: "plain", partitions: 4, keyed: false, relaxed: true, client: Client::Own },
    Topic {
        name: "librdkafka",
        partitions: 3,
        keyed: true,
        relaxed: true,
        client: Client::Librdkafka,
    },
    Topic { name: "java", partitions: 3, keyed: true, relaxed: false, client: Client::Java },
];

/// The setting of a topic of ours that says when it is acknowledged.
pub const DURABILITY: &str = "ottla.durability";

/// Its value for a topic that is relaxed, or not.
pub fn durability(relaxed: bool) -> &'static str {
    if relaxed { "replicated" } else { "synced" }
}

/// The names of [`TOPICS`].
pub fn names() -> Vec<&'static str> {
    TOPICS.iter().map(|topic| topic.name).collect()
}

/// Every partition of [`TOPICS`].
pub fn places() -> Vec<Place> {
    let of = |topic: usize| {
        (0..TOPICS[topic].partitions).map(move |partition| Place { topic: topic as u16, partition })
    };
    (0..TOPICS.len()).flat_map(of).collect()
}

/// What workers share with the run.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where everything is recorded.
    pub history: Arc<History>,
    /// What clients know.
    pub view: Arc<View>,
    /// The brokers that are Kafka's, whose known weaknesses are no findings.
    pub kafkas: Arc<[i32]>,
    /// Tells producers and members to end.
    pub stop: Arc<AtomicBool>,
    /// What the partitions did lately, for the run to wait on.
    pub pulse: Arc<Pulse>,
}

/// When each place of [`places`] last showed that it lives.
#[derive(Debug)]
pub struct Pulse {
    accepted: Vec<AtomicU64>,
    gaps: std::sync::Mutex<Vec<Duration>>,
}

impl Default for Pulse {
    fn default() -> Self {
        let accepted = places().iter().map(|_| AtomicU64::new(0)).collect();
        Self { accepted, gaps: std::sync::Mutex::default() }
    }
}

/// A stretch without an acknowledgement that is shorter is no gap: a slow answer on a busy machine.
const GAP_MIN: Duration = Duration::from_millis(250);

impl Pulse {
    fn index(place: Place) -> usize {
        let before = TOPICS.iter().take(usize::from(place.topic));
        before.map(|topic| usize::from(topic.partitions)).sum::<usize>()
            + usize::from(place.partition)
    }

    /// A batch that went out at `sent` (of the history's time) was acknowledged after `took`.
    pub fn accepted(&self, place: Place, sent: u64, took: Duration) {
        if let Some(last) = self.accepted.get(Self::index(place)) {
            last.fetch_max(sent, Ordering::SeqCst);
        }
        if took >= GAP_MIN {
            self.gaps.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(took);
        }
    }

    /// The places that have acknowledged nothing that went out after `since`.
    pub fn silent_since(&self, since: u64) -> Vec<Place> {
        let silent = |place: &Place| {
            let last = self.accepted.get(Self::index(*place));
            last.is_none_or(|last| last.load(Ordering::SeqCst) <= since)
        };
        places().into_iter().filter(silent).collect()
    }

    /// The stretches without an acknowledgement, shortest first.
    pub fn gaps(&self) -> Vec<Duration> {
        let gaps = self.gaps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut gaps = gaps.clone();
        gaps.sort_unstable();
        gaps
    }
}

impl Shared {
    /// Whether workers are to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// After something failed: asks who leads now, not more than twenty times a second.
    pub fn look_again(&self) {
        deadline::pass(Duration::from_millis(50));
        // A broker that is down tells nothing; the next look asks another.
        let Err(error) = self.view.refresh(&names()) else { return };
        if let Some(denial) = error.downcast_ref::<Denial>() {
            // Clients believe it and give up. Kafka's broker says so until it hears of its cluster.
            let brokers = self.view.brokers().iter();
            let broker = brokers.clone().find(|(_, address)| *address == denial.broker);
            let what = denial.to_string();
            let what = self.unless_kafka(broker.map(|(id, _)| *id), Rule::UnexpectedAnswer, what);
            self.history.record(0, what);
        }
    }

    /// A finding, but a note where it is of a broker of Kafka, which is known to do so; or may be of one,
    /// where `broker` is not known.
    pub fn unless_kafka(&self, broker: Option<i32>, rule: Rule, what: String) -> What {
        let is_of_kafka = match broker {
            Some(broker) => self.kafkas.contains(&broker),
            None => !self.kafkas.is_empty(),
        };
        if is_of_kafka { What::Note(what) } else { What::Wrong(rule, what) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_silent_until_it_acknowledges_what_went_out_after_the_moment() {
        let pulse = Pulse::default();
        let all = places();
        assert_eq!(pulse.silent_since(100), all);
        for place in &all {
            pulse.accepted(*place, 100, Duration::ZERO);
        }
        assert_eq!(pulse.silent_since(100), all, "all of it went out before");
        pulse.accepted(all[3], 101, Duration::ZERO);
        assert_eq!(pulse.silent_since(100).len(), all.len() - 1);
        assert!(!pulse.silent_since(100).contains(&all[3]));
    }

    #[test]
    fn short_stretches_are_no_gaps_and_long_ones_are_kept_in_order() {
        let pulse = Pulse::default();
        for ms in [900, 10, 300] {
            pulse.accepted(places()[0], 1, Duration::from_millis(ms));
        }
        assert_eq!(pulse.gaps(), [Duration::from_millis(300), Duration::from_millis(900)]);
    }
}
